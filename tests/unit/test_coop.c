#include <stdio.h>

#include "base/rng.h"
#include "gpu/coop.h"
#include "harness/invented_gpu.h"
#include "harness/test.h"

/* Tiles of cooperative matrices, for the shapes that drivers report and for any. */

#define HALVES(m, n, k)                                                                            \
    {                                                                                              \
        m, n, k, "f16", "f16", "f32", "f32", false                                                 \
    }
#define BFLOAT16(m, n, k)                                                                          \
    {                                                                                              \
        m, n, k, "bf16", "bf16", "f32", "f32", false                                               \
    }
#define BYTES(m, n, k)                                                                             \
    {                                                                                              \
        m, n, k, "s8", "s8", "s32", "s32", false                                                   \
    }
#define OTHER(m, n, k, in, sum)                                                                    \
    {                                                                                              \
        m, n, k, in, in, sum, sum, false                                                           \
    }

static struct vk_caps device(uint32_t lanes_min, uint32_t lanes_max)
{
    struct vk_caps caps = {INVENTED_GPU};
    caps.fp16 = caps.subgroup_control = true;
    caps.subgroup_min = lanes_min;
    caps.subgroup_default = caps.subgroup_max = lanes_max;
    return caps;
}

static struct vk_caps with_shape(struct vk_caps caps, struct vk_matrix matrix)
{
    caps.matrices[caps.n_matrices++] = matrix;
    return caps;
}

/* Are sums of this size in floats in the list? */
static bool has_float_sums(const struct vk_caps *caps, uint32_t m, uint32_t n)
{
    for (uint32_t i = 0; i < caps->n_matrices; i++)
        if (caps->matrices[i].m == m && caps->matrices[i].n == n &&
            (strcmp(caps->matrices[i].c, "f32") == 0 ||
             strcmp(caps->matrices[i].result, "f32") == 0))
            return true;
    return false;
}

/* The subgroups' matrices are all of the tile, once. */
static void check_whole(const struct vk_caps *caps, const struct coop_tile *tile)
{
    uint32_t along_m = tile->bm / (tile->m * tile->fm), along_n = tile->bn / (tile->n * tile->fn);
    assert_int_equal(along_m * tile->m * tile->fm, tile->bm);
    assert_int_equal(along_n * tile->n * tile->fn, tile->bn);
    assert_int_equal(along_m * along_n * tile->lanes, tile->group);
    assert_true(tile->units >= 1 && (tile->run ? tile->run : 32) % tile->k == 0);
    assert_true(tile->run == 0 || tile->units % 2 == 0);
    assert_true(has_float_sums(caps, tile->m, tile->n));
    assert_true(tile->group <= caps->max_invocations && tile->group <= caps->max_group[0]);
    assert_true(tile->lanes >= caps->subgroup_min && tile->lanes <= caps->subgroup_max);
    assert_true(!caps->max_subgroups || tile->group / tile->lanes <= caps->max_subgroups);
}

static struct coop_want halves(uint32_t columns)
{
    return (struct coop_want){.type = COOP_F16, .columns = columns};
}

static struct coop_want bfloat16(uint32_t columns)
{
    return (struct coop_want){.type = COOP_BF16, .columns = columns};
}

static struct coop_want bytes(uint32_t run, uint32_t columns)
{
    return (struct coop_want){.type = COOP_S8, .run = run, .columns = columns};
}

/* As "bm×bn of m×n×k, fm×fn, lanes/group". */
static void check(const struct vk_caps *caps, struct coop_want want, const char *expected)
{
    struct coop_tile t;
    char text[96];
    assert_true(coop_tile(caps, &want, &t));
    check_whole(caps, &t);
    assert_int_equal(t.run, want.run);
    snprintf(text, sizeof text, "%ux%u of %ux%ux%u, %ux%u, %u/%u", t.bm, t.bn, t.m, t.n, t.k, t.fm,
             t.fn, t.lanes, t.group);
    assert_string_equal(text, expected);
}

static void check_none(const struct vk_caps *caps, struct coop_want want)
{
    struct coop_tile t;
    assert_false(coop_tile(caps, &want, &t));
}

TEST(shapes_of_halves_that_drivers_report)
{
    struct vk_caps wide = device(32, 64), narrow = device(8, 32), middle = device(16, 32),
                   software = device(8, 8);
    software.kind = VK_KIND_SOFTWARE;
    wide = with_shape(wide, (struct vk_matrix)HALVES(16, 8, 8));
    check(&wide, halves(512), "128x64 of 16x8x8, 4x4, 32/128");
    wide = with_shape(wide, (struct vk_matrix)HALVES(16, 8, 16));
    check(&wide, halves(512), "128x64 of 16x8x16, 4x4, 32/128");
    wide = with_shape(wide, (struct vk_matrix)HALVES(16, 16, 16));
    check(&wide, halves(512), "128x64 of 16x16x16, 4x2, 32/128");
    check(&wide, halves(33), "128x64 of 16x16x16, 4x2, 32/128");
    check(&wide, halves(32), "128x32 of 16x16x16, 2x2, 32/128");
    check(&wide, halves(0), "128x32 of 16x16x16, 2x2, 32/128");
    narrow = with_shape(narrow, (struct vk_matrix)HALVES(8, 8, 16));
    check(&narrow, halves(512), "64x64 of 8x8x16, 2x1, 8/256");
    check(&narrow, halves(32), "64x32 of 8x8x16, 1x1, 8/256");
    middle = with_shape(middle, (struct vk_matrix)HALVES(8, 16, 16));
    check(&middle, halves(512), "64x64 of 8x16x16, 2x2, 16/128");
    check(&middle, halves(32), "64x32 of 8x16x16, 2x1, 16/128");
    software = with_shape(software, (struct vk_matrix)HALVES(8, 8, 8));
    check(&software, halves(512), "128x64 of 8x8x8, 4x2, 8/128");
}

/* With sums of their size in floats, as all cards with matrices have them. */
static struct vk_caps with_bytes(struct vk_caps caps, uint32_t m, uint32_t n, uint32_t k)
{
    caps = with_shape(caps, (struct vk_matrix)HALVES(m, n, 8));
    return with_shape(caps, (struct vk_matrix)BYTES(m, n, k));
}

/* What shares scales, 16 or 32 columns, is as long as matrices may be. */
TEST(shapes_of_bytes_that_drivers_report)
{
    struct vk_caps wide = device(32, 64), narrow = device(8, 32), middle = device(16, 32),
                   software = device(8, 8);
    software.kind = VK_KIND_SOFTWARE;
    wide = with_bytes(wide, 8, 8, 16);
    check(&wide, bytes(32, 512), "128x64 of 8x8x16, 8x4, 32/128");
    wide = with_bytes(wide, 16, 8, 16);
    check(&wide, bytes(32, 512), "128x64 of 16x8x16, 4x4, 32/128");
    wide = with_bytes(wide, 16, 16, 16);
    check(&wide, bytes(16, 512), "128x64 of 16x16x16, 4x2, 32/128");
    check(&wide, bytes(32, 512), "128x64 of 16x16x16, 4x2, 32/128");
    wide = with_bytes(wide, 16, 8, 32);
    check(&wide, bytes(32, 512), "128x64 of 16x16x16, 4x2, 32/128"); /* not more products */
    wide = with_bytes(wide, 16, 16, 32);
    check(&wide, bytes(32, 512), "128x64 of 16x16x32, 4x2, 32/128");
    check(&wide, bytes(32, 32), "128x32 of 16x16x32, 2x2, 32/128");
    check(&wide, bytes(16, 512), "128x64 of 16x16x16, 4x2, 32/128");
    narrow = with_bytes(narrow, 8, 8, 32);
    check(&narrow, bytes(32, 512), "64x64 of 8x8x32, 2x1, 8/256");
    check(&narrow, bytes(32, 32), "64x32 of 8x8x32, 1x1, 8/256");
    check_none(&narrow, bytes(16, 512));
    middle = with_bytes(middle, 8, 16, 32);
    check(&middle, bytes(32, 512), "64x64 of 8x16x32, 2x2, 16/128");
    check_none(&middle, bytes(16, 512));
    software = with_bytes(software, 8, 8, 8);
    check(&software, bytes(16, 512), "128x64 of 8x8x8, 4x2, 8/128");
    check(&software, bytes(32, 512), "128x64 of 8x8x8, 4x2, 8/128");
}

/* The same tiles as of halves; the device has to say that shaders may use it. */
TEST(shapes_of_bfloat16)
{
    struct vk_caps wide = device(32, 64), narrow = device(8, 32), middle = device(16, 32);
    wide.bf16_matrices = narrow.bf16_matrices = middle.bf16_matrices = true;
    wide.fp16 = false;
    wide = with_shape(wide, (struct vk_matrix)BFLOAT16(16, 16, 16));
    check(&wide, bfloat16(512), "128x64 of 16x16x16, 4x2, 32/128");
    check(&wide, bfloat16(32), "128x32 of 16x16x16, 2x2, 32/128");
    check_none(&wide, halves(512));
    narrow = with_shape(narrow, (struct vk_matrix)BFLOAT16(8, 8, 16));
    check(&narrow, bfloat16(512), "64x64 of 8x8x16, 2x1, 8/256");
    middle = with_shape(middle, (struct vk_matrix)OTHER(8, 16, 16, "bf16", "bf16"));
    check_none(&middle, bfloat16(512)); /* sums are no floats */
    middle = with_shape(middle, (struct vk_matrix)BFLOAT16(8, 16, 16));
    check(&middle, bfloat16(512), "64x64 of 8x16x16, 2x2, 16/128");
    middle.bf16_matrices = false;
    check_none(&middle, bfloat16(512));
    assert_int_equal(coop_products(&middle, COOP_BF16, 0), 0);
}

/* Formats without integers have nothing that shares a scale; no instruction may saturate. */
TEST(bytes_that_do_not_fit)
{
    struct vk_caps caps = device(32, 32);
    caps = with_shape(caps, (struct vk_matrix)HALVES(16, 16, 16));
    check_none(&caps, bytes(32, 512));
    caps = with_shape(caps, (struct vk_matrix)OTHER(16, 16, 32, "u8", "u32"));
    caps = with_shape(caps, (struct vk_matrix)OTHER(16, 16, 32, "s8", "u32"));
    caps = with_shape(caps, (struct vk_matrix){16, 16, 32, "s8", "u8", "s32", "s32", false});
    caps = with_shape(caps, (struct vk_matrix){16, 16, 32, "s8", "s8", "s32", "s32", true});
    check_none(&caps, bytes(32, 512));
    caps = with_shape(caps, (struct vk_matrix)BYTES(16, 16, 32));
    check(&caps, bytes(32, 512), "128x64 of 16x16x32, 4x2, 32/128");
    check_none(&caps, bytes(16, 512));
    check_none(&caps, bytes(0, 512));
    caps.fp16 = false; /* which they do not need */
    check(&caps, bytes(32, 512), "128x64 of 16x16x32, 4x2, 32/128");
    check_none(&caps, halves(512));
    caps.shared_bytes = 23552; /* as RADV counts them */
    check(&caps, bytes(32, 512), "128x64 of 16x16x32, 4x2, 32/128");
    caps.shared_bytes--;
    check_none(&caps, bytes(32, 512));
}

/* What is multiplied in integers is summed up in floats, for which there must be matrices, too. */
TEST(bytes_without_sums_in_floats)
{
    struct vk_caps caps = device(32, 32);
    caps = with_shape(caps, (struct vk_matrix)BYTES(16, 16, 32));
    check_none(&caps, bytes(32, 512));
    assert_int_equal(coop_products(&caps, COOP_S8, 32), 0);
    caps = with_shape(caps, (struct vk_matrix)HALVES(16, 8, 16));
    caps = with_shape(caps, (struct vk_matrix)OTHER(16, 16, 16, "f16", "f16"));
    check_none(&caps, bytes(32, 512));
    caps = with_shape(caps, (struct vk_matrix)BYTES(16, 8, 32));
    check(&caps, bytes(32, 512), "128x64 of 16x8x32, 4x4, 32/128");
    caps = with_shape(caps, (struct vk_matrix){16, 16, 16, "f16", "f16", "f16", "f32", false});
    check(&caps, bytes(32, 512), "128x64 of 16x16x32, 4x2, 32/128");
}

