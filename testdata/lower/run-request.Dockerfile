#% network=none
#% host=db=10.0.0.1
#% shm-size=1048576
#% arg=BUILDKIT_SANDBOX_HOSTNAME=builder
FROM alpine
RUN a
