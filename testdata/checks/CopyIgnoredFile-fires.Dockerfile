FROM scratch AS base
COPY dist/app.js /
COPY src ./dist/ /srv/
ADD *.log /logs/
FROM base
COPY . /
