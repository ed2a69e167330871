/*
 * ahead.h — whether kernels of interleaved rows ask for memory ahead of what they read.
 *
 * Processors differ: with it some read twice as fast from RAM, and on others it costs two fifths
 * (docs/cpu.md). Which it is here is found out while a model answers: a product runs one way for a
 * token and the other way for the next, and of a format that is done by which more of these were
 * faster. What is computed is the same either way. Owns nothing. One thread at a time.
 */
#ifndef CPU_AHEAD_H
#define CPU_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

enum { AHEAD_FORMATS = 8, AHEAD_BYTES = 8192 };

/* What all products of a model taught, by a number for each format; begins as zeros. */
struct ahead {
    int score[AHEAD_FORMATS]; /* comparisons won by asking less those lost */
};

/* One product; begins as zeros but for `index`, which tells it from others. */
struct ahead_product {
    uint32_t index, n; /* n: how often it ran */
    double first_s;    /* per byte, of the run that is compared with the next; 0: none */
};

/* Is the product's next run to ask? */
bool ahead_asks(const struct ahead *ahead, int format, const struct ahead_product *product);

/* That run read so many bytes of weights in so many seconds. */
void ahead_learn(struct ahead *ahead, int format, struct ahead_product *product, uint64_t bytes,
                 double seconds);

#endif
