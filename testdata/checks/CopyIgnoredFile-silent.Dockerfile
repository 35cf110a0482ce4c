FROM scratch AS base
COPY src /
COPY keep /keep/
FROM scratch
COPY --from=base dist /srv
COPY <<dist /
text
dist
