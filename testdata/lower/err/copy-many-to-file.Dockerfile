FROM alpine
COPY a b c
ADD a b /c
