/* Counts lines, words and bytes of a text, as wc does. */
struct counts {
    unsigned long lines, words, bytes;
};

struct counts count(const char *text, unsigned long length);
