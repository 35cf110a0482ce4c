#% label=a=request
#% label=z=new
FROM full AS one
FROM one
LABEL a=file c=file
