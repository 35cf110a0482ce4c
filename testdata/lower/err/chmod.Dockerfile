FROM alpine
COPY --chmod=99 a /a
COPY --chmod=u~x a /a
COPY --chmod=17777 a /a
