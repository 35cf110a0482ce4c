FROM alpine AS one
RUN --mount=from=scratch,target=/x a
ENV S=self T=$S
LABEL a=1 b=$a
RUN export V=1 && make
WORKDIR $V
COPY --chmod=rwxr-x--- a /a
COPY a /a --chown=1
