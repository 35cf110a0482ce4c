FROM full
CMD ["own"]
ENTRYPOINT ["/new"]
