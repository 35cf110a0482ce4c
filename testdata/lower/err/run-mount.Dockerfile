FROM alpine
RUN --mount=type=cache,target=/x --mount=type=secret,id=s make
