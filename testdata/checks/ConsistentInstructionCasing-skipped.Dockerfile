# check=skip=ConsistentInstructionCasing
FROM scratch
copy a /
RUN ["/a"]
Env A=b
