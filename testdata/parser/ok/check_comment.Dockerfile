FROM a
# check=skip=JSONArgsRecommended
CMD ["a"]
#check=x

RUN b
