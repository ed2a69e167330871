#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "cpu/matmul_kernels.h"

/* Columns are the vectors that go through a matrix. They are grouped by matrix (one group, or one
 * per expert that some token uses); threads take chunks of rows of a group and do all its columns
 * with them, so that a weight is read from memory once. */

/* Where an op of the family has its tensors. One that is never there stands at a place that is
 * always empty. */
static const struct places {
    int n, x, residual, ids; /* n matrices */
    int w[3], bias[3], out[3];
} plain = {1, 1, 3, 4, {0}, {2}, {0}}, glu = {2, 1, 3, 4, {0, 5}, {2, 6}, {0, 0}},
  qkv = {3, 0, 7, 7, {1, 3, 5}, {2, 4, 6}, {0, 1, 2}};

enum { MATRICES_MAX = 3 };
enum { TILED_FROM = 4 };               /* columns of a group */
enum { COLUMN_BLOCK = 86 * TILE_MAX }; /* columns whose sums of a panel are at hand at a time */
enum { ROWS_MIN = 16, ROWS_MAX = 128, CHUNKS_PER_THREAD = 8 };
enum { ALONE_BELOW = 1 << 17 }; /* products: waking others costs microseconds */
enum { LEARNS_FROM = 1 << 16 }; /* bytes of weights: of less a clock says little */

struct column {
    int64_t row, x_row; /* of the output, of the input */
};

/* What an op multiplies with: a matrix, or one per expert. */
struct matrix {
    const struct view *w, *bias, *out;             /* no bias: NULL */
    void (*row_dots)(const struct row_dots *dots); /* of its format; NULL: none */
    const struct group_kernel *grouped;            /* of its interleaved form; NULL: none */
    void (*to_int)(const void *blocks, const struct int_form *out, size_t n);
    bool integer;
};

struct group {
    const struct matrix *matrix; /* of a gated pair the first */
    int64_t expert;
    int first, n;   /* its columns */
    int first_tile; /* of those in integers; -1: not tiled */
};

/* What a thread works with. */
struct local {
    float *sums[2];     /* [columns][rows of a chunk], of a gated pair both */
    int8_t *rows;       /* [PANEL_MAX][PART] in integer form, with */
    float *scale, *min; /* [PANEL_MAX][subs]; as `pack` has them: */
    int8_t *panel;
    float *panel_scale, *panel_min; /* [subs][panel] */
    float *decoded;                 /* a row, or [PANEL_MAX][PART] */
    float *panel_decoded;           /* [PART][panel] */
    struct act act;                 /* a column */
    int8_t *own;                    /* of the kernel of rows */
};

struct job {
    const struct op_call *call;
    const struct matmul_kernels *kernels;
    const struct places *at;
    struct matrix matrices[MATRICES_MAX];
    const struct view *x;
    int64_t k; /* length of a column */
    struct column *columns;
    struct group *groups;
    int *next;                           /* where the next column of each expert goes */
    char *acts;                          /* a vector each of the input, if any group is not tiled */
    char *tiles;                         /* tiles of columns */
    int *tile_group;                     /* whose tile it is */
    char *local_bytes;                   /* of the first thread */
    int n_groups, n_tiles, rows, chunks; /* rows of a chunk, chunks of a group */
    bool any_rows, float_only;
    int ahead; /* of struct row_dots */
};

/* --- scratch ---------------------------------------------------------------------------------- */

static const struct places *places_of(const struct op *op)
{
    return op->kind == OP_MATMUL_QKV ? &qkv : op->kind == OP_MATMUL_GLU ? &glu : &plain;
}

/* A model's second and third matrix of one input may be missing. */
static const struct tensor *weight_of(const struct op *op, int i)
{
    return i < places_of(op)->n ? op->in[places_of(op)->w[i]] : NULL;
}

static bool has_integer(const struct dtype *type, int64_t k)
{
    return type->to_int && k % Q8_ACT_ELEMS == 0;
}

/* The next part of the scratch at `base`, which may be NULL while only sizes are wanted. */
static void *take(char *base, uint64_t *at, uint64_t bytes)
{
    void *ptr = base ? base + *at : NULL;
    *at += align_up(bytes, 64);
    return ptr;
}

