FROM files
RUN a
