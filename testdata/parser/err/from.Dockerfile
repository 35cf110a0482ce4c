FROM
FROM a AS
FROM a AS b c
FROM a FOR b
FROM a AS 1b
FROM a AS b/c
FROM --platfrom=x a