static uint64_t act_layout(char *base, int64_t k, struct act *out)
{
    uint64_t at = 0, blocks = (uint64_t)k / Q8_ACT_ELEMS * sizeof(float);
    out->q = take(base, &at, (uint64_t)k);
    out->d = take(base, &at, blocks);
    out->sum = take(base, &at, blocks);
    return at;
}

/* A tile of columns: what struct int_tile points at, with sums of sub-blocks of 32 and of 16. */
struct tile_acts {
    int8_t *q;
    float *d, *sum[2];
    int32_t *start[2];
};

static uint64_t tile_layout(char *base, int64_t k, struct tile_acts *out)
{
    uint64_t at = 0, blocks = (uint64_t)k / Q8_ACT_ELEMS * TILE_MAX * sizeof(float);
    out->q = take(base, &at, (uint64_t)k * TILE_MAX);
    out->d = take(base, &at, blocks);
    for (int i = 0; i < 2; i++) {
        out->sum[i] = take(base, &at, blocks << i);
        out->start[i] = take(base, &at, blocks << i);
    }
    return at;
}

static uint64_t local_layout(char *base, const struct op *op, struct local *out)
{
    int64_t k = weight_of(op, 0)->ne[0], n = tensor_rows(op->out[0]);
    uint64_t at = 0, part = PANEL_MAX * PART, subs = PANEL_MAX * SUBS_MAX * sizeof(float);
    uint64_t columns = (uint64_t)(n < COLUMN_BLOCK ? n : COLUMN_BLOCK);
    uint64_t tiled = columns * PANEL_MAX, few = TILED_FROM * ROWS_MAX;
    uint64_t row = (uint64_t)k > part ? (uint64_t)k : part;
    for (int i = 0; i < (op->kind == OP_MATMUL_GLU ? 2 : 1); i++)
        out->sums[i] = take(base, &at, (tiled > few ? tiled : few) * sizeof(float));
    out->rows = take(base, &at, part);
    out->scale = take(base, &at, subs);
    out->min = take(base, &at, subs);
    out->panel = take(base, &at, part);
    out->panel_scale = take(base, &at, subs);
    out->panel_min = take(base, &at, subs);
    out->decoded = take(base, &at, row * sizeof(float));
    out->panel_decoded = take(base, &at, part * sizeof(float));
    out->own = take(base, &at, align_up((uint64_t)k, ROW_OWN));
    at += act_layout(base ? base + at : NULL, k, &out->act);
    return at;
}

/* Lays the scratch out; returns its size. */
static uint64_t lay_out(struct job *job, const struct op *op, int n_threads, char *base)
{
    const struct tensor *w = weight_of(op, 0), *x = op->in[places_of(op)->x];
    uint64_t at = 0, n_columns = (uint64_t)tensor_rows(op->out[0]);
    uint64_t n_experts = (uint64_t)w->ne[2];
    uint64_t n_groups = n_experts < n_columns ? n_experts : n_columns;
    uint64_t n_tiles = n_columns / TILE_MAX + n_groups;
    struct act act;
    struct tile_acts tile;
    struct local local;
    bool integer = false;
    for (int i = 0; i < MATRICES_MAX; i++)
        integer |= weight_of(op, i) && has_integer(weight_of(op, i)->dtype, w->ne[0]);
    job->columns = take(base, &at, n_columns * sizeof *job->columns);
    job->groups = take(base, &at, (n_groups + MATRICES_MAX) * sizeof *job->groups);
    job->next = take(base, &at, n_experts * sizeof *job->next);
    job->tile_group = take(base, &at, n_tiles * sizeof *job->tile_group);
    if (integer) {
        job->acts = take(base, &at, (uint64_t)tensor_rows(x) * act_layout(NULL, w->ne[0], &act));
        job->tiles = take(base, &at, n_tiles * tile_layout(NULL, w->ne[0], &tile));
    }
    job->local_bytes = take(base, &at, (uint64_t)n_threads * local_layout(NULL, op, &local));
    return at;
}

size_t matmul_scratch_bytes(const struct op *op, int n_threads)
{
    struct job job;
    return (size_t)lay_out(&job, op, n_threads, NULL);
}

