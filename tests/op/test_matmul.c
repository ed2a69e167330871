#include <math.h>
#include <stdlib.h>

#include "op_test.h"
#include "quant/random.h"

/* Plain matmul in every format; forms with bias, residual and partly filled buckets. */

static const struct dtype *type_named(const char *name)
{
    const struct dtype *type = dtype_by_name(str_of(name));
    if (!type || !type->decode)
        fail_msg("there is no format %s", name);
    return type;
}

static void plain(const struct dtype *type, int64_t k, int64_t n, int n_tokens)
{
    struct op_test t;
    op_test_begin(&t, &(struct op_batch){.n_seqs = 1, .seqs = {{0, n_tokens}}});
    struct tensor *w = op_test_weight(&t, "w", type, k, n, 1);
    struct tensor *x = op_test_input(&t, "x", k, n_tokens, 1, ROWS_TOKENS);
    op_matmul(&t.graph, "y", w, x, NULL);
    /* Of these kinds the columns differ by a factor only: the sums of one row may all cancel. And
     * where blocks are random bytes, weights have so few values that their errors do not. */
    if (n == 1 || !type->encode)
        t.skip_kinds = 1u << INPUT_ALTERNATING | 1u << INPUT_CONSTANT;
    op_test_run(&t);
}

/* Whole numbers up to 127 in each block of activations: integer rows round nothing. */
static void make_whole(struct rng *rng, float *row, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        row[i] = roundf(row[i] * 127);
    for (int64_t i = 0; i < n; i += 32)
        row[i + rng_below(rng, 32)] = rng_below(rng, 2) ? 127 : -127;
}

/* What is wrong in one bit pattern of many drowns in the rounding of activations, and in kernels of
 * halves in theirs: here there is none, and as many blocks that every byte has every value. */
static void every_value(const struct dtype *type, int64_t n)
{
    static const int n_tokens[] = {1, 7, 35};
    for (size_t i = 0; i < ARRAY_LEN(n_tokens) && dtype_is_block(type); i++) {
        struct op_test t;
        op_test_begin(&t, &(struct op_batch){.n_seqs = 1, .seqs = {{0, n_tokens[i]}}});
        int64_t k = 2 * type->block_elems;
        t.skip_kinds = ~(1u << INPUT_UNIFORM);
        t.change = make_whole;
        t.exact = t.no_halves = true;
        struct tensor *w = op_test_weight(&t, "w", type, k, n, 1);
        struct tensor *x = op_test_input(&t, "x", k, n_tokens[i], 1, ROWS_TOKENS);
        op_matmul(&t.graph, "y", w, x, NULL);
        op_test_run(&t);
        assert_true(t.series >= RANDOM_SERIES);
    }
}

/* A column, a few, more than a tile has; rows and columns that no tile divides. */
static void some_shapes(const struct dtype *type)
{
    int64_t block = type->block_elems;
    plain(type, 3 * block, 33, 1);
    plain(type, 3 * block, 18, 7);
    plain(type, 2 * block, 130, 35);
    every_value(type, 301);
}

/* Rows of one block and of odd numbers of blocks; odd numbers of rows; from one column to more than
 * any tile has. */
static void all_shapes(const char *name)
{
    const struct dtype *type = type_named(name);
    int64_t block = type->block_elems;
    if (getenv("HEARTH_TEST_VALIDATE")) { /* looks at kernels and calls, which are the same */
        some_shapes(type);
        return;
    }
    if (block == 1) {
        plain(type, 1, 1, 1);
        plain(type, 33, 5, 3);
        plain(type, 100, 17, 2);
        block = 32;
    }
    plain(type, block, 1, 6); /* never few sums: beside one that cancels no error is small */
    plain(type, block, 11, 1);
    plain(type, 3 * block, 33, 1);
    plain(type, 3 * block, 18, 7);
    plain(type, 2 * block, 67, 1);
    plain(type, block > 32 ? 5 * block : 18 * block, 70, 5);
    plain(type, 2 * block, 130, 35);
    plain(type, block, 9, 70);
    every_value(type, 301);
}

/* Another common format has the same tiles but for some bits. */
static void sibling_format(const char *name)
{
    op_test_leave_out("matmul_coop", type_named(name)->shader);
    all_shapes(name);
}

/* Formats that few models have: all shapes, and tiles on cooperative matrices, only in the whole
 * tier (tests.cmake), since a processor's compiler takes half a second for each kernel of theirs,
 * and three for such a tile. */
static void rare_format(const char *name)
{
    const struct dtype *type = type_named(name);
    op_test_leave_out("matmul_coop", type->shader);
    if (op_test_whole())
        all_shapes(name);
    else if (getenv("HEARTH_TEST_VALIDATE"))
        plain(type, 2 * type->block_elems, 130, 35);
    else
        some_shapes(type);
}

