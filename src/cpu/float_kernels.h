/*
 * float_kernels.h — what a level of the instruction set brings to ops in float: a table of small
 * kernels, all but the reading of halves compiled from one body (float_body.h).
 *
 * Owns nothing. Any thread.
 */
#ifndef CPU_FLOAT_KERNELS_H
#define CPU_FLOAT_KERNELS_H

#include "op/op_def.h"

enum { TILE_MAX = 6 }; /* rows of a tile */

/* y[i][j] (+)= Σ_l a[i][l] × b[l][j]: n rows of `width` columns. */
struct float_tile {
    const float *const *a;
    int64_t a_step; /* from l to l + 1 */
    const float *b;
    float *y;
    int64_t k, b_stride, y_stride;
    int n, width; /* at most TILE_MAX; 8, 16 or the level's `width` */
    bool first;   /* put, do not add */
};

/* Online softmax of columns (Milakov & Gimelshein 2018, arXiv:1805.02867): n more scores each. */
struct softmax_columns {
    float *scores; /* [n][stride] → exp(score − max) */
    int n, stride; /* stride: columns, a multiple of 8 */
    float *max, *total;
    float *shrink; /* what was summed before is to be multiplied by */
};

/* Few queries and some keys, rows each: scores[q][i] = Σ_l queries[q][l] × keys[i][l]. */
struct few_scores {
    const float *queries, *keys;
    int n_queries, n, dim; /* dim: a multiple of FEW_DIM */
    float *scores;         /* [n_queries][stride], stride at least n rounded up to FEW_DIM */
    int stride;
};

/* The same online softmax where a query's scores lie side by side. */
struct softmax_rows {
    float
        *scores; /* [rows][stride]; what is between n and the next multiple of FEW_DIM becomes 0 */
    int rows, n, stride;
    float *max, *total, *shrink;
};

enum { FEW_DIM = 16 };

/* y = (x − mean) / √(mean of (x − mean)² + eps), times w and plus bias unless those are NULL. */
struct layer_norm_row {
    const float *x, *w, *bias;
    float *y;
    float eps;
    int64_t n;
};

struct float_kernels {
    int width; /* of the widest tile */
    void (*tile)(const struct float_tile *tile);
    float (*dot)(const float *a, const float *b, int64_t n);
    void (*softmax)(const struct softmax_columns *columns);
    void (*few_scores)(const struct few_scores *few);
    void (*softmax_rows)(const struct softmax_rows *rows);
    void (*glu)(enum glu_kind kind, const float *const gate_up[2], float *y, int64_t n);
    /* y = x / √(mean of x² + eps), times w unless that is NULL. */
    void (*rms_norm)(const float *x, const float *w, float eps, float *y, int64_t n);
    void (*layer_norm)(const struct layer_norm_row *row);
    /* F16 and BF16 to float and back, quicker than the format's own; NULL: that one. */
    void (*decode_f16)(const void *in, float *out, size_t n);
    void (*decode_bf16)(const void *in, float *out, size_t n);
    void (*encode_f16)(const float *in, void *out, size_t n);
};

/* Decodes n elements with the level's kernel, if it has one for the type. */
static inline void float_decode(const struct float_kernels *kernels, const struct dtype *type,
                                const void *in, float *out, size_t n)
{
    if (type == &dtype_f16 && kernels->decode_f16)
        kernels->decode_f16(in, out, n);
    else if (type == &dtype_bf16 && kernels->decode_bf16)
        kernels->decode_bf16(in, out, n);
    else
        type->decode(in, out, n);
}

/* The way back, quickly. */
static inline void float_encode(const struct float_kernels *kernels, const struct dtype *type,
                                const float *in, void *out, size_t n)
{
    if (type == &dtype_f16 && kernels->encode_f16)
        kernels->encode_f16(in, out, n);
    else
        dtype_encode_quick(type, in, out, n);
}

extern const struct float_kernels float_kernels_scalar;

/* What rows of these ops have as scratch_bytes and run. */
struct cpu_scratch;
size_t attention_scratch_bytes(const struct op *op, int n_threads);
void attention_run(const struct op_call *call, const struct cpu_scratch *scratch);
void glu_run(const struct op_call *call, const struct cpu_scratch *scratch);
void kv_write_run(const struct op_call *call, const struct cpu_scratch *scratch);
void layer_norm_run(const struct op_call *call, const struct cpu_scratch *scratch);
void rms_norm_run(const struct op_call *call, const struct cpu_scratch *scratch);

#endif
