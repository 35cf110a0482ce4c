#% arg=B=given
FROM alpine
ARG A=default B C
ENV A=env
RUN echo $A $B $C
RUN true
