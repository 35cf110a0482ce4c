FROM alpine
WORKDIR /app/
WORKDIR x/../y/
WORKDIR /a/./b
