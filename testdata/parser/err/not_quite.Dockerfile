FROM a
// comment
<<<<<<< HEAD
RUN --mount=type=cache, target=/x y
COPY a /b --chown=1
CMD [“a”, ‘b’]
HEALTHCHECK curl -f http://localhost/
