#include "vk/vk_priv.h"

#include <stddef.h>

#include "common/iq_grids.h"

/* In the order of the places that shaders know. */
static const struct tables {
    uint32_t iq1[1024], iq2_xxs[128], iq2_xs[256], iq2_s[512], iq3_xxs[256], iq3_s[512];
} tables = {
    {IQ1_GRID}, {IQ2_XXS_GRID}, {IQ2_XS_GRID}, {IQ2_S_GRID}, {IQ3_XXS_GRID}, {IQ3_S_GRID},
};

#define STANDS_AT(member, place)                                                                   \
    _Static_assert(offsetof(struct tables, member) == 4 * (place), "where shaders look")
STANDS_AT(iq1, IQ1_GRID_AT);
STANDS_AT(iq2_xxs, IQ2_XXS_GRID_AT);
STANDS_AT(iq2_xs, IQ2_XS_GRID_AT);
STANDS_AT(iq2_s, IQ2_S_GRID_AT);
STANDS_AT(iq3_xxs, IQ3_XXS_GRID_AT);
STANDS_AT(iq3_s, IQ3_S_GRID_AT);

enum hth_status vk_tables_open(struct vk *vk)
{
    uint32_t chunk;
    enum hth_status status =
        vk_chunk_create(vk, sizeof tables, VK_MEMORY_DEVICE, "tables of shaders", &chunk);
    return status == HTH_OK ? vk_upload(vk, chunk, 0, &tables, sizeof tables) : status;
}
