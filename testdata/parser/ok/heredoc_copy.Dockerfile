FROM a
COPY --chmod=600 <<A x <<'B' /d/
$v
A
B
ADD <<C /c
RUN no
C
