FROM a
# café
RUN a \
# café
 é
