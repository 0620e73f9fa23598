#include <stdio.h>
#include <string.h>

#include "text.h"

int main(int argc, char **argv) {
    const char *greeting = "hello from a build\n";
    const char *text = argc > 1 ? argv[1] : greeting;
    struct counts found = count(text, strlen(text));
    if (argc == 1)
        fputs(greeting, stdout);
    printf("%lu lines, %lu words, %lu bytes\n", found.lines, found.words, found.bytes);
    return 0;
}
