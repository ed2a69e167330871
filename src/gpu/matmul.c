/* The family of matmul: matvecs for up to 16 columns, tiles for more; plain, fused, by expert. */
#include "gpu/matmul_part.h"

#include "base/mem.h"
#include "gpu/table.h"

struct matmul_parts matmul_parts(const struct op *op)
{
    struct matmul_parts p = {0};
    if (op->kind == OP_NORM_MATMUL) {
        p = matmul_parts(op->parts[1]);
        p.x = op->parts[0]->in[0];
        p.norm = op->in[OP_NORM_W];
        p.eps = op->parts[0]->p.rms_norm.eps;
    } else if (op->kind == OP_MATMUL || op->kind == OP_MATMUL_SUM) {
        p = (struct matmul_parts){.x = op->in[1], .ids = op->in[4], .residual = op->in[3], .n = 1};
        p.w[0] = op->in[0], p.bias[0] = op->in[2], p.y[0] = op->out[0];
        p.shares = op->kind == OP_MATMUL_SUM ? op->in[5] : NULL;
    } else if (op->kind == OP_MATMUL_GLU) {
        p = (struct matmul_parts){
            .x = op->in[1], .ids = op->in[4], .n = 2, .glu = 1 + (uint32_t)op->p.glu.kind};
        p.w[0] = op->in[0], p.bias[0] = op->in[2], p.w[1] = op->in[5], p.bias[1] = op->in[6];
        p.y[0] = op->out[0];
    } else {
        p.x = op->in[0];
        for (int i = 0; i < 3 && op->in[1 + 2 * i]; i++, p.n++) {
            p.w[i] = op->in[1 + 2 * i], p.bias[i] = op->in[2 + 2 * i];
            p.y[i] = op->out[i];
        }
    }
    return p;
}

int64_t matmul_columns(const struct matmul_parts *p)
{
    return tensor_rows(p->y[0]);
}

static bool same_formats(const struct matmul_parts *p)
{
    for (int i = 1; i < p->n; i++)
        if (p->w[i]->dtype != p->w[0]->dtype)
            return false;
    return true;
}

bool matmul_shapes_fit(const struct matmul_parts *p)
{
    int64_t k = p->w[0]->ne[0];
    bool plain = p->w[0]->dtype->block_elems == 1;
    return (plain ? k % 8 == 0 : k % 32 == 0) && p->w[0]->kind == TENSOR_WEIGHT && same_formats(p);
}

struct dispatch matmul_begin(const struct compile *c, const struct row_choice *choice,
                             const struct matmul_parts *p)
{
    struct dispatch d = {.choice = *choice};
    dispatch_reads(&d, c, p->x);
    dispatch_reads(&d, c, p->ids);
    dispatch_reads(&d, c, p->residual);
    dispatch_reads(&d, c, p->shares);
    for (int i = 0; i < 3; i++)
        dispatch_writes(&d, c, p->y[i]);
    return d;
}

bool matmul_x_per_slot(const struct matmul_parts *p)
{
    int64_t slots = p->shares ? tensor_elems(p->shares) : tensor_rows(p->y[0]);
    return p->ids && tensor_rows(p->x) == slots;
}

/* --- classes of ops --------------------------------------------------------------------------- */

/* "norm_matmul matmul_qkv q4_k 4096x4096 1": rows of all its matrices by their length, columns at
 * most; and of how many experts. */
static void describe(const struct op *op, struct strbuf *out)
{
    struct matmul_parts p = matmul_parts(op);
    int64_t n = 0, tokens = p.ids && !p.shares ? p.y[0]->ne[2] : matmul_columns(&p);
    for (int i = 0; i < p.n; i++)
        n += p.w[i]->ne[1];
    strbuf_printf(out, "%s", op_def_of(op->kind)->name);
    if (op->kind == OP_NORM_MATMUL)
        strbuf_printf(out, " %s", op_def_of(op->parts[1]->kind)->name);
    for (int i = 0; i < p.n; i++)
        if (i == 0 || p.w[i]->dtype != p.w[i - 1]->dtype)
            strbuf_printf(out, " %s", p.w[i]->dtype->name);
    strbuf_printf(out, "%s %lldx%lld %lld", p.residual ? " add" : "", (long long)table_size(n),
                  (long long)table_size(p.w[0]->ne[0]), (long long)table_columns(tokens));
    if (p.ids)
        strbuf_printf(out, " %lld of %lld", (long long)p.ids->ne[0],
                      (long long)table_size(p.w[0]->ne[2]));
}

