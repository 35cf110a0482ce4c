FROM a
RUN cat <<A 4<<-'B' | tr a b
1
A
	2
	B
RUN <<EOF bash
x
EOF
