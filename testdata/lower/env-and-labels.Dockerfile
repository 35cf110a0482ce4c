FROM alpine
ENV A=1 "B C"=2 D="x y"
ENV LEGACY some text $A
ENV A=changed
LABEL "com.example"=v a=$A
LABEL legacy some text
ENV PATH=/x:$PATH
