FROM a
ARG PORT = 80
ARG =x y
ENV A=1 B = 2 C =3 D= 4
LABEL description=my first app
ENV N=“two words”
ENV P = 80
ENV Q value # c
FROM b # c
FROM c 1
FROM d --platform=x
FROM e:
