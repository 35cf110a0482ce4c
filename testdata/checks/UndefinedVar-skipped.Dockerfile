# check=skip=UndefinedVar
ARG GLOBAL=1
FROM scratch
ENV APP_HOME=/app
WORKDIR $APP_HOEM/x
COPY $A ${B}/$GLOBAL
ENV S=self T=$S
