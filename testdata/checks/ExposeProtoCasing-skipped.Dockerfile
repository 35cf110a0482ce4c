# check=skip=ExposeProtoCasing
FROM scratch
EXPOSE 80/TCP 53/Udp 1/sctp
