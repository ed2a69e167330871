#include "made_model.h"

#include <stdio.h>

#include "base/mem.h"
#include "made_vocab.h"
#include "model/arch.h"

enum {
    MAX_ELEMS = 1 << 14, /* of a tensor: larger ones are left out */
    BANK_ELEMS = 512,
    MAX_BANKS = 4, /* matrices, tables, vectors, and F32 for what blocks do not divide */
};

struct bank {
    const struct dtype *type;
    size_t size;
    unsigned char bytes[BANK_ELEMS * sizeof(double)];
};

struct made {
    struct gguf_writer *writer;
    const struct arch *arch;
    const struct dtype *matrix, *table, *vector;
    int64_t sizes[DIM_ROT_HALF + 1];
    int n_layer;
    unsigned skip;  /* which of eight groups of optional weights are left out */
    bool gentle;    /* weights are encoded from small numbers, not taken as they come */
    bool apart;     /* experts as tensors of their own */
    struct str raw; /* what weights are made of */
    struct bank banks[MAX_BANKS];
    size_t n_banks;
};

static int pick(struct recipe *recipe, const int *choices, size_t n)
{
    return choices[recipe_byte(recipe) % n];
}

/* --- weights ---------------------------------------------------------------------------------- */

/* The raw bytes again and again, from a place that differs from tensor to tensor. */
static void fill_raw(const struct made *made, uint64_t start, unsigned char *bytes, size_t n)
{
    memset(bytes, 0, n);
    for (size_t i = 0, part; i < n && made->raw.len; i += part) {
        struct str piece = str_slice(made->raw, (size_t)((start + i) % made->raw.len), SIZE_MAX);
        part = piece.len < n - i ? piece.len : n - i;
        memcpy(bytes + i, piece.ptr, part);
    }
}

/* A few encoded blocks; encoding all weights would take most of the time. */
static const struct bank *find_bank(struct made *made, const struct dtype *type)
{
    unsigned char raw[BANK_ELEMS];
    float values[BANK_ELEMS];
    struct bank *bank = made->banks;
    while (bank < made->banks + made->n_banks && bank->type != type)
        bank++;
    if (bank < made->banks + made->n_banks)
        return bank;
    made->n_banks++;
    bank->type = type;
    bank->size = (size_t)dtype_row_bytes(type, BANK_ELEMS);
    fill_raw(made, made->n_banks, raw, sizeof raw);
    for (size_t i = 0; i < BANK_ELEMS; i++)
        values[i] = (float)(signed char)raw[i] / 128;
    type->encode(values, bank->bytes, BANK_ELEMS);
    return bank;
}

static void fill_gentle(struct made *made, const struct dtype *type, uint64_t start,
                        unsigned char *bytes, size_t n)
{
    const struct bank *bank = find_bank(made, type);
    size_t block = type->block_bytes, n_blocks = bank->size / block;
    for (size_t i = 0; i < n / block; i++)
        memcpy(bytes + i * block, bank->bytes + (start + i * i + i / n_blocks) % n_blocks * block,
               block);
}

static enum hth_status emit(void *user, const struct gguf_tensor *tensor,
                            struct gguf_writer *writer)
{
    struct made *made = user;
    uint64_t start = tensor->size_bytes + tensor->name.len * 7;
    size_t n = (size_t)tensor->size_bytes;
    unsigned char *bytes = mem_alloc(n);
    if (!bytes)
        return HTH_ERROR_MEMORY;
    if (made->gentle && tensor->dtype->encode)
        fill_gentle(made, tensor->dtype, start, bytes, n);
    else
        fill_raw(made, start, bytes, n);
    gguf_emit(writer, bytes, n);
    mem_free(bytes);
    return HTH_OK;
}

static void put(struct made *made, const char *name, const struct dtype *type, const int64_t ne[3])
{
    if (ne[0] % type->block_elems)
        type = &dtype_f32;
    if (ne[0] * ne[1] * ne[2] > MAX_ELEMS)
        return;
    uint32_t n_dims = ne[2] > 1 ? 3 : ne[1] > 1 ? 2 : 1;
    gguf_put_tensor(made->writer, name, type, n_dims, ne, NULL, emit, made);
}

