FROM scratch
COPY a /
CMD ["/a"]
