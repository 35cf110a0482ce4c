FROM full
RUN echo hi
CMD serve
