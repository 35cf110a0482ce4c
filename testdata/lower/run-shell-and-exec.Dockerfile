FROM alpine
RUN echo $HOME \
    && true
RUN ["make", "-j", "a b"]
