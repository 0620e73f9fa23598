#include "text.h"

static int is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct counts count(const char *text, unsigned long length) {
    struct counts found = {0, 0, length};
    int inside = 0;
    for (unsigned long i = 0; i < length; i++) {
        if (text[i] == '\n')
            found.lines++;
        if (!is_space(text[i]) && !inside)
            found.words++;
        inside = !is_space(text[i]);
    }
    return found;
}