static void local_of(const struct job *job, int thread, struct local *local)
{
    uint64_t bytes = local_layout(NULL, job->call->op, local);
    local_layout(job->local_bytes + (uint64_t)thread * bytes, job->call->op, local);
}

static void tile_of(const struct job *job, int index, struct tile_acts *tile)
{
    uint64_t bytes = tile_layout(NULL, job->k, tile);
    tile_layout(job->tiles + (uint64_t)index * bytes, job->k, tile);
}

static void act_of(const struct job *job, int64_t x_row, struct act *act)
{
    uint64_t bytes = act_layout(NULL, job->k, act);
    act_layout(job->acts + (uint64_t)x_row * bytes, job->k, act);
}

/* --- activations in signed bytes -------------------------------------------------------------- */

static void quantize_row(void *arg, int row, int thread)
{
    (void)thread;
    const struct job *job = arg;
    struct act act;
    act_of(job, row, &act);
    job->kernels->quantize(view_row_flat(job->x, row), job->k, &act);
}

/* Column c of a tile, from its own bytes to their places among the others'. */
static void put_column(const struct job *job, const struct act *act, int c,
                       const struct tile_acts *tile)
{
    int64_t k = job->k;
    for (int64_t i = 0; i < k / 4; i++)
        memcpy(tile->q + (i * TILE_MAX + c) * 4, act->q + i * 4, 4);
    for (int64_t b = 0; b < k / Q8_ACT_ELEMS; b++) {
        const int8_t *q = act->q + b * Q8_ACT_ELEMS;
        int low = 0, high = 0;
        for (int i = 0; i < SUB_MIN; i++) {
            low += q[i];
            high += q[i + SUB_MIN];
        }
        float d = act->d[b];
        tile->d[b * TILE_MAX + c] = d;
        tile->sum[0][b * TILE_MAX + c] = act->sum[b];
        tile->sum[1][2 * b * TILE_MAX + c] = d * (float)low;
        tile->sum[1][(2 * b + 1) * TILE_MAX + c] = d * (float)high;
        tile->start[0][b * TILE_MAX + c] = -job->kernels->offset * (low + high);
        tile->start[1][2 * b * TILE_MAX + c] = -job->kernels->offset * low;
        tile->start[1][(2 * b + 1) * TILE_MAX + c] = -job->kernels->offset * high;
    }
}

static void quantize_tile(void *arg, int index, int thread)
{
    const struct job *job = arg;
    const struct group *group = &job->groups[job->tile_group[index]];
    int first = (index - group->first_tile) * TILE_MAX;
    int n = group->n - first < TILE_MAX ? group->n - first : TILE_MAX;
    struct local local;
    struct tile_acts tile;
    local_of(job, thread, &local);
    tile_of(job, index, &tile);
    for (int c = 0; c < n; c++) {
        int64_t x_row = job->columns[group->first + first + c].x_row;
        job->kernels->quantize(view_row_flat(job->x, x_row), job->k, &local.act);
        put_column(job, &local.act, c, &tile);
    }
}

static void quantize(const struct cpu_scratch *scratch, struct job *job)
{
    int rows = (int)batch_rows_flat(job->call->batch, job->call->op->in[job->at->x]);
    if (job->any_rows)
        pool_run(rows >= 8 ? scratch->pool : NULL, quantize_row, job, rows);
    pool_run(scratch->pool, quantize_tile, job, job->n_tiles);
}

/* --- a chunk of rows: its sums -----------------------------------------------------------------*/

/* A chunk: n rows from `begin` on, with columns [first, first + n_columns) of a group. */
struct chunk {
    const struct group *group;
    int64_t begin;
    int n, first, n_columns, stride; /* stride of the sums */
    const struct matrix *matrix;
    const uint8_t *groups; /* the same rows interleaved, or NULL */
    float *sums;
};

static const char *row_at(const struct job *job, const struct chunk *chunk, int row)
{
    const struct view *w = chunk->matrix->w;
    return (const char *)view_expert(w, chunk->group->expert) +
           (uint64_t)(chunk->begin + row) * dtype_row_bytes(w->dtype, (uint64_t)job->k);
}

