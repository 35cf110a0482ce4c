services:
  web:
    build: .
