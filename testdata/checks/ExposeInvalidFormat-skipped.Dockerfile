# check=skip=ExposeInvalidFormat
FROM scratch
EXPOSE 127.0.0.1:80:8080 90:91/udp 70
