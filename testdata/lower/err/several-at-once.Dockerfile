FROM missing
EXPOSE http
STOPSIGNAL SIGFOO
COPY --from=7 a b
RUN --network=moon x
