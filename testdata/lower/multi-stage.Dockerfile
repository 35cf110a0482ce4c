FROM alpine AS build
WORKDIR /src
COPY . .
RUN make
FROM alpine
COPY --from=build /src/out /usr/bin/
CMD ["out"]
