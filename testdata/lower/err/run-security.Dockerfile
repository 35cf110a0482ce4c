FROM alpine
RUN --security=insecure make
RUN --security=maybe make