/* The chunk's rows interleaved, where its matrix is. */
static const uint8_t *groups_at(const struct job *job, const struct chunk *chunk)
{
    const struct view *w = chunk->matrix->w;
    const uint8_t *groups = chunk->matrix->grouped ? w->interleaved[chunk->group->expert] : NULL;
    if (!groups)
        return NULL;
    return groups + (uint64_t)chunk->begin * dtype_row_bytes(w->dtype, (uint64_t)job->k);
}

static const struct column *column_at(const struct job *job, const struct chunk *chunk, int c)
{
    return &job->columns[chunk->group->first + chunk->first + c];
}

/* Rows without a kernel of their own: each is unpacked part by part, once for all columns. */
static void unpacked_rows(const struct job *job, const struct chunk *chunk,
                          const struct local *local)
{
    const struct dtype *type = chunk->matrix->w->dtype;
    const struct int_form form = {local->rows, local->scale, local->min};
    int64_t k = job->k;
    for (int r = 0; r < chunk->n; r++) {
        float sums[TILED_FROM] = {0};
        for (int64_t at = 0; at < k; at += PART) {
            int part = k - at < PART ? (int)(k - at) : PART;
            chunk->matrix->to_int(row_at(job, chunk, r) + dtype_row_bytes(type, (uint64_t)at),
                                  &form, (size_t)part);
            struct int_dot dot = {
                .w = &form, .k = part, .sub_elems = (int)type->sub_elems, .has_min = type->has_min};
            for (int c = 0; c < chunk->n_columns; c++) {
                act_of(job, column_at(job, chunk, c)->x_row, &dot.x);
                dot.x.q += at;
                dot.x.d += at / Q8_ACT_ELEMS;
                dot.x.sum += at / Q8_ACT_ELEMS;
                sums[c] += job->kernels->int_dot(&dot);
            }
        }
        for (int c = 0; c < chunk->n_columns; c++)
            chunk->sums[c * chunk->stride + r] = sums[c];
    }
}

static void int_rows(const struct job *job, const struct chunk *chunk, const struct local *local)
{
    const uint8_t *rows = chunk->groups ? chunk->groups : (const void *)row_at(job, chunk, 0);
    void (*row_dots)(const struct row_dots *) =
        chunk->groups ? chunk->matrix->grouped->dots : chunk->matrix->row_dots;
    if (!row_dots) {
        unpacked_rows(job, chunk, local);
        return;
    }
    struct row_dots dots = {.rows = rows,
                            .row_bytes = dtype_row_bytes(chunk->matrix->w->dtype, (uint64_t)job->k),
                            .n = chunk->n,
                            .k = job->k,
                            .own = local->own};
    for (int c = 0; c < chunk->n_columns; c++) {
        act_of(job, column_at(job, chunk, c)->x_row, &dots.x);
        dots.y = chunk->sums + c * chunk->stride;
        dots.ahead = c == 0 ? job->ahead : 0; /* then it has come */
        row_dots(&dots);
    }
}

static void float_rows(const struct job *job, const struct chunk *chunk, const struct local *local)
{
    int64_t k = job->k;
    for (int r = 0; r < chunk->n; r++) {
        const float *row = (const float *)(const void *)row_at(job, chunk, r);
        if (chunk->matrix->w->dtype != &dtype_f32) {
            float_decode(job->kernels->floats, chunk->matrix->w->dtype, row_at(job, chunk, r),
                         local->decoded, (size_t)k);
            row = local->decoded;
        }
        for (int c = 0; c < chunk->n_columns; c++)
            chunk->sums[c * chunk->stride + r] = job->kernels->floats->dot(
                row, view_row_flat(job->x, column_at(job, chunk, c)->x_row), k);
    }
}

/* --- a panel of rows: its sums ---------------------------------------------------------------- */

/* Asks for the part of each row after the one at `at`: of so many rows, read in small pieces, the
 * processor does not guess what comes next. Without, a prompt waits for memory an eighth of its
 * time. */
static void prefetch_part(const struct job *job, const struct chunk *chunk, int64_t at)
{
    const struct dtype *type = chunk->matrix->w->dtype;
    int64_t next = at + PART, left = job->k - next;
    if (left <= 0)
        return;
    uint64_t bytes = dtype_row_bytes(type, (uint64_t)(left < PART ? left : PART));
    for (int r = 0; r < chunk->n; r++) {
        const char *row = row_at(job, chunk, r) + dtype_row_bytes(type, (uint64_t)next);
        prefetch_bytes(row, (int)bytes);
    }
}

