# check=skip=SecretsUsedInArgOrEnv
ARG GLOBAL_TOKEN
FROM scratch
ARG API_KEY A=b
ENV DB_PASSWORD=x
ENV A=b auth=y