TEST(products_of_an_instruction)
{
    struct vk_caps caps = device(8, 32);
    assert_int_equal(coop_products(&caps, COOP_F16, 0), 0);
    caps = with_shape(caps, (struct vk_matrix)HALVES(8, 8, 16));
    caps = with_shape(caps, (struct vk_matrix)BYTES(8, 8, 32));
    assert_int_equal(coop_products(&caps, COOP_F16, 0), 8 * 8 * 16);
    assert_int_equal(coop_products(&caps, COOP_S8, 32), 8 * 8 * 32);
    assert_int_equal(coop_products(&caps, COOP_S8, 16), 0);
}

TEST(what_a_device_must_have)
{
    struct vk_caps caps = device(32, 32);
    check_none(&caps, halves(512)); /* no matrices */
    caps = with_shape(caps, (struct vk_matrix)OTHER(16, 16, 16, "f16", "f16"));
    caps = with_shape(caps, (struct vk_matrix)OTHER(16, 16, 32, "s8", "s32"));
    caps = with_shape(caps, (struct vk_matrix)OTHER(16, 16, 16, "bf16", "f32"));
    caps = with_shape(caps, (struct vk_matrix)OTHER(16, 16, 16, "?", "f32"));
    check_none(&caps, halves(512)); /* none of halves into floats */
    caps = with_shape(caps, (struct vk_matrix)HALVES(16, 16, 16));
    check(&caps, halves(512), "128x64 of 16x16x16, 4x2, 32/128");
    struct vk_caps less = caps;
    less.fp16 = false;
    check_none(&less, halves(512));
    less = caps;
    less.subgroup_control = false;
    check_none(&less, halves(512));
    less = caps;
    less.shared_bytes = 16384;
    check_none(&less, halves(512));
    less = caps;
    less.max_invocations = 64;
    check_none(&less, halves(512));
    less = caps;
    less.max_subgroups = 2;
    check_none(&less, halves(512));
}

/* Of attention: the subgroups' matrices are all of the rows by 64, once, and each row of the
 * softmax has an invocation at least. */
static void check_whole_attention(const struct vk_caps *caps, const struct coop_attention *tile)
{
    uint32_t along_m = tile->rows / (tile->m * tile->fm), along_n = 64 / (tile->n * tile->fn);
    assert_int_equal(along_m * tile->m * tile->fm, tile->rows);
    assert_int_equal(along_n * tile->n * tile->fn, 64);
    assert_int_equal(along_m * along_n * tile->lanes, tile->group);
    assert_int_equal(tile->group % tile->rows, 0);
    assert_in_range(tile->group / tile->rows, 1, 16);
    assert_true(tile->group <= caps->max_invocations && tile->group <= caps->max_group[0]);
    assert_true(!caps->max_subgroups || tile->group / tile->lanes <= caps->max_subgroups);
}

/* As "rows of m×n×k, fm×fn, lanes/group". */
static void check_attention(const struct vk_caps *caps, uint32_t rows, uint32_t width,
                            const char *expected)
{
    struct coop_attention t;
    char text[96];
    bool fits = coop_attention(caps, rows, width, width, &t);
    if (fits)
        check_whole_attention(caps, &t);
    snprintf(text, sizeof text, "%u of %ux%ux%u, %ux%u, %u/%u", t.rows, t.m, t.n, t.k, t.fm, t.fn,
             t.lanes, t.group);
    assert_string_equal(fits ? text : "none", expected);
}

