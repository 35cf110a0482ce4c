FROM scratch
WORKDIR /app # here
USER 1 # nobody
ARG A=1 # a
VOLUME /data # big
ENV K v # w
COPY a b # c
COPY a b # c/
