FROM alpine
RUN --security=insecure make
RUN --security=Insecure make
RUN --security=2 make
RUN --security=insecre make
