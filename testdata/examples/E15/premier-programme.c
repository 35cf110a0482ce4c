#include <stdio.h>

int main(void) {
    puts("Bonjour à tous !");
    return 0;
}
