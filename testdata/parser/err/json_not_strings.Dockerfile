FROM a
RUN ["a", 1]
CMD [true]
COPY ["a", {"b": 1}, "c"]
VOLUME [null]
SHELL [2]
HEALTHCHECK CMD [[]]
