FROM a
RUN [ -f x ] && y
RUN [[ a == b ]]
RUN [ "$x" = "a" ]
RUN [ "$x" ] && y