TEST(attention_on_shapes_that_drivers_report)
{
    struct vk_caps wide = device(32, 64), narrow = device(8, 32), middle = device(16, 32),
                   software = device(8, 8);
    software.kind = VK_KIND_SOFTWARE;
    wide.shared_bytes = narrow.shared_bytes = middle.shared_bytes = 49152;
    wide = with_shape(wide, (struct vk_matrix)HALVES(16, 16, 16));
    check_attention(&wide, 64, 64, "32 of 16x16x16, 2x1, 32/128");
    check_attention(&wide, 64, 128, "32 of 16x16x16, 2x1, 32/128");
    check_attention(&wide, 64, 256, "32 of 16x16x16, 2x1, 32/128");
    check_attention(&wide, 17, 64, "32 of 16x16x16, 2x1, 32/128");
    check_attention(&wide, 16, 64, "16 of 16x16x16, 1x1, 32/128");
    check_attention(&wide, 64, 40, "none"); /* no multiple of K */
    narrow = with_shape(narrow, (struct vk_matrix)HALVES(8, 8, 16));
    check_attention(&narrow, 64, 64, "32 of 8x8x16, 2x1, 8/128");
    check_attention(&narrow, 64, 128, "32 of 8x8x16, 1x1, 8/256");
    middle = with_shape(middle, (struct vk_matrix)HALVES(8, 16, 16));
    check_attention(&middle, 64, 128, "32 of 8x16x16, 2x1, 16/128");
    software = with_shape(software, (struct vk_matrix)HALVES(8, 8, 8));
    check_attention(&software, 64, 64, "32 of 8x8x8, 4x2, 8/32");
    wide.shared_bytes = 20480;
    check_attention(&wide, 64, 64, "16 of 16x16x16, 1x1, 32/128");
    check_attention(&wide, 64, 512, "none");
}

static struct vk_caps with_flexible(struct vk_caps caps, struct vk_matrix matrix, uint32_t most)
{
    caps.flexible[caps.n_flexible++] = matrix;
    caps.flexible_most = most;
    return caps;
}

/* Subgroups have all of the rows, once; results and what is summed up divide 64 and the heads. */
static void check_whole_attention2(const struct vk_caps *caps, const struct coop_attention *tile,
                                   uint32_t k_dim)
{
    bool multiples = false; /* of what the device has */
    for (uint32_t i = 0; i < caps->n_flexible; i++) {
        const struct vk_matrix *matrix = &caps->flexible[i];
        multiples |= strcmp(matrix->a, "f16") == 0 && tile->m % matrix->m == 0 &&
                     tile->n % matrix->n == 0 && tile->k % matrix->k == 0;
    }
    assert_true(multiples);
    /* queries, a page of K or V, and of each row six numbers and where its result is */
    uint32_t halves = tile->rows * (k_dim + 8) + 64 * (64 + 8);
    assert_true(2 * halves + 4 * (tile->group + 7 * tile->rows) <= caps->shared_bytes);
    assert_int_equal(tile->group / tile->lanes * tile->m, tile->rows);
    assert_int_equal(tile->group % tile->rows, 0);
    assert_in_range(tile->group / tile->rows, 1, 16);
    assert_true(64 % tile->n == 0 && tile->n % 4 == 0 && 64 % tile->k == 0 && tile->k % 4 == 0);
    assert_int_equal(k_dim % tile->k, 0);
    assert_true(tile->group <= caps->max_invocations && tile->group <= caps->max_group[0]);
    assert_true(!caps->max_subgroups || tile->group / tile->lanes <= caps->max_subgroups);
    assert_true(caps->flexible_most >= 64);
}

/* As "rows of m×n×k, lanes/group". */
static void check_attention2(const struct vk_caps *caps, uint32_t rows, uint32_t width,
                             const char *expected)
{
    struct coop_attention t;
    char text[96];
    bool fits = coop_attention2(caps, rows, width, width, &t);
    if (fits)
        check_whole_attention2(caps, &t, width);
    snprintf(text, sizeof text, "%u of %ux%ux%u, %u/%u", t.rows, t.m, t.n, t.k, t.lanes, t.group);
    assert_string_equal(fits ? text : "none", expected);
}

