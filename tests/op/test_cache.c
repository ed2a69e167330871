#include <math.h>

#include "op_test.h"

/* Positions and cache: rope, KV write, attention. */

static const struct op_batch batches[] = {
    {.bucket = 1, .n_seqs = 1, .seqs = {{0, 1}}},
    {.bucket = 1, .n_seqs = 1, .seqs = {{200, 1}}},
    {.bucket = 16, .n_seqs = 1, .seqs = {{57, 11}}},
    {.n_seqs = 4, .seqs = {{0, 1}, {63, 1}, {64, 2}, {130, 9}}},
    {.n_seqs = 2, .seqs = {{0, 70}, {3, 1}}},
};

/* --- rope --- */

static void rope(const struct rope_params *params, int head_dim, int n_head, bool factors)
{
    for (size_t b = 0; b < ARRAY_LEN(batches); b++) {
        struct op_test t;
        op_test_begin(&t, &batches[b]);
        struct tensor *x = op_test_input(&t, "x", head_dim, n_head, t.graph.n_tokens, ROWS_TOKENS);
        struct tensor *f =
            factors ? op_test_weight(&t, "factors", &dtype_f32, params->n_rot / 2, 1, 1) : NULL;
        op_rope(&t.graph, "y", x, f, params);
        op_test_run(&t);
    }
}

static struct rope_params plain(enum rope_kind kind, int n_rot)
{
    return (struct rope_params){
        .kind = kind, .n_rot = n_rot, .freq_base = 10000, .freq_scale = 1, .attn_factor = 1};
}

TEST(rope_pairs)
{
    struct rope_params params = plain(ROPE_NORM, 64);
    rope(&params, 64, 3, false);
    params.n_rot = 2;
    rope(&params, 2, 1, false);
}

TEST(rope_halves)
{
    struct rope_params params = plain(ROPE_NEOX, 128);
    rope(&params, 128, 2, false);
    params.n_rot = 6;
    rope(&params, 6, 5, false);
}

TEST(rope_partial)
{
    struct rope_params params = plain(ROPE_NORM, 24);
    rope(&params, 80, 2, false);
    params.kind = ROPE_NEOX;
    rope(&params, 80, 2, false);
}

TEST(rope_factors)
{
    struct rope_params params = plain(ROPE_NORM, 64);
    params.freq_base = 500000;
    rope(&params, 64, 2, true);
    params.kind = ROPE_NEOX;
    rope(&params, 96, 2, true);
    params.n_rot = 250; /* more pairs than kernels may treat at a time */
    rope(&params, 256, 2, true);
}

TEST(rope_linear)
{
    struct rope_params params = plain(ROPE_NORM, 32);
    params.freq_scale = 0.25f;
    rope(&params, 32, 2, false);
}

TEST(rope_yarn)
{
    struct rope_params params = plain(ROPE_NEOX, 64);
    params.freq_scale = 0.25f;
    params.ext_factor = 1;
    params.beta_fast = 32;
    params.beta_slow = 1;
    params.n_ctx_orig = 4096;
    rope(&params, 64, 2, false);
    params.n_ctx_orig = 64;
    params.attn_factor = 0.8f;
    params.kind = ROPE_NORM;
    rope(&params, 96, 2, true);
}

/* --- KV write --- */

static void kv_write(const struct dtype *type, int n_head_kv, int k_dim, int v_dim)
{
    for (size_t b = 0; b < ARRAY_LEN(batches); b++) {
        struct op_test t;
        op_test_begin(&t, &batches[b]);
        t.skip_kinds = type == &dtype_f32 ? 0 : 1u << INPUT_HUGE; /* beyond what fp16 holds */
        int64_t T = t.graph.n_tokens;
        struct tensor *k = op_test_input(&t, "k", k_dim, n_head_kv, T, ROWS_TOKENS);
        struct tensor *v = op_test_input(&t, "v", v_dim, n_head_kv, T, ROWS_TOKENS);
        op_kv_write(&t.graph, "write", k, v, op_test_kv(&t, n_head_kv, k_dim, v_dim, type));
        op_test_run(&t);
    }
}

TEST(kv_write_f32)
{
    kv_write(&dtype_f32, 2, 64, 64);
    kv_write(&dtype_f32, 3, 20, 12);
}

TEST(kv_write_f16)
{
    kv_write(&dtype_f16, 2, 64, 64);
    kv_write(&dtype_f16, 1, 80, 48);
}

