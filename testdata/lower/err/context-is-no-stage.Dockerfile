FROM alpine
COPY --from=filse /a /a
