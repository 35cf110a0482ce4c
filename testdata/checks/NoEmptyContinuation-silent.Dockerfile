FROM busybox:1
RUN echo a && \
    # comment
    echo b
