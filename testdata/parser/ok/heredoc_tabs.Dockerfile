FROM a
RUN <<-E
		echo 	a
  	b
	E
