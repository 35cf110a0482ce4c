FROM alpine
ADD --keep-git-dir=true x /y
ADD --checksum=sha256:00 https://host.test/a /z
ADD --checksum=sha256:00 x /z
ADD --checksum=main https://host.test/a.git /z
ADD https://host.test/a.git#-x /z
ADD https://host.test/a.git#main:../../etc /z
ADD https://host.test/a.git#main:.git /z
ADD https://host.test/a.git?depth=1 /z
ADD https://host.test/a.git?ref=a&tag=b /z
ADD https://user:secret@/a /z
ADD ssh://-oProxyCommand=x/a /z
ADD https://host.test/a https://host.test/b /file
ADD https://host.test/a.git?submodules=maybe /z
