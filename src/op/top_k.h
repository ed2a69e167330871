/*
 * top_k.h — the shape of what op_top_k gives, and its definition for one row.
 *
 * A row is k ids, the likeliest first; where k is more than one, the bits of their k logits follow,
 * so that one id is all that a greedy token has to bring from its device. A row of logits that no
 * token can be drawn from, since one is not finite or all are zero, has ids of −1 and logits of 0.
 * Owns nothing; any thread.
 */
#ifndef OP_TOP_K_H
#define OP_TOP_K_H

#include <stdint.h>

enum { TOP_K_MOST = 64 }; /* of more a host is as fast: each is a step of its own on a device */

/* 32-bit words of a row. */
static inline int64_t top_k_words(int k)
{
    return k > 1 ? 2 * (int64_t)k : 1;
}

/* Of x[n] the k largest, k ≤ n; of equal ones the lower id comes first, and −0 is 0. `out` has
 * top_k_words(k). */
void top_k_row(const float *x, int64_t n, int k, int32_t *out);

#endif