/* The same from rows that are side by side already. What stood in columns past the end before stays
 * there: nobody asks for their sums. */
static void unpack_groups(const struct job *job, const struct chunk *chunk, int64_t at,
                          const struct local *local)
{
    const struct dtype *type = chunk->matrix->w->dtype;
    int panel = job->kernels->panel, part = job->k - at < PART ? (int)(job->k - at) : PART;
    const uint8_t *blocks = chunk->groups + GROUP_ROWS * dtype_row_bytes(type, (uint64_t)at);
    for (int r = 0; r < chunk->n; r += GROUP_ROWS) {
        const struct group_form form = {local->panel + r * 4, local->panel_scale + r,
                                        local->panel_min + r, panel};
        chunk->matrix->grouped->to_panel(
            blocks + (uint64_t)r * dtype_row_bytes(type, (uint64_t)job->k), part, &form);
    }
}

/* Unpacks a part of each row, and puts the rows side by side. Rows past the end are zero. */
static void pack_part(const struct job *job, const struct chunk *chunk, int64_t at,
                      const struct local *local)
{
    const struct dtype *type = chunk->matrix->w->dtype;
    int panel = job->kernels->panel;
    int64_t left = job->k - at;
    int part = left < PART ? (int)left : PART, subs = part / (int)type->sub_elems;
    for (int r = 0; r < panel; r++) {
        const struct int_form form = {local->rows + r * PART, local->scale + r * SUBS_MAX,
                                      local->min + r * SUBS_MAX};
        if (r < chunk->n) {
            chunk->matrix->to_int(row_at(job, chunk, r) + dtype_row_bytes(type, (uint64_t)at),
                                  &form, (size_t)part);
        } else {
            memset(form.q, 0, (size_t)part);
            memset(form.scale, 0, (size_t)subs * sizeof *form.scale);
            memset(form.min, 0, (size_t)subs * sizeof *form.min);
        }
    }
    for (int s = 0; s < subs; s++)
        for (int r = 0; r < panel; r++)
            local->panel_scale[s * panel + r] = local->scale[r * SUBS_MAX + s];
    for (int s = 0; s < subs && type->has_min; s++)
        for (int r = 0; r < panel; r++)
            local->panel_min[s * panel + r] = local->min[r * SUBS_MAX + s];
    job->kernels->pack(local->rows, part, local->panel);
}

static void int_panel(const struct job *job, const struct chunk *chunk, const struct local *local)
{
    const struct dtype *type = chunk->matrix->w->dtype;
    int64_t k = job->k;
    int form = type->sub_elems == SUB_MIN, sub = (int)type->sub_elems;
    for (int64_t at = 0; at < k; at += PART) {
        if (chunk->groups) {
            unpack_groups(job, chunk, at, local);
        } else {
            pack_part(job, chunk, at, local);
            prefetch_part(job, chunk, at);
        }
        struct int_tile tile = {.w = local->panel,
                                .scale = local->panel_scale,
                                .min = type->has_min ? local->panel_min : NULL,
                                .k = k - at < PART ? (int)(k - at) : PART,
                                .sub_elems = sub,
                                .first = at == 0};
        for (int c = 0; c < chunk->n_columns; c += TILE_MAX) {
            struct tile_acts acts;
            tile_of(job, chunk->group->first_tile + (chunk->first + c) / TILE_MAX, &acts);
            tile.q = acts.q + at * TILE_MAX;
            tile.d = acts.d + at / Q8_ACT_ELEMS * TILE_MAX;
            tile.sum = acts.sum[form] + at / sub * TILE_MAX;
            tile.start = acts.start[form] + at / sub * TILE_MAX;
            tile.n = chunk->n_columns - c < TILE_MAX ? chunk->n_columns - c : TILE_MAX;
            tile.acc = chunk->sums + c * chunk->stride;
            job->kernels->int_tile(&tile);
        }
    }
}

