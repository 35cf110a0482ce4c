# check=skip=JsonLookingShellForm
FROM busybox:1
RUN ['ls', '-l']
ENTRYPOINT ["serve" "--all"]
CMD ["a", "b"] # default