static const struct row rows[] = {
    {.name = "matvec_lanes_f32",
     .blob = "matvec",
     .by_format = true,
     .fits = matvec_fits,
     .prefers = matvec_lanes_prefers,
     .shape = matvec_lanes_shape,
     .knobs = matvec_knobs,
     .n_knobs = MATVEC_KNOBS,
     .turn = matvec_turn,
     .emit = matvec_emit},
    {.name = "matvec_f32",
     .blob = "matvec",
     .by_format = true,
     .fits = matvec_fits,
     .shape = matvec_shape,
     .knobs = matvec_knobs,
     .n_knobs = MATVEC_KNOBS,
     .turn = matvec_turn,
     .emit = matvec_emit},
    {.name = "matmul_coop_s8",
     .blob = "matmul_coop_s8",
     .by_format = true,
     .integer = true,
     .matrices = true,
     .fits = tile_coop_s8_fits,
     .prefers = tile_coop_s8_prefers,
     .shape = tile_coop_s8_shape,
     .knobs = tile_coop_knobs,
     .n_knobs = TILE_COOP_KNOBS,
     .turn = tile_coop_s8_turn,
     .emit = tile_int_emit},
    {.name = "matmul_coop_bf16",
     .blob = "matmul_coop_bf16",
     .by_format = true,
     .half = true,
     .bfloat = true,
     .matrices = true,
     .fits = tile_coop_bf16_fits,
     .prefers = tile_coop_bf16_prefers,
     .shape = tile_coop_bf16_shape,
     .knobs = tile_coop_knobs,
     .n_knobs = TILE_COOP_KNOBS,
     .turn = tile_coop_bf16_turn,
     .emit = tile_coop_bf16_emit},
    {.name = "matmul_coop_f16",
     .blob = "matmul_coop_f16",
     .by_format = true,
     .half = true,
     .matrices = true,
     .fits = tile_coop_f16_fits,
     .prefers = tile_coop_f16_prefers,
     .shape = tile_coop_f16_shape,
     .knobs = tile_coop_knobs,
     .n_knobs = TILE_COOP_KNOBS,
     .turn = tile_coop_f16_turn,
     .emit = tile_half_emit},
    {.name = "matmul_int",
     .blob = "matmul_int",
     .by_format = true,
     .integer = true,
     .fits = tile_int_fits,
     .prefers = tile_int_prefers,
     .shape = tile_narrow_shape,
     .knobs = tile_knobs,
     .n_knobs = TILE_KNOBS,
     .turn = tile_int_turn,
     .emit = tile_int_emit},
    {.name = "matmul_f16",
     .blob = "matmul_f16",
     .by_format = true,
     .half = true,
     .fits = tile_half_fits,
     .prefers = tile_half_prefers,
     .shape = tile_narrow_shape,
     .knobs = tile_knobs,
     .n_knobs = TILE_KNOBS,
     .turn = tile_half_turn,
     .emit = tile_half_emit},
    {.name = "matmul_lanes_f32",
     .blob = "matmul_lanes",
     .by_format = true,
     .fits = tile_fits,
     .prefers = tile_lanes_prefers,
     .shape = tile_lanes_shape,
     .knobs = tile_lanes_knobs,
     .n_knobs = TILE_LANES_KNOBS,
     .turn = tile_lanes_turn,
     .emit = tile_emit},
    {.name = "matmul_f32",
     .blob = "matmul_f32",
     .by_format = true,
     .fits = tile_fits,
     .shape = tile_shape,
     .knobs = tile_knobs,
     .n_knobs = TILE_KNOBS,
     .turn = tile_turn,
     .emit = tile_emit},
};

const struct row_family row_family_matmul = {
    .kinds = {OP_MATMUL, OP_MATMUL_GLU, OP_MATMUL_QKV, OP_MATMUL_SUM, OP_NORM_MATMUL},
    .n_kinds = 5,
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
    .describe = describe,
};
