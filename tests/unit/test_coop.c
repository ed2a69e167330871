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

/* The subgroups' matrices are all of the tile, once. */
static void check_whole(const struct vk_caps *caps, const struct coop_tile *tile)
{
    uint32_t along_m = tile->bm / (tile->m * tile->fm), along_n = tile->bn / (tile->n * tile->fn);
    assert_int_equal(along_m * tile->m * tile->fm, tile->bm);
    assert_int_equal(along_n * tile->n * tile->fn, tile->bn);
    assert_int_equal(along_m * along_n * tile->lanes, tile->group);
    assert_true(tile->units >= 1 && 32 % tile->k == 0);
    assert_true(tile->group <= caps->max_invocations && tile->group <= caps->max_group[0]);
    assert_true(tile->lanes >= caps->subgroup_min && tile->lanes <= caps->subgroup_max);
    assert_true(!caps->max_subgroups || tile->group / tile->lanes <= caps->max_subgroups);
}

/* As "bm×bn of m×n×k, fm×fn, lanes/group". */
static void check(const struct vk_caps *caps, uint32_t columns, const char *expected)
{
    struct coop_tile t;
    char text[96];
    assert_true(coop_tile(caps, columns, &t));
    check_whole(caps, &t);
    snprintf(text, sizeof text, "%ux%u of %ux%ux%u, %ux%u, %u/%u", t.bm, t.bn, t.m, t.n, t.k, t.fm,
             t.fn, t.lanes, t.group);
    assert_string_equal(text, expected);
}

TEST(shapes_that_drivers_report)
{
    struct vk_caps wide = device(32, 64), narrow = device(8, 32), middle = device(16, 32),
                   software = device(8, 8);
    software.kind = VK_KIND_SOFTWARE;
    wide = with_shape(wide, (struct vk_matrix)HALVES(16, 8, 8));
    check(&wide, 512, "128x64 of 16x8x8, 4x4, 32/128");
    wide = with_shape(wide, (struct vk_matrix)HALVES(16, 8, 16));
    check(&wide, 512, "128x64 of 16x8x16, 4x4, 32/128");
    wide = with_shape(wide, (struct vk_matrix)HALVES(16, 16, 16));
    check(&wide, 512, "128x64 of 16x16x16, 4x2, 32/128");
    check(&wide, 33, "128x64 of 16x16x16, 4x2, 32/128");
    check(&wide, 32, "128x32 of 16x16x16, 2x2, 32/128");
    check(&wide, 0, "128x32 of 16x16x16, 2x2, 32/128");
    narrow = with_shape(narrow, (struct vk_matrix)HALVES(8, 8, 16));
    check(&narrow, 512, "64x64 of 8x8x16, 2x1, 8/256");
    check(&narrow, 32, "64x32 of 8x8x16, 1x1, 8/256");
    middle = with_shape(middle, (struct vk_matrix)HALVES(8, 16, 16));
    check(&middle, 512, "64x64 of 8x16x16, 2x2, 16/128");
    check(&middle, 32, "64x32 of 8x16x16, 2x1, 16/128");
    software = with_shape(software, (struct vk_matrix)HALVES(8, 8, 8));
    check(&software, 512, "128x64 of 8x8x8, 4x2, 8/128");
}

TEST(what_a_device_must_have)
{
    struct coop_tile t;
    struct vk_caps caps = device(32, 32);
    assert_false(coop_tile(&caps, 512, &t)); /* no matrices */
    caps = with_shape(caps, (struct vk_matrix)OTHER(16, 16, 16, "f16", "f16"));
    caps = with_shape(caps, (struct vk_matrix)OTHER(16, 16, 32, "s8", "s32"));
    caps = with_shape(caps, (struct vk_matrix)OTHER(16, 16, 16, "bf16", "f32"));
    caps = with_shape(caps, (struct vk_matrix)OTHER(16, 16, 16, "?", "f32"));
    assert_false(coop_tile(&caps, 512, &t)); /* none of halves into floats */
    caps = with_shape(caps, (struct vk_matrix)HALVES(16, 16, 16));
    assert_true(coop_tile(&caps, 512, &t));
    struct vk_caps less = caps;
    less.fp16 = false;
    assert_false(coop_tile(&less, 512, &t));
    less = caps;
    less.subgroup_control = false;
    assert_false(coop_tile(&less, 512, &t));
    less = caps;
    less.shared_bytes = 16384;
    assert_false(coop_tile(&less, 512, &t));
    less = caps;
    less.max_invocations = 64;
    assert_false(coop_tile(&less, 512, &t));
    less = caps;
    less.max_subgroups = 2;
    assert_false(coop_tile(&less, 512, &t));
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

/* Whatever a driver says, a tile is whole or there is none. */
TEST(any_shape)
{
    struct rng rng = rng_seed(5);
    static const uint32_t sides[] = {0, 1, 4, 8, 12, 16, 32, 64, 0x80000000, 0xffffffff};
    int n_tiles = 0, n_attentions = 0;
    for (int round = 0; round < 20000; round++) {
        uint32_t lanes = 1u << rng_below(&rng, 8);
        struct vk_caps caps = device(lanes, lanes << rng_below(&rng, 3));
        caps.kind = rng_below(&rng, 2) ? VK_KIND_SOFTWARE : VK_KIND_DISCRETE;
        caps.max_subgroups = rng_below(&rng, 2) ? 1u << rng_below(&rng, 8) : 0;
        for (uint32_t i = rng_below(&rng, 4); i > 0; i--) {
            struct vk_matrix matrix = HALVES(sides[rng_below(&rng, 10)], sides[rng_below(&rng, 10)],
                                             sides[rng_below(&rng, 10)]);
            caps = with_shape(caps, matrix);
        }
        struct coop_tile tile;
        if (coop_tile(&caps, rng_below(&rng, 100), &tile)) {
            check_whole(&caps, &tile);
            n_tiles++;
        }
        struct coop_attention attention;
        uint32_t k_dim = 8 + 8 * rng_below(&rng, 32), v_dim = 8 + 8 * rng_below(&rng, 32);
        if (coop_attention(&caps, 1 + rng_below(&rng, 64), k_dim, v_dim, &attention)) {
            check_whole_attention(&caps, &attention);
            n_attentions++;
        }
    }
    assert_true(n_tiles > 100 && n_attentions > 100);
}
