FROM busybox:1
RUN true # fine
WORKDIR "/a # b"
WORKDIR /a#b
ENV C="#fff"
# check=skip=JSONArgsRecommended
CMD echo # fine
COPY #x /x
