# color=red
# escape=`
FROM a
RUN b \
 c
