FROM pinned
RUN a
COPY --from=pinned /x /y
