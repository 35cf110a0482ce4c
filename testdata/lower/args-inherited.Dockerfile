FROM alpine AS one
ARG A=1
FROM one
RUN echo $A
ENV B=$A
