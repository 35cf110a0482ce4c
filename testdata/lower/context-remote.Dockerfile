FROM remote-tgz AS one
FROM remote-git
COPY --from=one /x /y
COPY --from=remote-tgz /x /z
COPY --from=remote-git . /all/
