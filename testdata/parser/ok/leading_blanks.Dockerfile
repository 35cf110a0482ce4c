  FROM   a  
	  RUN   b   c  
   # comment
