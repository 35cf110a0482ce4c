FROM a
EXPOSE 80 53/udp $P "x y"
VOLUME /a	/b
