# check=skip=MultipleInstructionsDisallowed
FROM scratch
CMD ["a"]
CMD ["b"]
ENTRYPOINT ["a"]
ENTRYPOINT ["b"]
HEALTHCHECK NONE
HEALTHCHECK CMD a
