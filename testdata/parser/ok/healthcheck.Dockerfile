FROM a
HEALTHCHECK --interval=1m30s --timeout=0 --start-period=1ms --start-interval=1.5s --retries=3 CMD curl x || y
FROM b
HEALTHCHECK cmd ["a"]
FROM c
healthcheck none
