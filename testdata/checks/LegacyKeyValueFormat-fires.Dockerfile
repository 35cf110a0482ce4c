FROM scratch
ENV DIR /app dir
LABEL vendor "me"
