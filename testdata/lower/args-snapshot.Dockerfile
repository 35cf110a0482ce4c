FROM alpine
ENV abc=hello
ENV abc=bye def=$abc
ENV ghi=$abc
ARG X=1
ARG X=2 Y=$X
ENV Z=$Y
