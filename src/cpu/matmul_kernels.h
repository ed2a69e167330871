/*
 * matmul_kernels.h — what a level of the instruction set brings to matrix products: a table of
 * small kernels. All else (columns, experts, scratch, sharing out) is matmul.c, once for all
 * levels.
 *
 * Two ways through a matrix. Few columns: dot products of rows as the file has them. Many: a panel
 * of rows is unpacked part by part (PART columns of the matrix), rows side by side in vector lanes,
 * and multiplied tile by tile with all columns. Both in integers, where the format has an integer
 * form, or in float. Owns nothing. Any thread.
 */
#ifndef CPU_MATMUL_KERNELS_H
#define CPU_MATMUL_KERNELS_H

#include "cpu/cpu_op.h"
#include "cpu/float_kernels.h"

enum {
    PART = 256,     /* weights of a row that are unpacked at a time */
    PANEL_MAX = 32, /* rows of a panel */
    ROW_OWN = 256,
    GROUP_ROWS = 16, /* that are interleaved */
    SUB_MIN = 16,    /* weights per scale */
    SUBS_MAX = PART / SUB_MIN,
};

/* A vector in signed bytes, as quant/q8_act.h defines, its fields apart. */
struct act {
    int8_t *q;      /* [k] */
    float *d, *sum; /* [k / 32]; sum is d × Σ q */
};

/* Rows of a matrix as they lie in a file times one vector. */
struct row_dots {
    const uint8_t *rows;
    uint64_t row_bytes;
    int n;     /* rows */
    int64_t k; /* columns, a multiple of 32 */
    struct act x;
    int8_t *own; /* [k rounded up to ROW_OWN]: where the kernel may put x in an order of its own */
    float *y;    /* [n] */
    int ahead;   /* bytes after those it reads that it asks for; of interleaved rows only */
};

/* What a level has for one format; others are unpacked by the format's own to_int. */
struct format_kernel {
    const struct dtype *dtype;
    void (*row_dots)(const struct row_dots *dots); /* NULL: rows are unpacked */
    /* As dtype.to_int. NULL: that one. */
    void (*to_int)(const void *blocks, const struct int_form *out, size_t n);
};

/* A part of 16 interleaved rows as a panel has it: what struct int_tile points at. */
struct group_form {
    int8_t *w;          /* [n / 4][panel][4], the offset added */
    float *scale, *min; /* [subs][panel]; min only where the format has one */
    int panel;
};

/* What a level has for a format whose rows are interleaved (interleave.h). */
struct group_kernel {
    const struct dtype *dtype;
    void (*dots)(const struct row_dots *dots); /* whole groups of rows */
    /* n weights of 16 rows, a multiple of the format's blocks, at most PART. */
    void (*to_panel)(const uint8_t *blocks, int n, const struct group_form *out);
};

/* A format's in a list that ends with a NULL dtype; NULL: the list (it may be NULL) has none. */
static inline const struct group_kernel *group_kernel_of(const struct group_kernel *list,
                                                         const struct dtype *dtype)
{
    for (; list && list->dtype; list++)
        if (list->dtype == dtype)
            return list;
    return NULL;
}

/* Part of a row, in integer form, times the same part of a vector. */
struct int_dot {
    const struct int_form *w;
    struct act x;
    int k, sub_elems;
    bool has_min;
};

/* A part of a panel times a tile of columns, added to (first: put into) `acc`. */
struct int_tile {
    const int8_t *w;      /* [k / 4][panel][4], as `pack` has put it */
    const float *scale;   /* [k / sub_elems][panel] */
    const float *min;     /* likewise, or NULL */
    const int8_t *q;      /* [k / 4][TILE_MAX][4] */
    const float *d;       /* [k / 32][TILE_MAX] */
    const float *sum;     /* [k / sub_elems][TILE_MAX], d × Σ q */
    const int32_t *start; /* likewise, −offset × Σ q: where a sum begins */
    int k, sub_elems, n;  /* n: columns of the tile */
    bool first;
    float *acc; /* [n][panel] */
};

struct matmul_kernels {
    int panel;  /* rows of a panel, a multiple of 16 up to PANEL_MAX */
    int offset; /* what `pack` adds to weights: 128 where products take them unsigned, or 0 */
    void (*quantize)(const float *x, int64_t k, const struct act *out);
    /* `panel` rows of k bytes, each PART apart, to the layout of int_tile.w. */
    void (*pack)(const int8_t *rows, int k, int8_t *out);
    void (*int_tile)(const struct int_tile *tile);
    float (*int_dot)(const struct int_dot *dot);
    const struct float_kernels *floats;  /* their tiles are as wide as a panel */
    const struct format_kernel *formats; /* ends with a NULL dtype; NULL: none */
    const struct group_kernel *groups;   /* likewise */
};

/* `pack` of levels whose panels have 16 rows and whose products take signed weights. */
void matmul_pack_16(const int8_t *rows, int k, int8_t *out);

/* What rows of the matmul family have as scratch_bytes and run. */
size_t matmul_scratch_bytes(const struct op *op, int n_threads);
void matmul_run(const struct op_call *call, const struct cpu_scratch *scratch);

#endif
