FROM a
ARG a b= c="x y" d='e' ${f}=g
