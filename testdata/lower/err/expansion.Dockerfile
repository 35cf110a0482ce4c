FROM alpine
ENV A=${B
WORKDIR ${C:?say where}
LABEL x=${D^^}
