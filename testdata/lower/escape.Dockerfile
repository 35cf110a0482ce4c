# escape=`
FROM alpine
ENV A=`$HOME B=C:\dir
RUN a `
    b
