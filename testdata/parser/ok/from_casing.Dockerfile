from a as b
FROM c as d
From e AS f
