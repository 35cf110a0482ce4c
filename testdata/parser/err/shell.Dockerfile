FROM a
SHELL
SHELL bash -c
SHELL []
SHELL ["a"] x
