FROM alpine AS one
CMD ["one"]
FROM one
ENTRYPOINT ["e"]
