FROM a
LABEL é=ü b
