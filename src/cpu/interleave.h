/*
 * interleave.h — a model's matrices as vectors of a processor want them: sixteen rows side by side
 * (LAYOUT_CPU), a row to a lane.
 *
 * Of each block of 16 rows there are first the half floats of all rows (d, then m or dmin), then
 * its words of four bytes, word by word: as many bytes as in the file. A matrix is interleaved when
 * an executor first asks for it, into memory of large pages, and then serves every executor. Owns
 * these copies. Made and asked by one thread at a time.
 */
#ifndef CPU_INTERLEAVE_H
#define CPU_INTERLEAVE_H

#include "base/pool.h"
#include "cpu/ahead.h"
#include "op/op.h"

struct interleaved;

struct interleaved_options {
    uint64_t most_bytes; /* of copies; what comes after stays as the file has it */
    /* Told of bytes of the file that were copied, for which the mapping is no longer needed. NULL:
     * nobody is told. */
    void (*let_go)(const void *data, uint64_t size_bytes);
};

HTH_MUST_CHECK interleaved_create(struct interleaved **out, size_t n_weights,
                                  const struct interleaved_options *options, const struct log *log);
void interleaved_destroy(struct interleaved *own);

/* The matrices of a weight, one per expert (one if it has none), NULL for those that are not here.
 * NULL if the kernels that selection picks on this processor take it as it is in the file, or there
 * is no memory: that is no error. */
const void *const *interleaved_get(struct interleaved *own, const struct weight *weight,
                                   struct pool *pool);

/* What was learned of reading them. */
struct ahead *interleaved_ahead(struct interleaved *own);

uint64_t interleaved_bytes(const struct interleaved *own);

/* `n_groups` × 16 rows of k elements, one after the other, to as many interleaved ones. False: the
 * format has no such form. */
bool interleave_rows(const struct dtype *dtype, int64_t k, int64_t n_groups, const void *rows,
                     void *out);

#endif
