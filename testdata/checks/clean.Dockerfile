FROM scratch
COPY a /
ENTRYPOINT ["/a"]
