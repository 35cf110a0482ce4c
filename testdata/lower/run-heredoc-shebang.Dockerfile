FROM alpine
RUN <<SCRIPT
#!/usr/bin/env python3
print(1)
SCRIPT
