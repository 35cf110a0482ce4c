FROM full
ENTRYPOINT ["/new"]
