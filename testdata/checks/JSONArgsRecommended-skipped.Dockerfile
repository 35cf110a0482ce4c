# check=skip=JSONArgsRecommended
FROM scratch
ENTRYPOINT serve
FROM scratch
CMD serve --port 80
