# check=skip=FromAsCasing
FROM scratch as a
