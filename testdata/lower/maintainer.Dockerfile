FROM alpine
MAINTAINER Somebody <a@b.c>
