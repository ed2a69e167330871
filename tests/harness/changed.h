/*
 * changed.h — a model's file with other keys.
 */
#ifndef HARNESS_CHANGED_H
#define HARNESS_CHANGED_H

/* A key that replaces the file's or is added: a text, or without one a number (F32). */
struct changed_key {
    const char *name, *text;
    float number;
};

/* Copies `from` to `to` with these keys; the last one's name is NULL. Fails the test if it cannot.
 */
void changed_model(const char *from, const char *to, const struct changed_key *keys);

#endif
