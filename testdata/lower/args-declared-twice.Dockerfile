#% arg=A=build
FROM alpine
ARG A
RUN one
ARG A=default
ARG A=again
RUN two
