# café
# café
FROM a
