FROM a
RUN echo $((1<<2)) <<<x
RUN echo $((1 << n))
RUN ["cat", "<<EOF"]
CMD ["a", "<<EOF"]
ENV a=<<EOF
RUN cat<<EOF
RUN echo "<<EOF"
