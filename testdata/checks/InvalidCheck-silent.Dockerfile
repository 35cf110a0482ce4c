# check=skip=MultipleInstructionsDisallowed;experimental=all
FROM scratch
CMD ["a"]