TEST(attention_on_elements)
{
    struct vk_caps wide = device(32, 64), software = device(8, 8), half = device(16, 32);
    software.kind = VK_KIND_SOFTWARE;
    wide.shared_bytes = half.shared_bytes = 49152;
    check_attention2(&wide, 64, 64, "none"); /* which has no such matrices */
    wide = with_flexible(wide, (struct vk_matrix)OTHER(16, 16, 16, "f16", "f16"), 1024);
    check_attention2(&wide, 64, 64, "none");
    wide = with_flexible(wide, (struct vk_matrix)HALVES(16, 16, 16), 1024);
    check_attention2(&wide, 64, 64, "64 of 16x16x16, 32/128");
    check_attention2(&wide, 64, 256, "64 of 16x16x16, 32/128");
    check_attention2(&wide, 64, 512, "none");
    check_attention2(&wide, 20, 64, "32 of 16x16x16, 32/64");
    check_attention2(&wide, 16, 64, "16 of 16x16x16, 32/32");
    check_attention2(&wide, 64, 72, "none"); /* no multiple of K */
    software = with_flexible(software, (struct vk_matrix)HALVES(8, 8, 8), 1024);
    check_attention2(&software, 64, 64, "32 of 8x16x16, 8/32");
    check_attention2(&software, 64, 72, "32 of 8x16x8, 8/32");
    half = with_flexible(half, (struct vk_matrix)HALVES(32, 8, 8), 1024);
    check_attention2(&half, 64, 64, "none"); /* more rows than lanes */
    half = with_flexible(half, (struct vk_matrix)HALVES(16, 8, 16), 1024);
    check_attention2(&half, 64, 64, "none"); /* whose registers are few */
    half = with_flexible(device(16, 32), (struct vk_matrix)HALVES(8, 8, 16), 1024);
    check_attention2(&half, 64, 64, "32 of 8x16x16, 16/64");
    wide.shared_bytes = 20480;
    check_attention2(&wide, 64, 64, "32 of 16x16x16, 32/64");
    wide.flexible_most = 32;
    check_attention2(&wide, 64, 64, "none");
}

/* Whatever a driver says, a tile is whole or there is none. */
TEST(any_shape)
{
    struct rng rng = rng_seed(5);
    static const uint32_t sides[] = {0, 1, 4, 8, 12, 16, 32, 64, 0x80000000, 0xffffffff};
    int n_tiles[COOP_TYPES] = {0}, n_attentions = 0, n_attentions2 = 0;
    for (int round = 0; round < 40000; round++) {
        uint32_t lanes = 1u << rng_below(&rng, 8);
        struct vk_caps caps = device(lanes, lanes << rng_below(&rng, 3));
        caps.kind = rng_below(&rng, 2) ? VK_KIND_SOFTWARE : VK_KIND_DISCRETE;
        caps.max_subgroups = rng_below(&rng, 2) ? 1u << rng_below(&rng, 8) : 0;
        for (uint32_t i = rng_below(&rng, 4); i > 0; i--) {
            uint32_t m = sides[rng_below(&rng, 10)], n = sides[rng_below(&rng, 10)],
                     k = sides[rng_below(&rng, 10)];
            struct vk_matrix of_halves = HALVES(m, n, k), of_bytes = BYTES(m, n, k);
            caps = rng_below(&rng, 4) ? with_shape(caps, rng_below(&rng, 2) ? of_halves : of_bytes)
                   : rng_below(&rng, 2) ? with_bytes(caps, m, n, k)
                                        : with_bytes(caps, 8, 8, 16);
        }
        struct coop_want wanted = rng_below(&rng, 2)
                                      ? halves(rng_below(&rng, 100))
                                      : bytes(16 << rng_below(&rng, 2), rng_below(&rng, 100));
        struct coop_tile tile;
        if (coop_tile(&caps, &wanted, &tile)) {
            check_whole(&caps, &tile);
            n_tiles[wanted.type]++;
        }
        struct coop_attention attention;
        uint32_t k_dim = 8 + 8 * rng_below(&rng, 32), v_dim = 8 + 8 * rng_below(&rng, 32);
        if (coop_attention(&caps, 1 + rng_below(&rng, 64), k_dim, v_dim, &attention)) {
            check_whole_attention(&caps, &attention);
            n_attentions++;
        }
        if (caps.n_matrices)
            caps = with_flexible(caps, caps.matrices[0], 32u << rng_below(&rng, 3));
        if (coop_attention2(&caps, 1 + rng_below(&rng, 64), k_dim, v_dim, &attention)) {
            check_whole_attention2(&caps, &attention, k_dim);
            n_attentions2++;
        }
    }
    assert_true(n_tiles[COOP_F16] > 100 && n_tiles[COOP_S8] > 100 && n_attentions > 100);
    assert_true(n_attentions2 > 100);
}
