#% target=0
FROM later
RUN a
FROM alpine AS later
