# check=skip=ReservedStageName
FROM scratch AS scratch
FROM scratch AS context
