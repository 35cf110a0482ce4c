FROM a
COPY --form=x --chown=a --chown=b --link=maybe --parents= --chmod y z
RUN --chown=x y
CMD --x y
HEALTHCHECK --nothing=1 CMD x
