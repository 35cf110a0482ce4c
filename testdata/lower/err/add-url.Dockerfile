FROM alpine
ADD https://example.com/a.tgz /a
ENV U=http://e
ADD $U/x /x
