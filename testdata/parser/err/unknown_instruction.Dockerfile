FROM a
COPI b c
ruun d
FOOBAR
&& e
