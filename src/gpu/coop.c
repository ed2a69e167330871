#include "gpu/coop.h"

#include <string.h>

#include "base/mem.h"
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

/* Are there matrices of sums in floats of this size? Any that a shader declares must be one that
 * the device lists (VUID-RuntimeSpirv-OpTypeCooperativeMatrixKHR-08974). */
static bool has_float_sums(const struct vk_caps *caps, uint32_t m, uint32_t n)
{
    for (uint32_t i = 0; i < caps->n_matrices; i++) {
        const struct vk_matrix *matrix = &caps->matrices[i];
        if (matrix->m == m && matrix->n == n &&
            (strcmp(matrix->c, "f32") == 0 || strcmp(matrix->result, "f32") == 0))
            return true;
    }
    return false;
}

static uint32_t products(const struct vk_matrix *matrix)
{
    return matrix->m * matrix->n * matrix->k;
}

/* The shape with the most products, which reads least for each; NULL: there is none. Integers are
 * scaled and summed up in floats, in matrices of their size. */
static const struct vk_matrix *best_matrix(const struct vk_caps *caps, enum coop_type type,
                                           uint32_t run)
{
    const struct vk_matrix *best = NULL;
    if ((type == COOP_F16 && !caps->fp16) || (type == COOP_BF16 && !caps->bf16_matrices))
        return NULL;
    for (uint32_t i = 0; i < caps->n_matrices; i++)
        if (is_usable(&caps->matrices[i], type, run) &&
            has_float_sums(caps, caps->matrices[i].m, caps->matrices[i].n) &&
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
        return tile->buffers * sides * (columns + 16 + 4 * 2 * columns / tile->run) + 4 * floats;
    return tile->buffers * 2 * sides * (columns + 8) + 4 * (floats + tile->bn);
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
        .buffers = 1,
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

/* More sums than twice what a tile has by default would spill. Of bytes, units are taken in pairs.
 */
bool coop_tile_turn(const struct vk_caps *caps, enum coop_type type, struct coop_tile *tile)
{
    uint32_t most = most_sums(caps, tile->lanes) * (row_has_many_registers(caps) ? 2 : 1);
    return tile->bm * tile->bn <= most * tile->group && (type != COOP_S8 || tile->units % 2 == 0) &&
           divide(tile) && shared_bytes(tile, type) <= caps->shared_bytes;
}

/* --- attention -------------------------------------------------------------------------------- */

enum { ATTENTION_DIMS = 64, LEAST_ROWS = 16, MOST_ROWS = 32, MOST_PARTS = 16 };

/* As coop_rows.glsl declares it. */
static uint32_t rows_shared_bytes(const struct coop_attention *tile, uint32_t k_dim)
{
    uint32_t halves = tile->rows * (k_dim + 8) + ATTENTION_DIMS * (ATTENTION_DIMS + 8);
    return 2 * halves + 4 * (tile->group + tile->rows);
}

/* As attention_coop.glsl does. */
static uint32_t attention_shared_bytes(const struct coop_attention *tile, uint32_t k_dim)
{
    uint32_t words = tile->rows * (ATTENTION_DIMS + 4) + tile->rows + 1;
    return rows_shared_bytes(tile, k_dim) + 2 * tile->rows * (ATTENTION_DIMS + 8) + 4 * words;
}

/* Of a tile's rows and subgroups: are there matrices for each, and registers for their sums? */
static bool divide_attention(const struct vk_caps *caps, uint32_t k_dim, uint32_t v_dim,
                             struct coop_attention *tile)
{
    uint32_t subgroups = tile->group / tile->lanes, along_n = ATTENTION_DIMS / tile->n;
    along_n = subgroups < along_n ? subgroups : along_n;
    uint32_t along_m = subgroups / along_n, parts = tile->group / tile->rows;
    if (tile->rows % (tile->m * along_m) || tile->group > caps->max_invocations ||
        tile->group > caps->max_group[0] || parts == 0 || parts > MOST_PARTS ||
        (caps->max_subgroups && subgroups > caps->max_subgroups))
        return false;
    tile->fm = tile->rows / (tile->m * along_m);
    tile->fn = ATTENTION_DIMS / (tile->n * along_n);
    uint64_t sums = (uint64_t)tile->rows * align_up(v_dim, ATTENTION_DIMS) / tile->group;
    return sums <= most_sums(caps, tile->lanes) &&
           attention_shared_bytes(tile, k_dim) <= caps->shared_bytes;
}

/* As many rows as can be, by as few subgroups, from four on: one is too few to hide anything. */
bool coop_attention(const struct vk_caps *caps, uint32_t rows, uint32_t k_dim, uint32_t v_dim,
                    struct coop_attention *out)
{
    const struct vk_matrix *matrix = best_matrix(caps, COOP_F16, 0);
    uint32_t lanes = row_subgroup(caps, 1);
    if (!matrix || !lanes || k_dim % matrix->k || k_dim % 8 || v_dim % 8)
        return false;
    for (uint32_t most = MOST_ROWS; most >= LEAST_ROWS; most /= 2)
        for (uint32_t subgroups = 4; subgroups <= 32 && most < 2 * rows; subgroups *= 2) {
            *out = (struct coop_attention){.lanes = lanes,
                                           .group = lanes * subgroups,
                                           .rows = most,
                                           .m = matrix->m,
                                           .n = matrix->n,
                                           .k = matrix->k};
            if (divide_attention(caps, k_dim, v_dim, out))
                return true;
        }
    return false;
}

/* --- attention, on matrices of any size ------------------------------------------------------- */

enum { MOST_SUBGROUPS = 4, LEAST_WIDTH = 16 };

/* That with most rows of those that leave a lane to each; the widths divide what is in shared
 * memory. */
static const struct vk_matrix *flexible_matrix(const struct vk_caps *caps, uint32_t lanes)
{
    const struct vk_matrix *best = NULL;
    for (uint32_t i = 0; caps->fp16 && i < caps->n_flexible; i++) {
        const struct vk_matrix *matrix = &caps->flexible[i];
        if (is_usable(matrix, COOP_F16, 0) && matrix->m <= lanes &&
            lanes / matrix->m <= MOST_PARTS && (!best || matrix->m > best->m))
            best = matrix;
    }
    return best;
}

/* Results and scores of 64 positions stay in registers: three times the sums of a tile. */
static bool attention2_fits(const struct vk_caps *caps, uint32_t k_dim, uint32_t v_dim,
                            const struct coop_attention *tile)
{
    uint64_t columns = ATTENTION_DIMS + align_up(v_dim, ATTENTION_DIMS);
    uint32_t subgroups = tile->group / tile->lanes;
    return tile->m * columns <= 3ull * most_sums(caps, tile->lanes) * tile->lanes &&
           tile->group <= caps->max_invocations && tile->group <= caps->max_group[0] &&
           (!caps->max_subgroups || subgroups <= caps->max_subgroups) &&
           rows_shared_bytes(tile, k_dim) + 6 * 4 * tile->rows <= caps->shared_bytes;
}

bool coop_attention2(const struct vk_caps *caps, uint32_t rows, uint32_t k_dim, uint32_t v_dim,
                     struct coop_attention *out)
{
    uint32_t lanes = row_subgroup(caps, 1);
    const struct vk_matrix *matrix = lanes ? flexible_matrix(caps, lanes) : NULL;
    if (!matrix || caps->flexible_most < ATTENTION_DIMS || k_dim % matrix->k || k_dim % 8 ||
        v_dim % 8)
        return false;
    uint32_t n = matrix->n < LEAST_WIDTH ? LEAST_WIDTH : matrix->n;
    uint32_t k = k_dim % LEAST_WIDTH || matrix->k > LEAST_WIDTH ? matrix->k : LEAST_WIDTH;
    for (uint32_t subgroups = MOST_SUBGROUPS; subgroups >= 1; subgroups /= 2) {
        *out = (struct coop_attention){.lanes = lanes,
                                       .group = lanes * subgroups,
                                       .rows = matrix->m * subgroups,
                                       .m = matrix->m,
                                       .n = n,
                                       .k = k};
        if (out->rows < 2 * rows && attention2_fits(caps, k_dim, v_dim, out))
            return true;
    }
    return false;
}
