# escape=`
FROM a
RUN <<\E `
  cat
x
E
