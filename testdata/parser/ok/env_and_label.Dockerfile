FROM a
ENV a=1 b="x y" c='$z' d=p\ q e=
LABEL "k k"=v a.b=c=d \
  f="g \
 h"
