#% arg=A=
FROM alpine
ARG A=default
ENV B=[$A] C=[${A:-fallback}]
