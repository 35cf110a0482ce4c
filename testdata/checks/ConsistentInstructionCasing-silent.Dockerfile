from scratch
copy a /
