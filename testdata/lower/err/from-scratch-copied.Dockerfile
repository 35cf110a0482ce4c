FROM alpine
COPY --from=scratch /a /a
