print('un')
print('deux')
