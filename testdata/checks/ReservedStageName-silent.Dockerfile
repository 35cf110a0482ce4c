FROM scratch AS base
FROM scratch AS contexts
