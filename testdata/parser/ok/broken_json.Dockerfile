FROM a
RUN ["a"] # b
CMD ['a']
ENTRYPOINT [a, b]
COPY [a b
VOLUME ["a",]
RUN [ "a", "b" ] x
