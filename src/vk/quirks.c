#include <string.h>

#include "vk/vk_priv.h"

/* Bugs of drivers, and what hearth goes without because of them. The only place that knows vendors.
 */
struct quirk {
    uint32_t vendor_id;      /* 0: any */
    const char *driver_name; /* how vk_caps.driver begins */
    uint32_t from, below;    /* driver_version, [from, below); below 0: not mended yet */
    uint32_t subgroup;       /* only where subgroups are of this size; 0: any */
    uint32_t no_subgroup_ops;
    bool no_transfer_queue, no_matrices;
    const char *what, *link;
};

static const struct quirk quirks[] = {
    {
        .vendor_id = 0x1002,
        .driver_name = "MoltenVK",
        .no_subgroup_ops =
            VK_SUBGROUP_FEATURE_SHUFFLE_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_RELATIVE_BIT,
        .what = "subgroup shuffles give wrong values",
        .link = "https://github.com/ggml-org/llama.cpp/issues/20029",
    },
    {
        .driver_name = "KosmicKrisp",
        .no_subgroup_ops = VK_SUBGROUP_FEATURE_ARITHMETIC_BIT | VK_SUBGROUP_FEATURE_CLUSTERED_BIT,
        .what = "subgroup sums give wrong values",
        .link = "https://github.com/ericcurtin/vllm-vulkan/pull/22",
    },
    {
        .driver_name = "llvmpipe",
        .subgroup = 16,
        .no_matrices = true,
        .what = "its compiler crashes on cooperative matrices of 16 invocations (Mesa 26.1.6)",
        .link = "no report is known; without this, op.knobs.one_column.w512 crashes",
    },
};

void vk_quirks_apply(struct vk_gpu *gpu, const struct log *log)
{
    struct vk_caps *caps = &gpu->caps;
    for (size_t i = 0; i < ARRAY_LEN(quirks); i++) {
        const struct quirk *quirk = &quirks[i];
        if ((quirk->vendor_id && quirk->vendor_id != caps->vendor_id) ||
            strncmp(caps->driver, quirk->driver_name, strlen(quirk->driver_name)) != 0 ||
            (quirk->subgroup && quirk->subgroup != caps->subgroup_default) ||
            caps->driver_version < quirk->from ||
            (quirk->below && caps->driver_version >= quirk->below))
            continue;
        caps->subgroup_ops &= ~quirk->no_subgroup_ops;
        if (quirk->no_transfer_queue)
            gpu->transfer_family = VK_NO_FAMILY;
        if (quirk->no_matrices) {
            caps->n_matrices = caps->n_flexible = 0;
            caps->bf16_matrices = false;
        }
        log_debug(log, "%s (%s): %s, so hearth does without (%s)", caps->name, caps->driver,
                  quirk->what, quirk->link);
    }
}
