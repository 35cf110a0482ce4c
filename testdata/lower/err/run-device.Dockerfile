FROM alpine
RUN --device=vendor.com/gpu make
