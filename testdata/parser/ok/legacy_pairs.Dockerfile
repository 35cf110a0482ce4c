FROM a
ENV k a  b=c
LABEL k "v w"
ENV k it's
ENV k v