static void decode_part(const struct job *job, const struct chunk *chunk, int64_t at,
                        const struct local *local)
{
    const struct dtype *type = chunk->matrix->w->dtype;
    int panel = job->kernels->panel, left = PART;
    if (job->k - at < PART)
        left = (int)(job->k - at);
    for (int r = 0; r < panel; r++) {
        float *row = local->decoded + r * PART;
        if (r < chunk->n)
            float_decode(job->kernels->floats, type,
                         row_at(job, chunk, r) + dtype_row_bytes(type, (uint64_t)at), row,
                         (size_t)left);
        else
            memset(row, 0, (size_t)left * sizeof *row);
    }
    for (int i = 0; i < left; i++)
        for (int r = 0; r < panel; r++)
            local->panel_decoded[i * panel + r] = local->decoded[r * PART + i];
}

static void float_panel(const struct job *job, const struct chunk *chunk, const struct local *local)
{
    int64_t k = job->k;
    for (int64_t at = 0; at < k; at += PART) {
        const float *a[TILE_MAX];
        struct float_tile tile = {.a = a,
                                  .a_step = 1,
                                  .b = local->panel_decoded,
                                  .k = k - at < PART ? k - at : PART,
                                  .b_stride = job->kernels->panel,
                                  .y_stride = chunk->stride,
                                  .width = job->kernels->panel,
                                  .first = at == 0};
        decode_part(job, chunk, at, local);
        prefetch_part(job, chunk, at);
        for (int c = 0; c < chunk->n_columns; c += TILE_MAX) {
            tile.n = chunk->n_columns - c < TILE_MAX ? chunk->n_columns - c : TILE_MAX;
            for (int i = 0; i < tile.n; i++)
                a[i] =
                    (const float *)view_row_flat(job->x, column_at(job, chunk, c + i)->x_row) + at;
            tile.y = chunk->sums + c * chunk->stride;
            job->kernels->floats->tile(&tile);
        }
    }
}

void matmul_pack_16(const int8_t *rows, int k, int8_t *out)
{
    for (int i = 0; i < k; i += 4)
        for (int r = 0; r < 16; r++)
            memcpy(out + (i * 16 + r * 4), rows + r * PART + i, 4);
}

/* --- chunks ----------------------------------------------------------------------------------- */

/* Products of a chunk's rows of one matrix with its columns, and the bias. Under `float_only` every
 * column is summed up in one order, whatever goes beside it: batches of every size have the same
 * logits, bit for bit. */
static void sum_rows(const struct job *job, struct chunk *chunk, const struct matrix *matrix,
                     const struct local *local)
{
    chunk->matrix = matrix;
    chunk->groups = groups_at(job, chunk);
    chunk->sums = local->sums[matrix - chunk->group->matrix];
    bool tiled = chunk->group->first_tile >= 0;
    if (matrix->integer && tiled)
        int_panel(job, chunk, local);
    else if (matrix->integer)
        int_rows(job, chunk, local);
    else if (tiled && !job->float_only)
        float_panel(job, chunk, local);
    else
        float_rows(job, chunk, local);
    if (!matrix->bias)
        return;
    const float *bias = (const float *)view_row(matrix->bias, chunk->group->expert, 0);
    for (int c = 0; c < chunk->n_columns; c++)
        for (int r = 0; r < chunk->n; r++)
            chunk->sums[c * chunk->stride + r] += bias[chunk->begin + r];
}

/* Sums to their places, through the gate or with the residual. */
static void finish(const struct job *job, const struct chunk *chunk, const struct local *local)
{
    const struct op_call *call = job->call;
    const struct group *group = chunk->group;
    for (int c = 0; c < chunk->n_columns; c++) {
        int64_t row = column_at(job, chunk, c)->row;
        float *y = (float *)view_row_flat(group->matrix->out, row) + chunk->begin;
        float *sums = local->sums[0] + c * chunk->stride;
        if (job->at == &glu) {
            const float *gate_up[2] = {sums, local->sums[1] + c * chunk->stride};
            job->kernels->floats->glu(call->op->p.glu.kind, gate_up, y, chunk->n);
            continue;
        }
        if (call->op->in[job->at->residual]) {
            const float *residual = view_row_flat(&call->in[job->at->residual], row);
            for (int r = 0; r < chunk->n; r++)
                sums[r] += residual[chunk->begin + r];
        }
        memcpy(y, sums, (size_t)chunk->n * sizeof *y);
    }
}

