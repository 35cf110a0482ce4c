FROM scratch
# check=skip=Nothing
CMD ["a"]
# check=speed=9
CMD ["b"]
