FROM a
COPY --from=$x b c
