#include "cpu/interleave.h"

#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "cpu/cpu_op.h"
#include "cpu/matmul_kernels.h"

enum { CHUNK_BYTES = 64 << 20, PAGE = 2 << 20, PIECE_BYTES = 256 << 10 };

/* The words of Q6_K in the order of interleaved_body.h: of ql, qh and scales one after the other a
 * processor makes three streams, and waits. */
static const uint8_t q6_k_order[] = {48, 49, 50, 51, 0,  8,  32, 1,  9,  33, 2,  10, 34,
                                     3,  11, 35, 4,  12, 36, 5,  13, 37, 6,  14, 38, 7,
                                     15, 39, 16, 24, 40, 17, 25, 41, 18, 26, 42, 19, 27,
                                     43, 20, 28, 44, 21, 29, 45, 22, 30, 46, 23, 31, 47};

/* Where the blocks of a format have what is a half float, and where their words begin. */
static const struct form {
    const struct dtype *dtype;
    int n_halves, halves[2], words;
    const uint8_t *order; /* NULL: as they are */
} forms[] = {
    {&dtype_q4_0, 1, {0}, 2, NULL},    {&dtype_q4_1, 2, {0, 2}, 4, NULL},
    {&dtype_q8_0, 1, {0}, 2, NULL},    {&dtype_q4_k, 2, {0, 2}, 4, NULL},
    {&dtype_q5_k, 2, {0, 2}, 4, NULL}, {&dtype_q6_k, 1, {208}, 0, q6_k_order},
};

struct interleaved {
    const struct log *log;
    struct interleaved_options options;
    const struct group_kernel *kernels; /* of the level that runs here, or NULL */
    const void ***parts;                /* [n_weights], each [experts] or NULL */
    void **chunks;
    size_t n_chunks, n_weights;
    char *next; /* free bytes of the last chunk */
    uint64_t left, bytes;
    bool full;
    struct ahead ahead;
};

static const struct form *form_of(const struct dtype *dtype)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (forms[i].dtype == dtype)
            return &forms[i];
    return NULL;
}

/* --- rows ------------------------------------------------------------------------------------- */

/* One block of 16 rows that are `row_bytes` apart. */
static void interleave_block(const struct form *form, const uint8_t *rows, uint64_t row_bytes,
                             uint8_t *out)
{
    int n_words = ((int)form->dtype->block_bytes - 2 * form->n_halves) / 4;
    for (int h = 0; h < form->n_halves; h++)
        for (int r = 0; r < GROUP_ROWS; r++, out += 2)
            memcpy(out, rows + (uint64_t)r * row_bytes + form->halves[h], 2);
    for (int r = 0; r < GROUP_ROWS; r++) {
        const uint8_t *words = rows + (uint64_t)r * row_bytes + form->words;
        for (int i = 0; i < n_words; i++)
            memcpy(out + (i * GROUP_ROWS + r) * 4, words + (form->order ? form->order[i] : i) * 4,
                   4);
    }
}

bool interleave_rows(const struct dtype *dtype, int64_t k, int64_t n_groups, const void *rows,
                     void *out)
{
    const struct form *form = form_of(dtype);
    if (!form)
        return false;
    uint64_t row_bytes = dtype_row_bytes(dtype, (uint64_t)k), block = dtype->block_bytes;
    for (int64_t g = 0; g < n_groups; g++)
        for (uint64_t at = 0; at < row_bytes; at += block) {
            uint64_t first = (uint64_t)g * GROUP_ROWS * row_bytes;
            interleave_block(form, (const uint8_t *)rows + first + at, row_bytes,
                             (uint8_t *)out + first + at * GROUP_ROWS);
        }
    return true;
}

/* --- matrices --------------------------------------------------------------------------------- */

struct copy {
    const struct weight *weight;
    const char *from;
    char *to;
    int64_t groups, per_piece;
};

static void copy_piece(void *arg, int index, int thread)
{
    (void)thread;
    const struct copy *copy = arg;
    int64_t first = index * copy->per_piece, left = copy->groups - first;
    uint64_t at = (uint64_t)first * GROUP_ROWS *
                  dtype_row_bytes(copy->weight->dtype, (uint64_t)copy->weight->ne[0]);
    interleave_rows(copy->weight->dtype, copy->weight->ne[0],
                    left < copy->per_piece ? left : copy->per_piece, copy->from + at,
                    copy->to + at);
}

static void copy_matrix(const struct weight *weight, const void *from, void *to, struct pool *pool)
{
    struct copy copy = {weight, from, to, weight->ne[1] / GROUP_ROWS, 1};
    uint64_t group = GROUP_ROWS * dtype_row_bytes(weight->dtype, (uint64_t)weight->ne[0]);
    if (group < PIECE_BYTES)
        copy.per_piece = (int64_t)(PIECE_BYTES / group);
    pool_run(pool, copy_piece, &copy, (int)((copy.groups + copy.per_piece - 1) / copy.per_piece));
}

