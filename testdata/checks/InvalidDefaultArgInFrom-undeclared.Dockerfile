# Nothing declares the argument: with what it is then, there is no valid name.
FROM busybox:$TAG
