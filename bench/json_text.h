/*
 * json_text.h — how the programs of this folder print a text within JSON.
 *
 * Owns nothing. One thread.
 */
#ifndef BENCH_JSON_TEXT_H
#define BENCH_JSON_TEXT_H

#include <stdio.h>

/* Control characters become spaces: names of devices and files are to be read, not to be exact. */
static inline void put_json_text(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar((unsigned char)*text < 0x20 ? ' ' : *text);
    }
    putchar('"');
}

#endif