/* No more is copied; a model runs without. */
static void stop(struct interleaved *own)
{
    if (!own->full)
        log_warning(
            own->log,
            "there is no memory for more weights as the processor likes them best: it reads "
            "them as the file has them, which is slower");
    own->full = true;
}

/* Memory of large pages: a matrix is read from end to end for every token, and with small ones the
 * processor spends a fifth of that on finding them. NULL: there is none. */
static void *take(struct interleaved *own, uint64_t bytes)
{
    bytes = align_up(bytes, 64);
    if (own->full || own->bytes + bytes > own->options.most_bytes)
        return NULL;
    if (bytes > own->left) {
        uint64_t size = align_up(bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES, PAGE);
        void **chunks = mem_realloc(own->chunks, (own->n_chunks + 1) * sizeof *chunks);
        own->chunks = chunks ? chunks : own->chunks;
        void *chunk = chunks ? mem_alloc_aligned((size_t)size, PAGE) : NULL;
        if (!chunk) {
            stop(own);
            return NULL;
        }
        os_memory_large_pages(chunk, size);
        own->chunks[own->n_chunks++] = chunk;
        own->next = chunk;
        own->left = size;
    }
    void *taken = own->next;
    own->next += bytes;
    own->left -= bytes;
    own->bytes += bytes;
    return taken;
}

static bool has_kernel(const struct interleaved *own, const struct weight *weight)
{
    return weight->ne[1] % GROUP_ROWS == 0 && form_of(weight->dtype) &&
           group_kernel_of(own->kernels, weight->dtype);
}

static const void *matrix_of(const struct weight *weight, int64_t expert)
{
    uint64_t bytes = weight->size_bytes / (uint64_t)weight->ne[2];
    return weight->experts ? weight->experts[expert]
                           : (const char *)weight->data + (uint64_t)expert * bytes;
}

const void *const *interleaved_get(struct interleaved *own, const struct weight *weight,
                                   struct pool *pool)
{
    if (!has_kernel(own, weight))
        return NULL;
    const void **parts = own->parts[weight->index];
    if (!parts)
        parts = own->parts[weight->index] = mem_calloc((size_t)weight->ne[2], sizeof *parts);
    if (!parts) {
        stop(own);
        return NULL;
    }
    uint64_t bytes = weight->size_bytes / (uint64_t)weight->ne[2];
    for (int64_t e = 0; e < weight->ne[2]; e++) {
        const void *from = matrix_of(weight, e);
        void *to = from && !parts[e] ? take(own, bytes) : NULL;
        if (!to)
            continue;
        copy_matrix(weight, from, to, pool);
        parts[e] = to;
        if (own->options.let_go)
            own->options.let_go(from, bytes);
    }
    return parts;
}

/* --- all of a model --------------------------------------------------------------------------- */

/* What products are computed with on this processor. */
static const struct group_kernel *kernels_here(void)
{
    const struct cpu_op *best = NULL, *op;
    for (size_t i = 0; (op = cpu_op_at(i)); i++)
        if (op->kind == OP_MATMUL && cpu_level_wanted(op->level) &&
            (!best || op->level > best->level))
            best = op;
    return best ? best->matmul->groups : NULL;
}

enum hth_status interleaved_create(struct interleaved **out, size_t n_weights,
                                   const struct interleaved_options *options, const struct log *log)
{
    struct interleaved *own = *out = mem_calloc(1, sizeof *own);
    if (!own)
        return log_fail_memory(log, "a model's matrices for the processor", sizeof *own);
    own->log = log;
    own->options = *options;
    own->kernels = kernels_here();
    own->n_weights = n_weights;
    own->parts = mem_calloc(n_weights + 1, sizeof *own->parts);
    if (own->parts)
        return HTH_OK;
    interleaved_destroy(own);
    *out = NULL;
    return log_fail_memory(log, "a model's matrices for the processor",
                           n_weights * sizeof *own->parts);
}

void interleaved_destroy(struct interleaved *own)
{
    if (!own)
        return;
    for (size_t i = 0; own->parts && i < own->n_weights; i++)
        mem_free(own->parts[i]);
    for (size_t i = 0; i < own->n_chunks; i++)
        mem_free_aligned(own->chunks[i]);
    mem_free(own->parts);
    mem_free(own->chunks);
    mem_free(own);
}

struct ahead *interleaved_ahead(struct interleaved *own)
{
    return own ? &own->ahead : NULL;
}

uint64_t interleaved_bytes(const struct interleaved *own)
{
    return own ? own->bytes : 0;
}
