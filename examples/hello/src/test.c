#include <stdio.h>
#include <string.h>

#include "text.h"

static int failed;

static void expect(const char *text, unsigned long lines, unsigned long words) {
    struct counts found = count(text, strlen(text));
    if (found.lines == lines && found.words == words && found.bytes == strlen(text)) {
        printf("ok: \"%s\"\n", text);
        return;
    }
    printf("FAILED: \"%s\" has %lu lines and %lu words\n", text, found.lines, found.words);
    failed = 1;
}

int main(void) {
    expect("", 0, 0);
    expect("one", 0, 1);
    expect(" two  words ", 0, 2);
    expect("a\tb c", 0, 3);
    return failed;
}
