FROM alpine
WORKDIR /w
COPY a b dir/
COPY a .
COPY a ..
COPY ["with blank", "/x y"]
COPY --chown=1000 --chmod=0755 a /a
COPY --chown=me:us --chmod=u=rwX,go=rX a /b
COPY --parents --exclude=*.md --exclude=x a/./b /c/
COPY *.txt /d/
