FROM alpine
COPY <<ONE file <<TWO /dir/
1
ONE
2
TWO