/* Whole groups of rows, which the CPU may have interleaved: one, some, half a panel at the end. */
TEST(groups_of_rows)
{
    static const char *const names[] = {"Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"};
    op_test_leave_out("matmul_coop", NULL); /* this is about the CPU */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct dtype *type = type_named(names[i]);
        int64_t block = type->block_elems;
        plain(type, block, 16, 1);
        plain(type, block > 32 ? 5 * block : 18 * block, 160, 1);
        plain(type, 3 * block, 48, 7);
        plain(type, 2 * block, 144, 35);
        plain(type, block > 32 ? 3 * block : 11 * block, 80, 3);
        every_value(type, 304);
    }
}

TEST(f32)
{
    all_shapes("F32");
}

TEST(f16)
{
    all_shapes("F16");
}

TEST(bf16)
{
    all_shapes("BF16");
}

TEST(q8_0)
{
    all_shapes("Q8_0");
}

TEST(q4_0)
{
    all_shapes("Q4_0");
}

TEST(q4_1)
{
    sibling_format("Q4_1");
}

TEST(q5_0)
{
    rare_format("Q5_0");
}

TEST(q5_1)
{
    rare_format("Q5_1");
}

TEST(q2_k)
{
    rare_format("Q2_K");
}

TEST(q3_k)
{
    rare_format("Q3_K");
}

TEST(q4_k)
{
    all_shapes("Q4_K");
}

TEST(q5_k)
{
    sibling_format("Q5_K");
}

TEST(q6_k)
{
    all_shapes("Q6_K");
}

TEST(iq1_s)
{
    rare_format("IQ1_S");
}

TEST(iq1_m)
{
    rare_format("IQ1_M");
}

TEST(iq2_xxs)
{
    rare_format("IQ2_XXS");
}

TEST(iq2_xs)
{
    rare_format("IQ2_XS");
}

TEST(iq2_s)
{
    rare_format("IQ2_S");
}

TEST(iq3_xxs)
{
    rare_format("IQ3_XXS");
}

TEST(iq3_s)
{
    rare_format("IQ3_S");
}

TEST(iq4_nl)
{
    rare_format("IQ4_NL");
}

TEST(iq4_xs)
{
    rare_format("IQ4_XS");
}

TEST(tq1_0)
{
    rare_format("TQ1_0");
}

TEST(tq2_0)
{
    rare_format("TQ2_0");
}

TEST(mxfp4)
{
    all_shapes("MXFP4");
}

TEST(nvfp4)
{
    rare_format("NVFP4");
}

/* --- scales that are one byte -------------------------------------------------------------------
 */

/* Each value in turn has 32 columns, whose activations undo it: all count the same. */

enum { SCALE_COLUMNS = 32 };

static unsigned mxfp4_first;

/* Exponents to 239: with larger ones (weights from 2^113 on, which no model has; 255 is NaN in the
 * OCP text) integer rows overflow before the activations' scale makes sums small again. */
static void mxfp4_blocks(struct rng *rng, const struct tensor *tensor, void *row)
{
    uint8_t *block = row;
    for (int64_t b = 0; b < tensor->ne[0] / 32; b++, block += 17) {
        block[0] = (uint8_t)(mxfp4_first + (unsigned)b);
        for (int i = 1; i < 17; i++)
            block[i] = (uint8_t)rng_u32(rng);
    }
}

/* Products stay near 2^15 or 2^−15, so that all activations are normal numbers. Exponents 0 and 1
 * make denormal scales, which devices may take for zero: those products are much smaller. */
static void mxfp4_undo(struct rng *rng, float *row, int64_t n)
{
    (void)rng;
    for (int64_t i = 0; i < n; i++) {
        int e = (int)mxfp4_first + (int)(i / SCALE_COLUMNS);
        row[i] = ldexpf(row[i], 127 - (e < 2 ? 24 : e) + (mxfp4_first ? 15 : -15));
    }
}

static bool nvfp4_down;

static unsigned nvfp4_scale(int64_t column)
{
    unsigned nth = (unsigned)(column / SCALE_COLUMNS);
    return nvfp4_down ? 255 - nth : nth;
}

static void nvfp4_blocks(struct rng *rng, const struct tensor *tensor, void *row)
{
    uint8_t *block = row;
    for (int64_t b = 0; b < tensor->ne[0] / 64; b++, block += 36) {
        for (int j = 0; j < 4; j++)
            block[j] = (uint8_t)nvfp4_scale(b * 64 + j * 16);
        for (int i = 4; i < 36; i++)
            block[i] = (uint8_t)rng_u32(rng);
    }
}

