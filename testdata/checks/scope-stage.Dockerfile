# a comment ends the directives

# check=skip=MaintainerDeprecated,StageNameCasing
FROM scratch AS A
MAINTAINER a
FROM scratch AS B
MAINTAINER b
