FROM busybox:1
RUN [ -f /x ] && [[ -d /y ]] || true
CMD ["a"]
