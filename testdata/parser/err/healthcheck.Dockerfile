FROM a
HEALTHCHECK
HEALTHCHECK NONE x
HEALTHCHECK --retries=1 NONE
HEALTHCHECK CMD
HEALTHCHECK CMD []
HEALTHCHECK curl x
HEALTHCHECK --interval=5 --timeout=1us --start-period=-1s --start-interval=9999999h --retries=-1 CMD x
