FROM a
RUN echo # not a comment
ENV a=#b
