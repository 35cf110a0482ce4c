FROM alpine
RUN --network=host make