/* A chunk of a tiled group is a panel. */
static void run_chunk(void *arg, int index, int thread)
{
    const struct job *job = arg;
    const struct group *group = &job->groups[index / job->chunks];
    int64_t begin = (int64_t)(index % job->chunks) * job->rows,
            left = group->matrix->w->ne[1] - begin;
    if (left <= 0)
        return; /* another matrix has more rows */
    bool tiled = group->first_tile >= 0;
    struct chunk chunk = {.group = group,
                          .begin = begin,
                          .n = left < job->rows ? (int)left : job->rows,
                          .stride = tiled ? job->kernels->panel : ROWS_MAX};
    struct local local;
    local_of(job, thread, &local);
    for (; chunk.first < group->n; chunk.first += COLUMN_BLOCK) {
        int columns = group->n - chunk.first;
        chunk.n_columns = columns < COLUMN_BLOCK ? columns : COLUMN_BLOCK;
        sum_rows(job, &chunk, group->matrix, &local);
        if (job->at == &glu)
            sum_rows(job, &chunk, group->matrix + 1, &local);
        finish(job, &chunk, &local);
    }
}

/* --- columns and groups ----------------------------------------------------------------------- */

static struct column column_of(const struct job *job, int64_t i)
{
    const struct view *x = job->x, *out = job->matrices[0].out;
    bool per_token =
        job->call->op->in[job->at->ids] && !(x->ne[1] == out->ne[1] && x->ne[2] == out->ne[2]);
    return (struct column){i, per_token ? i / out->ne[1] : i};
}

static void add_group(struct job *job, const struct group *group)
{
    struct group *added = &job->groups[job->n_groups];
    *added = *group;
    added->first_tile = -1;
    if (group->n < TILED_FROM) {
        job->any_rows = true;
    } else {
        added->first_tile = job->n_tiles;
        for (int c = 0; c < group->n; c += TILE_MAX)
            job->tile_group[job->n_tiles++] = job->n_groups;
    }
    job->n_groups++;
}

/* All columns go through each of the matrices (a gated pair counts as one). */
static void group_all(struct job *job, int n_columns)
{
    for (int i = 0; i < n_columns; i++)
        job->columns[i] = column_of(job, i);
    add_group(job, &(struct group){.matrix = &job->matrices[0], .n = n_columns});
    for (int i = 1; job->at == &qkv && i < MATRICES_MAX && job->matrices[i].w; i++) {
        job->groups[i] = job->groups[0];
        job->groups[i].matrix = &job->matrices[i];
        job->n_groups++;
    }
}

static int32_t expert_of(const struct job *job, int64_t i)
{
    const struct view *ids = &job->call->in[job->at->ids];
    return ((const int32_t *)view_row(ids, i / ids->ne[0], 0))[i % ids->ne[0]];
}

static bool expert_is_here(const struct job *job, int64_t expert)
{
    return view_expert(job->matrices[0].w, expert) &&
           (job->at != &glu || view_expert(job->matrices[1].w, expert));
}

/* Counting sort of the columns by expert; those of an expert that is not here are zeros. */
static void group_by_expert(struct job *job, int n_columns)
{
    int *next = job->next, first = 0;
    const struct view *w = job->matrices[0].w, *out = job->matrices[0].out;
    memset(next, 0, (size_t)w->ne[2] * sizeof *next);
    for (int i = 0; i < n_columns; i++)
        next[expert_of(job, i)]++;
    for (int64_t e = 0; e < w->ne[2]; e++) {
        int n = next[e];
        next[e] = first;
        if (n > 0 && expert_is_here(job, e))
            add_group(job, &(struct group){job->matrices, e, first, n, -1});
        first += n;
    }
    for (int i = 0; i < n_columns; i++) {
        int64_t e = expert_of(job, i);
        job->columns[next[e]++] = column_of(job, i);
        if (!expert_is_here(job, e))
            memset(view_row_flat(out, i), 0, (size_t)out->ne[0] * sizeof(float));
    }
}

/* Chunks of a tiled op are panels; else they are long, so that streams are, but enough to share
 * them out evenly. */
