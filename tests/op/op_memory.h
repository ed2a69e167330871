/*
 * op_memory.h — the buffers of one case: bytes with guards, which of them may be written, and the
 * reference's own copy of what it writes.
 *
 * Private to the op tests. Owns its memory.
 */
#ifndef TESTS_OP_OP_MEMORY_H
#define TESTS_OP_OP_MEMORY_H

#include "op_test.h"

/* A buffer and what it should be after the op: `expected` (the reference wrote there), and `mask`,
 * one byte per byte: 1 where the op may write. */
struct op_area {
    const struct tensor *tensor; /* base; NULL: the cache */
    unsigned char *expected, *before, *mask;
};

struct op_memory {
    struct op_buffer buffers[OP_TEST_TENSORS];
    struct op_area areas[OP_TEST_TENSORS];
    size_t n_buffers;
    struct op_call call;     /* on the buffers */
    struct op_call expected; /* on the reference's copies */
    void **pages, **expected_pages;
    size_t n_pages;
    uint64_t page_bytes;
    void **experts; /* of in[0] (and in[5] of a fused op), 2 × n_expert, in the buffers */
    float *row;     /* scratch for a row */
    bool *selected; /* experts that some token uses */
};

/* Makes buffers for the tensors of the op under test, and fills them for a kind of input. */
void op_memory_create(struct op_test *t, const struct op *op);
void op_memory_fill(struct op_test *t, enum input_kind kind);
void op_memory_free(struct op_test *t);

#endif
