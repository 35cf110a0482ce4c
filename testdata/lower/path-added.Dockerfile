FROM bare
RUN true
