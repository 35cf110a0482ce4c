FROM alpine
ADD https://user:secret@host.test/dir/a.tgz?token=abc&v=1 /a/
ADD --unpack=true --checksum=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef https://host.test/b.tgz /b
ADD --chown=1:2 --chmod=644 local.txt https://host.test/what%5B1%5D.txt https://host.test/ more.txt /c/
ADD --keep-git-dir=true --checksum=0123456789ABCDEF git@host.test:team/x.git#v1:sub/dir /d
ADD https://host.test/y.git?ref=main&subdir=src&submodules=false&mtime=checkout /e
ADD --exclude=*.md github.com/team/z /f
ADD --link https://host.test/dir/a.tgz /g
COPY local.txt /h
