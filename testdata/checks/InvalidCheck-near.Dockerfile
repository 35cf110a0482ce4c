# check=skip=JSONArgsRecomended
FROM scratch
CMD a
