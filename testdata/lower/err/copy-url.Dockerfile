FROM alpine
ARG SITE=http://example.com
COPY https://example.com/a $SITE/b git@example.com:c.git /a/
