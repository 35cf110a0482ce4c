#% target=BUILD
FROM alpine AS build
RUN a
FROM missing AS never
RUN b
