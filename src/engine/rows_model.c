/* Models with the usual proportions and nothing in them, from an architecture's own table. */
#include "engine/rows_part.h"

#include <stdio.h>

#include "base/mem.h"
#include "gguf/gguf_write.h"

enum {
    N_LAYER = 4, /* so that every third or fourth layer may differ */
    N_EMBD = 1024,
    N_VOCAB = 4096,
    N_FF = 3072,
    N_FF_EXPERT = 512,
    N_EXPERT = 16,
    N_EXPERT_USED = 4,
    N_HEAD = 16,
    N_HEAD_KV = 4,
};

static int64_t dim_size(enum dim dim, int head_dim)
{
    switch (dim) {
    case DIM_NONE: return 1;
    case DIM_EMBD: return N_EMBD;
    case DIM_VOCAB: return N_VOCAB;
    case DIM_Q:
    case DIM_O: return (int64_t)N_HEAD * head_dim;
    case DIM_K:
    case DIM_V: return (int64_t)N_HEAD_KV * head_dim;
    case DIM_HEAD_K: return head_dim;
    case DIM_FF: return N_FF;
    case DIM_FF_EXPERT: return N_FF_EXPERT;
    case DIM_EXPERT: return N_EXPERT;
    case DIM_ROT_HALF: return head_dim / 2;
    }
    return 1;
}

bool rows_arch_has(const struct arch *arch, bool moe)
{
    bool any_moe = false, any_dense = false;
    for (size_t i = 0; i < arch->n_weights; i++) {
        any_moe |= (arch->weights[i].flags & WEIGHT_IF_MOE) != 0;
        any_dense |= (arch->weights[i].flags & WEIGHT_IF_DENSE) != 0;
    }
    return moe ? any_moe : any_dense || !any_moe;
}

struct maker {
    struct gguf_writer *writer;
    const struct arch *arch;
    const void *zeros;
    int head_dim;
    bool moe;
};

static void put_int(const struct maker *m, const char *suffix, uint32_t value)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", m->arch->name, suffix);
    gguf_put_u32(m->writer, name, value);
}

static void put_real(const struct maker *m, const char *suffix, float value)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", m->arch->name, suffix);
    gguf_put_f32(m->writer, name, value);
}

static void put_keys(const struct maker *m)
{
    gguf_put_str(m->writer, "general.architecture", str_of(m->arch->name));
    put_int(m, "block_count", N_LAYER);
    put_int(m, "embedding_length", N_EMBD);
    put_int(m, "context_length", 4096);
    put_int(m, "feed_forward_length", N_FF);
    put_int(m, "attention.head_count", N_HEAD);
    put_int(m, "attention.head_count_kv", N_HEAD_KV);
    put_int(m, "attention.key_length", (uint32_t)m->head_dim);
    put_int(m, "attention.value_length", (uint32_t)m->head_dim);
    put_real(m, "attention.layer_norm_rms_epsilon", 1e-5f);
    put_real(m, "attention.temperature_scale", 0.1f); /* where it means something */
    put_int(m, "rope.scaling.original_context_length", 2048);
    if (!m->moe)
        return;
    put_int(m, "expert_count", N_EXPERT);
    put_int(m, "expert_used_count", N_EXPERT_USED);
    put_int(m, "expert_feed_forward_length", N_FF_EXPERT);
}

static void put_weight(const struct maker *m, const struct weight_spec *spec, int layer)
{
    char name[128];
    const char *mark = strstr(spec->name, "%d");
    if (mark)
        snprintf(name, sizeof name, "%.*s%d%s", (int)(mark - spec->name), spec->name, layer,
                 mark + 2);
    else
        snprintf(name, sizeof name, "%s", spec->name);
    int64_t ne[3];
    uint32_t n_dims = 1;
    for (uint32_t i = 0; i < 3; i++) {
        ne[i] = dim_size(spec->ne[i], m->head_dim);
        n_dims = spec->ne[i] != DIM_NONE ? i + 1 : n_dims;
    }
    /* vectors and the router's matrix are F32 in real files */
    bool small = n_dims == 1 || spec->ne[1] == DIM_EXPERT;
    const struct dtype *type = small ? &dtype_f32 : dtype_by_name(STR("Q4_0"));
    gguf_put_tensor(m->writer, name, type, n_dims, ne, m->zeros, NULL, NULL);
}

static void put_weights(const struct maker *m)
{
    for (size_t i = 0; i < m->arch->n_weights; i++) {
        const struct weight_spec *spec = &m->arch->weights[i];
        bool wanted =
            !(spec->flags & WEIGHT_IF_MOE && !m->moe) && !(spec->flags & WEIGHT_IF_DENSE && m->moe);
        int n = strstr(spec->name, "%d") ? N_LAYER : 1;
        for (int layer = 0; wanted && layer < n; layer++)
            put_weight(m, spec, layer);
    }
}

enum hth_status rows_model(struct strbuf *out, const struct arch *arch, bool moe, int head_dim,
                           const struct log *log)
{
    const size_t n_zeros = (size_t)4 * N_EXPERT * N_FF_EXPERT * N_EMBD; /* the largest tensor */
    struct maker m = {
        .arch = arch, .moe = moe, .head_dim = head_dim, .zeros = mem_calloc(n_zeros, 1)};
    enum hth_status status =
        m.zeros ? gguf_writer_create(&m.writer, log) : log_fail_memory(log, "zeros", n_zeros);
    if (status == HTH_OK) {
        put_keys(&m);
        put_weights(&m);
        status = gguf_writer_save_memory(m.writer, out);
    }
    gguf_writer_destroy(m.writer);
    mem_free((void *)(uintptr_t)m.zeros);
    return status;
}
