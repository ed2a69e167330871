#include "gpu/coop.h"

#include <string.h>

#include "gpu/row.h"

enum {
    LEAST_SIDE = 8, /* of a matrix: shared memory is laid out in eights of halves */
    MOST_SIDE = 32, /* and a unit of weights has 32 columns */
    FEW_COLUMNS = 32,
    MOST_UNITS = 2, /* more fill shared memory, of which several workgroups should have some */
};

static bool is_side(uint32_t side)
{
    return side >= LEAST_SIDE && side <= MOST_SIDE && (side & (side - 1)) == 0;
}

static bool is_usable(const struct vk_matrix *matrix)
{
    return strcmp(matrix->a, "f16") == 0 && strcmp(matrix->b, "f16") == 0 &&
           strcmp(matrix->c, "f32") == 0 && strcmp(matrix->result, "f32") == 0 &&
           is_side(matrix->m) && is_side(matrix->n) && is_side(matrix->k);
}

static uint32_t products(const struct vk_matrix *matrix)
{
    return matrix->m * matrix->n * matrix->k;
}

/* The shape with the most products, which reads least for each; NULL: there is none. */
static const struct vk_matrix *best_matrix(const struct vk_caps *caps)
{
    const struct vk_matrix *best = NULL;
    for (uint32_t i = 0; i < caps->n_matrices; i++)
        if (is_usable(&caps->matrices[i]) &&
            (!best || products(&caps->matrices[i]) > products(best)))
            best = &caps->matrices[i];
    return best;
}

/* Divides the tile among the subgroups so that each reads as few matrices as can be for all of its
 * products; of x, whose matrices it holds, rather less than of W. */
static bool divide(struct coop_tile *tile)
{
    uint32_t subgroups = tile->group / tile->lanes, least = UINT32_MAX;
    for (uint32_t along_n = 1; along_n <= subgroups; along_n *= 2) {
        uint32_t m = tile->m * (subgroups / along_n), n = tile->n * along_n;
        if (tile->bm % m || tile->bn % n || tile->bm / m + tile->bn / n > least)
            continue;
        tile->fm = tile->bm / m;
        tile->fn = tile->bn / n;
        least = tile->fm + tile->fn;
    }
    return least < UINT32_MAX;
}

/* As matmul_coop_f16.comp declares it. */
static uint32_t shared_bytes(const struct coop_tile *tile)
{
    uint32_t halves = (tile->bm + tile->bn) * (tile->units * 32 + 8);
    uint32_t floats = tile->group / tile->lanes * tile->m * tile->n + tile->bm + 3 * tile->bn;
    return 2 * halves + 4 * floats;
}

/* Sums of a lane beside the 32 weights that it decodes: 64 where it has registers for them; half of
 * that in narrower subgroups, and a quarter in those of 8, where Intel's compiler spills. */
static uint32_t most_sums(const struct vk_caps *caps, uint32_t lanes)
{
    return row_has_many_registers(caps) ? 64 : lanes >= 16 ? 32 : 16;
}

bool coop_tile(const struct vk_caps *caps, uint32_t columns, struct coop_tile *out)
{
    const struct vk_matrix *matrix = best_matrix(caps);
    uint32_t lanes = row_subgroup(caps, 1);
    if (!matrix || !lanes || !caps->fp16)
        return false;
    uint32_t sums = most_sums(caps, lanes), bm = sums == 64 ? 128 : 64;
    *out = (struct coop_tile){
        .lanes = lanes,
        .group = bm * 64 / sums,
        .bm = bm,
        .bn = columns > FEW_COLUMNS ? 64 : 32,
        .m = matrix->m,
        .n = matrix->n,
        .k = matrix->k,
    };
    out->units = out->group / bm < MOST_UNITS ? out->group / bm : MOST_UNITS;
    if (out->group > caps->max_invocations || out->group > caps->max_group[0] ||
        (caps->max_subgroups && out->group / lanes > caps->max_subgroups))
        return false;
    return divide(out) && shared_bytes(out) <= caps->shared_bytes;
}
