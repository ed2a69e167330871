#include "gpu/coop.h"

#include <string.h>

#include "gpu/row.h"

enum {
    LEAST_SIDE = 8, /* of a matrix: what is loaded begins at multiples of 8 bytes */
    MOST_SIDE = 32, /* and a unit of weights has 32 columns */
    FEW_COLUMNS = 32,
    MOST_UNITS = 2, /* more fill shared memory, of which several workgroups should have some */
};

static bool is_side(uint32_t side)
{
    return side >= LEAST_SIDE && side <= MOST_SIDE && (side & (side - 1)) == 0;
}

static bool is_usable(const struct vk_matrix *matrix, enum coop_type type, uint32_t run)
{
    static const char *const ins[COOP_TYPES] = {"f16", "bf16", "s8"};
    const char *in = ins[type], *sum = type == COOP_S8 ? "s32" : "f32";
    return strcmp(matrix->a, in) == 0 && strcmp(matrix->b, in) == 0 &&
           strcmp(matrix->c, sum) == 0 && strcmp(matrix->result, sum) == 0 && !matrix->saturates &&
           is_side(matrix->m) && is_side(matrix->n) && is_side(matrix->k) &&
           (type != COOP_S8 || matrix->k <= run);
}

static uint32_t products(const struct vk_matrix *matrix)
{
    return matrix->m * matrix->n * matrix->k;
}

/* The shape with the most products, which reads least for each; NULL: there is none. */
static const struct vk_matrix *best_matrix(const struct vk_caps *caps, enum coop_type type,
                                           uint32_t run)
{
    const struct vk_matrix *best = NULL;
    if ((type == COOP_F16 && !caps->fp16) || (type == COOP_BF16 && !caps->bf16_matrices))
        return NULL;
    for (uint32_t i = 0; i < caps->n_matrices; i++)
        if (is_usable(&caps->matrices[i], type, run) &&
            (!best || products(&caps->matrices[i]) > products(best)))
            best = &caps->matrices[i];
    return best;
}

uint32_t coop_products(const struct vk_caps *caps, enum coop_type type, uint32_t run)
{
    const struct vk_matrix *best = best_matrix(caps, type, run);
    return best ? products(best) : 0;
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

/* As matmul_coop.glsl and coop_steps.glsl declare it. */
static uint32_t shared_bytes(const struct coop_tile *tile, enum coop_type type)
{
    uint32_t sides = tile->bm + tile->bn, columns = tile->units * 32;
    uint32_t floats = tile->group / tile->lanes * tile->m * tile->n + tile->bm + 2 * tile->bn;
    if (type == COOP_S8)
        return sides * (columns + 16) + 4 * (floats + 2 * sides * columns / tile->run);
    return 2 * sides * (columns + 8) + 4 * (floats + tile->bn);
}

/* Sums of a lane beside the 32 weights that it decodes: 64 where it has registers for them; half of
 * that in narrower subgroups, and a quarter in those of 8, where Intel's compiler spills. */
static uint32_t most_sums(const struct vk_caps *caps, uint32_t lanes)
{
    return row_has_many_registers(caps) ? 64 : lanes >= 16 ? 32 : 16;
}

bool coop_tile(const struct vk_caps *caps, const struct coop_want *want, struct coop_tile *out)
{
    const struct vk_matrix *matrix = best_matrix(caps, want->type, want->run);
    uint32_t lanes = row_subgroup(caps, 1);
    if (!matrix || !lanes)
        return false;
    uint32_t sums = most_sums(caps, lanes), bm = sums == 64 ? 128 : 64;
    *out = (struct coop_tile){
        .lanes = lanes,
        .group = bm * 64 / sums,
        .bm = bm,
        .bn = want->columns > FEW_COLUMNS ? 64 : 32,
        .m = matrix->m,
        .n = matrix->n,
        .k = matrix->k,
        .run = want->run,
    };
    /* Of bytes, units are taken in pairs (coop_steps.glsl). */
    out->units =
        out->group / bm < MOST_UNITS && want->type != COOP_S8 ? out->group / bm : MOST_UNITS;
    if (out->group > caps->max_invocations || out->group > caps->max_group[0] ||
        (caps->max_subgroups && out->group / lanes > caps->max_subgroups))
        return false;
    return divide(out) && shared_bytes(out, want->type) <= caps->shared_bytes;
}