/* "blk.%d.ffn_up_exps.weight" → "blk.1.ffn_up.0.weight", "blk.1.ffn_up.1.weight" … */
static void put_apart(struct made *made, const char *name, const int64_t ne[3])
{
    const char *mark = strstr(name, "_exps");
    int64_t one[3] = {ne[0], ne[1], 1};
    for (int e = 0; mark && e < ne[2]; e++) {
        char expert[160];
        snprintf(expert, sizeof expert, "%.*s.%d%s", (int)(mark - name), name, e, mark + 5);
        put(made, expert, made->matrix, one);
    }
}

static void put_weight(struct made *made, size_t index, int layer)
{
    const struct weight_spec *spec = &made->arch->weights[index];
    const char *mark = strstr(spec->name, "%d");
    bool moe = made->sizes[DIM_EXPERT] > 0;
    int64_t ne[3];
    char name[128];
    if ((spec->flags & WEIGHT_OPTIONAL && made->skip >> index % 8 & 1) ||
        spec->flags & (moe ? WEIGHT_IF_DENSE : WEIGHT_IF_MOE))
        return;
    for (int i = 0; i < 3; i++)
        ne[i] = spec->ne[i] == DIM_NONE ? 1 : made->sizes[spec->ne[i]];
    if (ne[0] < 1 || ne[1] < 1 || ne[2] < 1)
        return;
    if (mark)
        snprintf(name, sizeof name, "%.*s%d%s", (int)(mark - spec->name), spec->name, layer,
                 mark + 2);
    else
        snprintf(name, sizeof name, "%s", spec->name);
    if (made->apart && spec->flags & WEIGHT_EXPERTS_APART)
        put_apart(made, name, ne);
    else
        put(made, name,
            spec->flags & WEIGHT_VECTOR ? made->vector
            : mark                      ? made->matrix
                                        : made->table,
            ne);
}

/* --- keys ------------------------------------------------------------------------------------- */

static const char *full_name(const struct made *made, const char *suffix, char *buf, size_t size)
{
    snprintf(buf, size, "%s.%s", made->arch->name, suffix);
    return buf;
}

static void put_int(struct made *made, const char *suffix, int64_t value)
{
    char name[128];
    gguf_put_u32(made->writer, full_name(made, suffix, name, sizeof name), (uint32_t)value);
}

static const int few[] = {1, 2, 3, 4}, widths[] = {32, 64, 2, 8, 96, 128, 256, 33, 1, 7},
                 heads[] = {8, 32, 2, 4, 16, 64, 96, 128, 6, 1};

/* Sizes that fit together, most of them: some keys are refused, as they must be. */
static void choose_sizes(struct made *made, struct recipe *recipe)
{
    int n_kv = pick(recipe, few, ARRAY_LEN(few)), n_head = n_kv * pick(recipe, few, ARRAY_LEN(few));
    int dim_k = pick(recipe, heads, ARRAY_LEN(heads)), dim_v = dim_k;
    unsigned experts = recipe_byte(recipe), odd = recipe_byte(recipe);
    if (odd & 1)
        dim_v = pick(recipe, heads, ARRAY_LEN(heads));
    int64_t *size = made->sizes;
    size[DIM_EMBD] = pick(recipe, widths, ARRAY_LEN(widths));
    size[DIM_FF] = pick(recipe, widths, ARRAY_LEN(widths));
    size[DIM_VOCAB] = 1 + (int)(recipe_byte(recipe) % 64);
    size[DIM_Q] = (int64_t)n_head * dim_k;
    size[DIM_K] = (int64_t)n_kv * dim_k;
    size[DIM_V] = (int64_t)n_kv * dim_v;
    size[DIM_O] = (int64_t)n_head * dim_v;
    size[DIM_HEAD_K] = dim_k;
    size[DIM_ROT_HALF] = dim_k / 2;
    made->n_layer = 1 + (int)(odd >> 1 & 1);
    put_int(made, "block_count", made->n_layer);
    put_int(made, "embedding_length", size[DIM_EMBD]);
    put_int(made, "feed_forward_length", size[DIM_FF]);
    put_int(made, "context_length", 64);
    put_int(made, "attention.head_count", n_head);
    put_int(made, "attention.head_count_kv", n_kv);
    put_int(made, "attention.key_length", dim_k);
    put_int(made, "attention.value_length", dim_v);
    if (experts & 1) {
        size[DIM_EXPERT] = 1 + (experts >> 1) % 9;
        size[DIM_FF_EXPERT] = pick(recipe, widths, ARRAY_LEN(widths));
        put_int(made, "expert_count", size[DIM_EXPERT]);
        put_int(made, "expert_used_count", 1 + (experts >> 5) % size[DIM_EXPERT]);
        put_int(made, "expert_feed_forward_length", size[DIM_FF_EXPERT]);
    }
}

