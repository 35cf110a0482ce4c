FROM alpine AS builder
RUN a
FROM bulider
RUN b
