FROM busybox:1 AS base
ONBUILD CMD first
ONBUILD ENV API_TOKEN old form
ONBUILD ARG PASSWORD
ONBUILD ENTRYPOINT ["run"]
FROM base AS middle
CMD second
FROM busybox:1 AS shell
SHELL ["/bin/sh", "-c"]
ONBUILD CMD third
FROM shell
