FROM alpine
COPY --from=files a b c/
ADD x y/z/../
