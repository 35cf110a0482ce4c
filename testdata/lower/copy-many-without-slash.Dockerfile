FROM alpine
COPY a b c
ADD a b /c
COPY <<one <<two /tmp
1
one
2
two
