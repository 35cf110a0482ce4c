FROM scratch
ARG A
ENV B=$A PATH=/x:$PATH
WORKDIR /${C:-c}${B}
COPY \$A '$D' /
CMD ["$E"]
