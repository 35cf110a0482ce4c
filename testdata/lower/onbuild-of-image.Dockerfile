FROM onbuild
RUN own
