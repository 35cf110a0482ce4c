# check=skip=LegacyKeyValueFormat
FROM scratch
ENV DIR /app dir
LABEL vendor "me"
