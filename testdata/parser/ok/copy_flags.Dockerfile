FROM a
COPY --from=b --chown=u:g --chmod=u=rwX --link --parents=false --exclude=*.o --exclude=!x.o a b c/
ADD --checksum=sha256:$x --keep-git-dir --unpack=FALSE --link=true --chmod=644 http://x y
