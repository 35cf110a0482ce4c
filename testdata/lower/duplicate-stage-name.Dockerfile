FROM alpine AS a
RUN one
FROM alpine AS a
RUN two
FROM a
RUN three
