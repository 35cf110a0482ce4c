FROM a
RUN ["a", "b c"]
CMD [ ]
ENTRYPOINT ["x\u0041\n"]
SHELL ["s", "-c"]
VOLUME ["/a b"]
COPY ["a b", "c"]
ADD [ "a" , "/b" ]
