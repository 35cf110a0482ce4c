FROM full
WORKDIR sub