TEST(kv_write_q8_0)
{
    kv_write(&dtype_q8_0, 2, 64, 64);
    kv_write(&dtype_q8_0, 1, 96, 32);
}

TEST(kv_write_q4_0)
{
    kv_write(&dtype_q4_0, 2, 64, 64);
    kv_write(&dtype_q4_0, 1, 96, 32);
}

/* --- attention --- */

struct shape {
    int n_head, n_head_kv, k_dim, v_dim;
    const struct dtype *type;
    bool sinks;
    struct attention_params params;
};

static void attend_in(const struct shape *shape, const struct op_batch *list, size_t n)
{
    for (size_t b = 0; b < n; b++) {
        struct op_test t;
        op_test_begin(&t, &list[b]);
        t.scale = 4;
        /* Scores of 2^80 are right only to 2^56: nothing is left of their differences. */
        t.skip_kinds = 1u << INPUT_HUGE;
        struct attention_params params = shape->params;
        params.n_head = shape->n_head;
        if (params.scale == 0)
            params.scale = 1 / sqrtf((float)shape->k_dim);
        struct tensor *q =
            op_test_input(&t, "q", shape->k_dim, shape->n_head, t.graph.n_tokens, ROWS_TOKENS);
        struct tensor *kv =
            op_test_kv(&t, shape->n_head_kv, shape->k_dim, shape->v_dim, shape->type);
        struct tensor *sinks =
            shape->sinks ? op_test_weight(&t, "sinks", &dtype_f32, shape->n_head, 1, 1) : NULL;
        op_attention(&t.graph, "y", q, kv, sinks, &params);
        op_test_run(&t);
    }
}

static void attend(const struct shape *shape)
{
    attend_in(shape, batches, ARRAY_LEN(batches));
}

/* Attention on cooperative matrices takes seconds to compile: every day it is in attention_tiles.
 */
static void leave_out_matrices(void)
{
    op_test_leave_out("attention_coop", NULL);
}

TEST(attention_f16)
{
    leave_out_matrices();
    attend(
        &(struct shape){.n_head = 4, .n_head_kv = 4, .k_dim = 64, .v_dim = 64, .type = &dtype_f16});
    attend(
        &(struct shape){.n_head = 9, .n_head_kv = 3, .k_dim = 64, .v_dim = 64, .type = &dtype_f16});
    attend(&(struct shape){
        .n_head = 2, .n_head_kv = 1, .k_dim = 128, .v_dim = 128, .type = &dtype_f16});
}

TEST(attention_f32)
{
    attend(
        &(struct shape){.n_head = 6, .n_head_kv = 2, .k_dim = 32, .v_dim = 32, .type = &dtype_f32});
    attend(
        &(struct shape){.n_head = 5, .n_head_kv = 1, .k_dim = 20, .v_dim = 20, .type = &dtype_f32});
}

TEST(attention_q8_0)
{
    leave_out_matrices();
    attend(&(struct shape){
        .n_head = 4, .n_head_kv = 2, .k_dim = 64, .v_dim = 64, .type = &dtype_q8_0});
}

TEST(attention_q4_0)
{
    leave_out_matrices();
    attend(&(struct shape){
        .n_head = 4, .n_head_kv = 2, .k_dim = 64, .v_dim = 64, .type = &dtype_q4_0});
    attend(&(struct shape){
        .n_head = 3, .n_head_kv = 1, .k_dim = 96, .v_dim = 32, .type = &dtype_q4_0});
}

/* Few tokens that see many pages: workgroups share them, and one or none is left over. */
TEST(attention_shared)
{
    leave_out_matrices();
    static const struct op_batch far[] = {
        {.bucket = 1, .n_seqs = 1, .seqs = {{1000, 1}}},
        {.n_seqs = 3, .seqs = {{0, 1}, {640, 2}, {63, 3}}},
        {.n_seqs = 2, .seqs = {{900, 30}, {127, 20}}},
    };
    const struct shape shapes[] = {
        {.n_head = 4, .n_head_kv = 2, .k_dim = 64, .v_dim = 64, .type = &dtype_f16, .sinks = true},
        {.n_head = 2, .n_head_kv = 1, .k_dim = 32, .v_dim = 80, .type = &dtype_f32},
        {.n_head = 1,
         .n_head_kv = 1,
         .k_dim = 64,
         .v_dim = 64,
         .type = &dtype_f16,
         .params = {.window = 300}},
    };
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        attend_in(&shapes[i], far, ARRAY_LEN(far));
}

