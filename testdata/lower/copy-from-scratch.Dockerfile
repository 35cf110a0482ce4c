FROM alpine
COPY --from=scratch / /empty
RUN --mount=from=scratch,target=/work,rw make
