FROM missing AS pinned
RUN never
FROM pinned
RUN a