/* Many tokens: tiles that end within a page and pages within a tile, sequences that end within
 * both, heads that are no power of two, windows that begin on another page for each row. */
TEST(attention_tiles)
{
    static const struct op_batch many[] = {
        {.n_seqs = 1, .seqs = {{0, 65}}},
        {.bucket = 80, .n_seqs = 3, .seqs = {{200, 33}, {0, 20}, {63, 2}}},
    };
    const struct shape shapes[] = {
        {.n_head = 8,
         .n_head_kv = 2,
         .k_dim = 64,
         .v_dim = 64,
         .type = &dtype_f16,
         .params = {.window = 70, .softcap = 9},
         .sinks = true},
        {.n_head = 20, .n_head_kv = 1, .k_dim = 96, .v_dim = 32, .type = &dtype_q8_0},
        {.n_head = 2, .n_head_kv = 2, .k_dim = 64, .v_dim = 64, .type = &dtype_q4_0},
        {.n_head = 4, .n_head_kv = 4, .k_dim = 64, .v_dim = 64, .type = &dtype_f16},
        {.n_head = 7, .n_head_kv = 1, .k_dim = 32, .v_dim = 80, .type = &dtype_f16},
        {.n_head = 3, .n_head_kv = 1, .k_dim = 128, .v_dim = 128, .type = &dtype_f16},
        {.n_head = 70, .n_head_kv = 1, .k_dim = 32, .v_dim = 32, .type = &dtype_f16},
    };
    /* Every day one shape of each type is on matrices, and one on those with elements, which take a
     * processor's compiler 20 seconds each; they decode the other types as the former do. */
    enum { N_BY_ELEMENTS = 1, N_BY_MATRICES = 3 };
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        if (i == N_BY_ELEMENTS)
            op_test_leave_out("attention_coop2", "");
        if (i == N_BY_MATRICES)
            leave_out_matrices();
        attend_in(&shapes[i], many, ARRAY_LEN(many));
    }
}

TEST(attention_widths)
{
    leave_out_matrices();
    attend(
        &(struct shape){.n_head = 4, .n_head_kv = 2, .k_dim = 96, .v_dim = 64, .type = &dtype_f16});
    attend(&(struct shape){
        .n_head = 3, .n_head_kv = 3, .k_dim = 32, .v_dim = 128, .type = &dtype_q8_0});
    attend(&(struct shape){
        .n_head = 2, .n_head_kv = 2, .k_dim = 256, .v_dim = 256, .type = &dtype_f16});
}

TEST(attention_window)
{
    leave_out_matrices();
    attend(&(struct shape){.n_head = 4,
                           .n_head_kv = 2,
                           .k_dim = 64,
                           .v_dim = 64,
                           .type = &dtype_f16,
                           .params = {.window = 1}});
    attend(&(struct shape){.n_head = 4,
                           .n_head_kv = 2,
                           .k_dim = 64,
                           .v_dim = 64,
                           .type = &dtype_f16,
                           .params = {.window = 17}});
    attend(&(struct shape){.n_head = 4,
                           .n_head_kv = 2,
                           .k_dim = 64,
                           .v_dim = 64,
                           .type = &dtype_f32,
                           .params = {.window = 64}});
    attend(&(struct shape){.n_head = 4,
                           .n_head_kv = 2,
                           .k_dim = 64,
                           .v_dim = 64,
                           .type = &dtype_q8_0,
                           .params = {.window = 100}});
}

TEST(attention_softcap)
{
    leave_out_matrices();
    attend(&(struct shape){.n_head = 4,
                           .n_head_kv = 2,
                           .k_dim = 64,
                           .v_dim = 64,
                           .type = &dtype_f16,
                           .params = {.softcap = 5, .scale = 1}});
}

TEST(attention_sinks)
{
    leave_out_matrices();
    attend(&(struct shape){
        .n_head = 4, .n_head_kv = 2, .k_dim = 64, .v_dim = 64, .type = &dtype_f16, .sinks = true});
    attend(&(struct shape){.n_head = 8,
                           .n_head_kv = 1,
                           .k_dim = 64,
                           .v_dim = 64,
                           .type = &dtype_f16,
                           .sinks = true,
                           .params = {.window = 30, .softcap = 20}});
}