static const char *const float_suffixes[] = {
    "attention.scale",
    "attention.temperature_scale",
    "expert_weights_scale",
    "rope.freq_base",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_log_multiplier",
};

/* Each key that the recipe wants, once: a bit says whether it comes. */
static void put_more_keys(struct made *made, struct recipe *recipe)
{
    static const char *const kinds[] = {"yarn", "linear", "none", "yarn", "longrope"};
    unsigned wanted = recipe_byte(recipe), more = recipe_byte(recipe);
    char name[128];
    gguf_put_f32(made->writer,
                 full_name(made, "attention.layer_norm_rms_epsilon", name, sizeof name),
                 more & 1 ? recipe_float(recipe) / 65536 : 1e-5f);
    for (size_t i = 0; i < ARRAY_LEN(float_suffixes); i++)
        if ((wanted | more << 8) >> (i + 1) & 1)
            gguf_put_f32(made->writer, full_name(made, float_suffixes[i], name, sizeof name),
                         recipe_float(recipe));
    if (more & 16)
        gguf_put_str(made->writer, full_name(made, "rope.scaling.type", name, sizeof name),
                     str_of(kinds[recipe_byte(recipe) % ARRAY_LEN(kinds)]));
    if (more & 32)
        put_int(made, "rope.dimension_count",
                recipe_byte(recipe) % (made->sizes[DIM_HEAD_K] / 2 + 1) * 2);
    if (more & 64)
        put_int(made, "rope.scaling.original_context_length", 1 + recipe_byte(recipe));
    if (more & 128)
        put_int(made, "attention.temperature_length", recipe_byte(recipe));
}

/* --- the whole -------------------------------------------------------------------------------- */

static const struct dtype *pick_type(struct recipe *recipe)
{
    size_t n = 0;
    while (dtype_at(n))
        n++;
    const struct dtype *type = dtype_at(recipe_byte(recipe) % n);
    return type->is_integer ? &dtype_f32 : type;
}

static void describe(struct made *made, struct recipe *recipe, bool talks)
{
    static const char *const vectors[] = {"F32", "F16", "BF16", "F64"};
    size_t n_archs = 0;
    while (arch_list[n_archs])
        n_archs++;
    made->arch = arch_list[recipe_byte(recipe) % n_archs];
    made->matrix = pick_type(recipe);
    made->table = pick_type(recipe);
    unsigned form = recipe_byte(recipe);
    made->vector = dtype_by_name(str_of(vectors[form % ARRAY_LEN(vectors)]));
    made->gentle = form & 4;
    made->apart = form & 8;
    made->skip = recipe_byte(recipe);
    gguf_put_str(made->writer, "general.architecture", str_of(made->arch->name));
    choose_sizes(made, recipe);
    put_more_keys(made, recipe);
    if (talks) {
        made_vocab_put(recipe, made->writer);
        made_advice_put(recipe, made->writer);
    }
    made->raw = (struct str){(const char *)recipe->at, recipe->left};
    for (size_t i = 0; i < made->arch->n_weights; i++) {
        bool layered = strstr(made->arch->weights[i].name, "%d");
        for (int layer = 0; layer < (layered ? made->n_layer : 1); layer++)
            put_weight(made, i, layer);
    }
}

enum hth_status made_model_write(struct recipe *recipe, bool talks, struct strbuf *out)
{
    struct made made = {0};
    enum hth_status status = gguf_writer_create(&made.writer, NULL);
    if (status)
        return status;
    describe(&made, recipe, talks);
    status = gguf_writer_save_memory(made.writer, out);
    gguf_writer_destroy(made.writer);
    return status;
}