static void cut_rows(struct job *job, int n_threads)
{
    int64_t rows = 0, unit = ROWS_MIN, most = ROWS_MAX;
    for (int i = 0; i < job->n_groups; i++) {
        int64_t own = job->groups[i].matrix->w->ne[1];
        rows = own > rows ? own : rows;
    }
    if (job->n_tiles > 0)
        unit = most = job->kernels->panel;
    int64_t chunk = rows * job->n_groups / (n_threads * CHUNKS_PER_THREAD) / unit * unit;
    chunk = chunk < unit ? unit : chunk > most ? most : chunk;
    job->rows = (int)chunk;
    job->chunks = (int)((rows + chunk - 1) / chunk);
}

/* Returns whether any of the matrices is multiplied in integers. */
static bool find_matrices(struct job *job)
{
    const struct op_call *call = job->call;
    bool any = false;
    for (int i = 0; i < MATRICES_MAX && weight_of(call->op, i); i++) {
        struct matrix *matrix = &job->matrices[i];
        int bias = job->at->bias[i];
        matrix->w = &call->in[job->at->w[i]];
        matrix->bias = call->op->in[bias] ? &call->in[bias] : NULL;
        matrix->out = &call->out[job->at->out[i]];
        matrix->integer = !job->float_only && has_integer(matrix->w->dtype, job->k);
        any |= matrix->integer;
        matrix->to_int = matrix->w->dtype->to_int;
        const struct format_kernel *format = job->kernels->formats;
        while (format && format->dtype && format->dtype != matrix->w->dtype)
            format++;
        if (format && format->dtype) {
            matrix->row_dots = format->row_dots;
            matrix->to_int = format->to_int ? format->to_int : matrix->to_int;
        }
        if (matrix->w->interleaved)
            matrix->grouped = group_kernel_of(job->kernels->groups, matrix->w->dtype);
    }
    return any;
}

/* Bytes of interleaved weights that are read row by row; 0 where a group is not. */
static uint64_t bytes_of_rows(const struct job *job)
{
    uint64_t bytes = 0;
    for (int i = 0; i < job->n_groups; i++) {
        const struct group *group = &job->groups[i];
        const struct matrix *last = group->matrix + (job->at == &glu);
        for (const struct matrix *m = group->matrix; m <= last; m++) {
            if (!m->integer || !m->grouped || group->first_tile >= 0)
                return 0;
            bytes += dtype_row_bytes(m->w->dtype, (uint64_t)job->k) * (uint64_t)m->w->ne[1];
        }
    }
    return bytes;
}

/* Runs all chunks; of interleaved rows it is learned how they are best read. */
static void run_chunks(struct job *job, const struct cpu_scratch *scratch, struct pool *pool)
{
    uint64_t bytes = scratch->ahead ? bytes_of_rows(job) : 0;
    if (bytes < LEARNS_FROM) {
        pool_run(pool, run_chunk, job, job->n_groups * job->chunks);
        return;
    }
    int format = (int)(job->matrices[0].grouped - job->kernels->groups);
    job->ahead = ahead_asks(scratch->ahead, format, scratch->product) ? AHEAD_BYTES : 0;
    uint64_t began = os_time_ns();
    pool_run(pool, run_chunk, job, job->n_groups * job->chunks);
    ahead_learn(scratch->ahead, format, scratch->product, bytes,
                (double)(os_time_ns() - began) * 1e-9);
}

void matmul_run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    struct job job = {.call = call, .kernels = scratch->row->matmul, .at = places_of(call->op)};
    int n_threads = pool_threads(scratch->pool);
    int n_columns = (int)batch_rows_flat(call->batch, call->op->out[0]);
    if (n_columns == 0)
        return;
    job.x = &call->in[job.at->x];
    job.k = job.x->ne[0];
    lay_out(&job, call->op, n_threads, scratch->bytes);
    job.float_only = scratch->float_only;
    bool integer = find_matrices(&job);
    if (call->op->in[job.at->ids])
        group_by_expert(&job, n_columns);
    else
        group_all(&job, n_columns);
    if (integer)
        quantize(scratch, &job);
    cut_rows(&job, n_threads);
    bool alone = job.k * job.rows * job.chunks * n_columns < ALONE_BELOW;
    run_chunks(&job, scratch, alone ? NULL : scratch->pool);
}
