FROM scratch AS base
SHELL ["/bin/bash", "-c"]
CMD serve
FROM base
ENTRYPOINT serve
FROM scratch
CMD ["serve"]
