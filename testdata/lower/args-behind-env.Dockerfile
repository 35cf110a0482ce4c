#% arg=A=build
FROM alpine
ENV A=env
ARG A=arg
ENV B=$A
RUN true
