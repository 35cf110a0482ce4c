FROM alpine
ADD git@example.com:a/b.git /a
ADD https://example.com/a.git#main /b
ADD --keep-git-dir=true x /y
ADD --checksum=sha256:00 x /z
