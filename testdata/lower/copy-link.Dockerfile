FROM alpine
COPY --link a /a
COPY --link --chown=5:6 b /b
RUN x
