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

/* Whatever a driver says, a tile is whole or there is none. */
TEST(any_shape)
{
    struct rng rng = rng_seed(5);
    static const uint32_t sides[] = {0, 1, 4, 8, 12, 16, 32, 64, 0x80000000, 0xffffffff};
    int n_tiles = 0;
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
    }
    assert_true(n_tiles > 100);
}
