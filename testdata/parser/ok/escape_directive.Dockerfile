# escape=`
FROM a
COPY c:\x `
 d
ENV a=b` c d="e`"f"
RUN x\
