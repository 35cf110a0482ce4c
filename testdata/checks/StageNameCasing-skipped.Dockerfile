# check=skip=StageNameCasing
FROM scratch AS Build
FROM scratch AS b2
