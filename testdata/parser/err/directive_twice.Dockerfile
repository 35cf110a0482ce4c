# syntax=a
# Syntax=b
FROM a
