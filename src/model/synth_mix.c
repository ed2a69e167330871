#include "model/synth_part.h"

/* The field's mixes: a base type, and better ones where errors cost most. What they are is
 * described in https://github.com/ggml-org/llama.cpp/pull/1684 ("Q6_K for half of the attention.wv
 * and feed_forward.w2 tensors"); which half, and the cases of experts, as the field's quantizer
 * writes them. */
static const struct synth_mix mixes[] = {
    {"q3_k_s", 11, "Q3_K", false}, {"q3_k_m", 12, "Q3_K", false}, {"q3_k_l", 13, "Q3_K", false},
    {"q4_k_s", 14, "Q4_K", false}, {"q4_k_m", 15, "Q4_K", false}, {"q5_k_s", 16, "Q5_K", false},
    {"q5_k_m", 17, "Q5_K", false},
};

/* general.file_type of files that are of one type throughout. */
static const struct {
    const char *type;
    int file_type;
} pure_file_types[] = {
    {"F32", 0},   {"F16", 1},     {"Q4_0", 2},    {"Q4_1", 3},   {"Q8_0", 7},   {"Q5_0", 8},
    {"Q5_1", 9},  {"Q2_K", 10},   {"Q3_K", 11},   {"Q4_K", 14},  {"Q5_K", 16},  {"Q6_K", 18},
    {"BF16", 32}, {"IQ4_NL", 25}, {"IQ4_XS", 30}, {"TQ1_0", 36}, {"TQ2_0", 37}, {"MXFP4", 38},
};

/* Where the rows of a matrix are no multiple of a block: the next type of smaller blocks. */
static const struct {
    const char *type, *instead;
} fallbacks[] = {
    {"Q2_K", "Q4_0"},   {"Q3_K", "Q4_0"},     {"Q4_K", "Q5_0"},  {"Q5_K", "Q5_1"},
    {"Q6_K", "Q8_0"},   {"IQ4_XS", "IQ4_NL"}, {"TQ1_0", "Q4_0"}, {"TQ2_0", "Q4_0"},
    {"IQ4_NL", "Q5_0"}, {"Q4_0", "Q5_0"},     {"Q5_0", "Q8_0"},  {"Q5_1", "Q8_0"},
};

static bool can_write(const struct dtype *type)
{
    return type && !type->is_integer && type->encode;
}

const struct synth_mix *synth_mix_find(struct str name, struct synth_mix *plain)
{
    const struct dtype *type = dtype_by_name(name);
    for (size_t i = 0; i < ARRAY_LEN(mixes); i++)
        if (str_equal_nocase(str_of(mixes[i].name), name) &&
            can_write(dtype_by_name(str_of(mixes[i].base))))
            return &mixes[i];
    if (!can_write(type))
        return NULL;
    *plain = (struct synth_mix){type->name, -1, type->name, true};
    for (size_t i = 0; i < ARRAY_LEN(pure_file_types); i++)
        if (str_equal(str_of(pure_file_types[i].type), str_of(type->name)))
            plain->file_type = pure_file_types[i].file_type;
    return plain;
}

const char *synth_mix_at(size_t index)
{
    return index < ARRAY_LEN(mixes) ? mixes[index].name : NULL;
}

static bool is(const struct synth_mix *mix, const char *name)
{
    return strcmp(mix->name, name) == 0;
}

/* The first and the last eighth, and every third between. */
static bool in_better_half(int layer, int n)
{
    return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

static const char *attn_v_type(const struct synth_mix *mix, const struct synth_shape *shape,
                               int layer)
{
    const char *type = mix->base;
    if (shape->n_expert == 8) /* few weights beside the experts */
        return "Q8_0";
    if (is(mix, "q3_k_m"))
        type = layer < 2 ? "Q5_K" : "Q4_K";
    else if (is(mix, "q3_k_l"))
        type = "Q5_K";
    else if (is(mix, "q4_k_s"))
        type = layer < 4 ? "Q5_K" : type;
    else if (is(mix, "q4_k_m") || is(mix, "q5_k_m"))
        type = in_better_half(layer, shape->n_layer) ? "Q6_K" : type;
    /* So few heads share V in the 70B that better types cost nothing. */
    if (shape->n_layer == 80 && (strcmp(type, "Q3_K") == 0 || strcmp(type, "Q4_K") == 0))
        type = "Q5_K";
    return type;
}

static const char *attn_out_type(const struct synth_mix *mix, const struct synth_shape *shape)
{
    if (shape->n_expert == 8)
        return is(mix, "q3_k_l") ? mix->base : "Q5_K";
    return is(mix, "q3_k_m") ? "Q4_K" : is(mix, "q3_k_l") ? "Q5_K" : mix->base;
}

static const char *ffn_down_type(const struct synth_mix *mix, const struct synth_shape *shape,
                                 int layer)
{
    int n = shape->n_layer;
    if (is(mix, "q3_k_m"))
        return layer < n / 16 ? "Q5_K" : "Q4_K";
    if (is(mix, "q3_k_l"))
        return "Q5_K";
    if (is(mix, "q4_k_s"))
        return layer < n / 8 ? "Q5_K" : mix->base;
    if (is(mix, "q4_k_m") || is(mix, "q5_k_m"))
        return in_better_half(layer, n) ? "Q6_K" : mix->base;
    return mix->base;
}

static const char *wanted_type(const struct synth_mix *mix, const struct synth_shape *shape,
                               enum synth_role role, int layer)
{
    if (mix->pure)
        return mix->base;
    switch (role) {
    case ROLE_OUTPUT: return "Q6_K";
    case ROLE_ATTN_K: return shape->n_expert == 8 ? "Q8_0" : mix->base;
    case ROLE_ATTN_V: return attn_v_type(mix, shape, layer);
    case ROLE_ATTN_OUT: return attn_out_type(mix, shape);
    case ROLE_FFN_DOWN: return ffn_down_type(mix, shape, layer);
    case ROLE_EMBED:
    case ROLE_ATTN_Q:
    case ROLE_FFN_IN: break;
    }
    return mix->base;
}

static const char *fallback(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(fallbacks); i++)
        if (strcmp(fallbacks[i].type, name) == 0)
            return fallbacks[i].instead;
    return "F16";
}

const struct dtype *synth_mix_type(const struct synth_mix *mix, const struct synth_shape *shape,
                                   enum synth_role role, int layer, int64_t cols)
{
    const char *name = wanted_type(mix, shape, role, layer);
    for (;;) {
        const struct dtype *type = dtype_by_name(str_of(name));
        if (can_write(type) && cols % type->block_elems == 0)
            return type;
        if (strcmp(name, "F16") == 0)
            return &dtype_f32;
        name = fallback(name);
    }
}
