FROM alpine AS Build
RUN a
FROM BUILD
COPY --from=bUILD /a /b