static void nvfp4_undo(struct rng *rng, float *row, int64_t n)
{
    const struct dtype *type = type_named("NVFP4");
    uint8_t block[36];
    float ones[64];
    (void)rng;
    memset(block, 0x22, sizeof block);
    for (int64_t i = 0; i < n; i++) {
        block[0] = (uint8_t)nvfp4_scale(i);
        type->decode(block, ones, 64);
        row[i] /= ones[0] > 0 ? ones[0] : 1;
    }
}

static void scales(const char *name, int64_t k, op_test_blocks_fn *blocks, op_test_change_fn *undo)
{
    static const int shapes[][2] = {{9, 1}, {18, 7}, {70, 35}};
    op_test_leave_out("matmul_coop", NULL);
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        struct op_test t;
        op_test_begin(&t, &(struct op_batch){.n_seqs = 1, .seqs = {{0, shapes[i][1]}}});
        t.skip_kinds = ~(1u << INPUT_UNIFORM);
        t.blocks = blocks;
        t.change = undo;
        t.no_halves = true;
        struct tensor *w = op_test_weight(&t, "w", type_named(name), k, shapes[i][0], 1);
        struct tensor *x = op_test_input(&t, "x", k, shapes[i][1], 1, ROWS_TOKENS);
        op_matmul(&t.graph, "y", w, x, NULL);
        op_test_run(&t);
    }
}

TEST(mxfp4_scales)
{
    for (mxfp4_first = 0; mxfp4_first < 240; mxfp4_first += 120)
        scales("MXFP4", 120 * SCALE_COLUMNS, mxfp4_blocks, mxfp4_undo);
}

TEST(nvfp4_scales)
{
    for (int down = 0; down < 2; down++) {
        nvfp4_down = down;
        scales("NVFP4", 256 * SCALE_COLUMNS, nvfp4_blocks, nvfp4_undo);
    }
}

/* As some channels of models have them: no half float is as large. */
TEST(large_activations)
{
    static const char *const names[] = {"F16", "BF16", "Q4_0", "Q6_K"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct op_test t;
        op_test_begin(&t, &(struct op_batch){.n_seqs = 1, .seqs = {{0, 24}}});
        t.scale = 1e5f;
        struct tensor *w = op_test_weight(&t, "w", type_named(names[i]), 256, 40, 1);
        struct tensor *bias = op_test_weight(&t, "bias", &dtype_f32, 40, 1, 1);
        struct tensor *x = op_test_input(&t, "x", 256, 24, 1, ROWS_TOKENS);
        op_matmul(&t.graph, "y", w, x, bias);
        op_test_run(&t);
    }
}

TEST(bias)
{
    struct op_test t;
    op_test_begin(&t, &(struct op_batch){.bucket = 8, .n_seqs = 1, .seqs = {{3, 5}}});
    struct tensor *w = op_test_weight(&t, "w", type_named("Q8_0"), 96, 37, 1);
    struct tensor *bias = op_test_weight(&t, "bias", &dtype_f32, 37, 1, 1);
    struct tensor *x = op_test_input(&t, "x", 96, 8, 1, ROWS_TOKENS);
    op_matmul(&t.graph, "y", w, x, bias);
    op_test_run(&t);
}

TEST(residual)
{
    struct op_test t;
    op_test_begin(&t, &(struct op_batch){.bucket = 4, .n_seqs = 1, .seqs = {{0, 3}}});
    struct tensor *x = op_test_input(&t, "x", 96, 4, 1, ROWS_TOKENS);
    struct tensor *residual = op_test_input(&t, "residual", 37, 4, 1, ROWS_TOKENS);
    struct tensor *y = op_test_input(&t, "y", 37, 4, 1, ROWS_TOKENS);
    struct tensor *bias = op_test_weight(&t, "bias", &dtype_f32, 37, 1, 1);
    struct op op = {
        .kind = OP_MATMUL,
        .in = {op_test_weight(&t, "w", type_named("Q4_0"), 96, 37, 1), x, bias, residual},
        .out = {y}};
    assert_non_null(graph_append(&t.graph, &op));
    op_test_run(&t);
}

/* As the head of a model: rows are wanted outputs, which may be none. */
TEST(outputs)
{
    for (int n_outputs = 0; n_outputs <= 2; n_outputs++) {
        struct op_test t;
        op_test_begin(&t,
                      &(struct op_batch){.n_outputs = n_outputs, .n_seqs = 1, .seqs = {{0, 3}}});
        struct tensor *w = op_test_weight(&t, "w", type_named("Q6_K"), 256, 65, 1);
        struct tensor *x = op_test_input(&t, "x", 256, t.graph.n_outputs, 1, ROWS_OUTPUTS);
        op_matmul(&t.graph, "y", w, x, NULL);
        op_test_run(&t);
    }
}
