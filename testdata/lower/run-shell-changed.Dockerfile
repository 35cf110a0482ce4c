FROM alpine
SHELL ["/bin/bash", "-ec"]
RUN a
ENTRYPOINT run it
HEALTHCHECK CMD check
