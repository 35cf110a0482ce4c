#% allow-host-network=true
FROM alpine
RUN --network=none a
RUN --network=host b
RUN --network=default c
RUN --security=sandbox d
