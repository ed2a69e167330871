#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "model/load.h"

/* Only the first failure is worth a sentence: later ones mostly follow from it. */
static void refuse(struct key_reader *keys, const char *advice, const char *fmt, va_list args)
{
    char what[512];
    if (keys->failed)
        return;
    keys->failed = true;
    vsnprintf(what, sizeof what, fmt, args);
    log_line(keys->log, HTH_LOG_ERROR, "%s: %s; %s", gguf_path(keys->gguf), what, advice);
}

static void keys_fail(struct key_reader *keys, const char *fmt, ...) ATTR_PRINTF(2, 3);
static void keys_lack(struct key_reader *keys, const char *fmt, ...) ATTR_PRINTF(2, 3);

/* The file is wrong. */
static void keys_fail(struct key_reader *keys, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    refuse(keys, "convert or download the model again", fmt, args);
    va_end(args);
}

/* The file may be right, and hearth lacks what it asks for. */
static void keys_lack(struct key_reader *keys, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    refuse(keys, "use another model, or a newer hearth", fmt, args);
    va_end(args);
}

static const struct gguf_key *find(const struct key_reader *keys, const char *suffix)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", keys->arch, suffix);
    return gguf_key_find(keys->gguf, name);
}

int key_int(struct key_reader *keys, const char *suffix, int min, int max, int fallback)
{
    const struct gguf_key *key = find(keys, suffix);
    int64_t first = 0;
    if (!key && fallback >= 0)
        return fallback;
    if (!key) {
        keys_fail(keys, "the key \"%s.%s\" is missing", keys->arch, suffix);
        return min;
    }
    for (uint64_t i = 0; i < key->count || i == 0; i++) {
        int64_t value;
        if (!gguf_get_i64(key, i, &value)) {
            keys_fail(keys, "the key \"%s.%s\" holds %s, but an integer is needed", keys->arch,
                      suffix, gguf_type_name(key->type));
            return min;
        }
        if (i > 0 && value != first) {
            keys_lack(keys,
                      "the key \"%s.%s\" differs from layer to layer (%lld and %lld), which "
                      "hearth cannot run for this architecture",
                      keys->arch, suffix, (long long)first, (long long)value);
            return min;
        }
        first = value;
    }
    if (first < min || first > max) {
        keys_fail(keys, "the key \"%s.%s\" is %lld, but must be between %d and %d", keys->arch,
                  suffix, (long long)first, min, max);
        return min;
    }
    return (int)first;
}

float key_float(struct key_reader *keys, const char *suffix, float fallback)
{
    const struct gguf_key *key = find(keys, suffix);
    double value;
    if (!key && !isnan(fallback))
        return fallback;
    if (!key) {
        keys_fail(keys, "the key \"%s.%s\" is missing", keys->arch, suffix);
        return 0.0f;
    }
    if (!gguf_get_f64(key, 0, &value)) {
        keys_fail(keys, "the key \"%s.%s\" holds %s, but a number is needed", keys->arch, suffix,
                  gguf_type_name(key->type));
        return 0.0f;
    }
    if (!(fabs(value) <= 1e30)) {
        keys_fail(keys, "the key \"%s.%s\" is %g, but a finite number is needed", keys->arch,
                  suffix, value);
        return 0.0f;
    }
    return (float)value;
}

bool key_bool(struct key_reader *keys, const char *suffix, bool fallback)
{
    const struct gguf_key *key = find(keys, suffix);
    bool value = fallback;
    if (key && !gguf_get_bool(key, 0, &value))
        keys_fail(keys, "the key \"%s.%s\" holds %s, but true or false is needed", keys->arch,
                  suffix, gguf_type_name(key->type));
    return value;
}

struct str key_str(struct key_reader *keys, const char *suffix)
{
    const struct gguf_key *key = find(keys, suffix);
    struct str value = {NULL, 0};
    if (key && !gguf_get_str(key, &value))
        keys_fail(keys, "the key \"%s.%s\" holds %s, but a string is needed", keys->arch, suffix,
                  gguf_type_name(key->type));
    return value;
}

/* A key whose 0 means what its absence means: then `otherwise`. */
static int int_or(struct key_reader *keys, const char *suffix, int max, int otherwise)
{
    int value = key_int(keys, suffix, 0, max, 0);
    return value ? value : otherwise;
}

static float float_or(struct key_reader *keys, const char *suffix, float otherwise)
{
    float value = key_float(keys, suffix, 0.0f);
    return value != 0.0f ? value : otherwise;
}

/* YaRN: arXiv:2309.00071, section 3. With a log multiplier m the file says that cos and sin are to
 * be scaled by (0.1·ln f + 1) / (0.1·m·ln f + 1); op_rope brings the numerator. */
static void read_yarn(struct key_reader *keys, struct rope_params *rope, float factor)
{
    float log_multiplier = key_float(keys, "rope.scaling.yarn_log_multiplier", 0.0f);
    float ext_factor = key_float(keys, "rope.scaling.yarn_ext_factor", -1.0f);
    rope->ext_factor = ext_factor >= 0.0f ? ext_factor : 1.0f;
    rope->attn_factor *= float_or(keys, "rope.scaling.yarn_attn_factor", 1.0f);
    rope->beta_fast = float_or(keys, "rope.scaling.yarn_beta_fast", 32.0f);
    rope->beta_slow = float_or(keys, "rope.scaling.yarn_beta_slow", 1.0f);
    if (factor < 1.0f || log_multiplier < 0.0f || rope->beta_slow < 0.0f ||
        rope->beta_fast < rope->beta_slow)
        keys_fail(keys, "YaRN with factor %g, log multiplier %g and beta %g to %g cannot be meant",
                  (double)factor, (double)log_multiplier, (double)rope->beta_slow,
                  (double)rope->beta_fast);
    else
        rope->attn_factor /= 1.0f + 0.1f * log_multiplier * logf(factor);
}

static void read_rope(struct key_reader *keys, struct hparams *hp)
{
    struct rope_params *rope = &hp->rope;
    struct str type = key_str(keys, "rope.scaling.type");
    float factor = float_or(keys, "rope.scaling.factor", 0.0f);
    bool none = str_equal(type, STR("none"));
    if (factor == 0.0f) /* its older name */
        factor = float_or(keys, "rope.scale_linear", 1.0f);
    rope->n_rot = int_or(keys, "rope.dimension_count", hp->head_dim_k, hp->head_dim_k);
    rope->freq_base = float_or(keys, "rope.freq_base", 10000.0f);
    rope->n_ctx_orig =
        int_or(keys, "rope.scaling.original_context_length", 1 << 30, hp->n_ctx_train);
    rope->attn_factor = float_or(keys, "rope.scaling.attn_factor", 1.0f);
    rope->beta_fast = 32.0f;
    rope->beta_slow = 1.0f;
    if (rope->freq_base <= 0.0f || factor < 1e-6f)
        keys_fail(keys,
                  "the keys \"%s.rope.freq_base\" (%g) and \"%s.rope.scaling.factor\" (%g) must be "
                  "above 0",
                  keys->arch, (double)rope->freq_base, keys->arch, (double)factor);
    else if (rope->n_rot % 2)
        keys_fail(keys, "%d dimensions of a head turn by position, but they turn in pairs",
                  rope->n_rot);
    else if (str_equal(type, STR("yarn")))
        read_yarn(keys, rope, factor);
    else if (type.len && !none && !str_equal(type, STR("linear")))
        keys_lack(keys,
                  "the key \"%s.rope.scaling.type\" is \"%.*s\"; hearth knows none, linear and "
                  "yarn for this architecture",
                  keys->arch, (int)(type.len < 64 ? type.len : 64), type.ptr);
    rope->freq_scale = none || factor < 1e-6f ? 1.0f : 1.0f / factor;
}

static void read_heads(struct key_reader *keys, struct hparams *hp)
{
    int split = hp->n_embd % hp->n_head ? 0 : hp->n_embd / hp->n_head;
    hp->n_head_kv = int_or(keys, "attention.head_count_kv", hp->n_head, hp->n_head);
    hp->head_dim_k = int_or(keys, "attention.key_length", 1 << 14, split);
    hp->head_dim_v = int_or(keys, "attention.value_length", 1 << 14, split);
    if (hp->n_head % hp->n_head_kv)
        keys_fail(keys,
                  "the key \"%s.attention.head_count\" is %d, which is no multiple of the %d of "
                  "\"%s.attention.head_count_kv\"",
                  keys->arch, hp->n_head, hp->n_head_kv, keys->arch);
    if (hp->head_dim_k == 0 || hp->head_dim_v == 0)
        keys_fail(keys, "a width of %d does not divide into %d heads", hp->n_embd, hp->n_head);
    if ((int64_t)hp->n_head * hp->head_dim_k > MODEL_MAX_WIDTH ||
        (int64_t)hp->n_head * hp->head_dim_v > MODEL_MAX_WIDTH)
        keys_lack(keys, "%d heads of %d and %d dimensions are more than hearth can address",
                  hp->n_head, hp->head_dim_k, hp->head_dim_v);
    hp->attention_scale = float_or(keys, "attention.scale", 0.0f);
    if (hp->attention_scale == 0.0f && hp->head_dim_k > 0)
        hp->attention_scale = 1.0f / sqrtf((float)hp->head_dim_k);
}

static void read_experts(struct key_reader *keys, struct hparams *hp)
{
    hp->n_expert = key_int(keys, "expert_count", 0, 4096, 0);
    if (hp->n_expert == 0)
        return;
    hp->n_expert_used = key_int(keys, "expert_used_count", 1, hp->n_expert, -1);
    hp->n_ff_expert = int_or(keys, "expert_feed_forward_length", MODEL_MAX_WIDTH, hp->n_ff);
    hp->router.kind = ROUTER_SOFTMAX;
    hp->router.n_used = hp->n_expert_used;
    hp->router.normalize = true;
    hp->router.scale = float_or(keys, "expert_weights_scale", 1.0f);
    if (hp->n_ff_expert == 0)
        keys_fail(keys,
                  "neither \"%s.expert_feed_forward_length\" nor "
                  "\"%s.feed_forward_length\" says how wide an expert is",
                  keys->arch, keys->arch);
}

/* Files name it after their norms: with the mean taken off, or without. */
static void read_norm(struct key_reader *keys, struct hparams *hp)
{
    const char *suffix = "attention.layer_norm_rms_epsilon",
               *other = "attention.layer_norm_epsilon";
    if (!find(keys, suffix) && find(keys, other))
        suffix = other;
    hp->norm_eps = key_float(keys, suffix, NAN);
    if (hp->norm_eps < 0.0f || hp->norm_eps > 1.0f)
        keys_fail(keys, "the key \"%s.%s\" is %g, but must be between 0 and 1", keys->arch, suffix,
                  (double)hp->norm_eps);
}

void keys_read_common(struct key_reader *keys, struct hparams *hp, bool takes_experts)
{
    hp->n_layer = key_int(keys, "block_count", 1, 1024, -1);
    hp->n_embd = key_int(keys, "embedding_length", 1, MODEL_MAX_WIDTH, -1);
    hp->n_ctx_train = key_int(keys, "context_length", 1, 1 << 30, -1);
    hp->n_head = key_int(keys, "attention.head_count", 1, 1 << 14, -1);
    hp->n_ff = key_int(keys, "feed_forward_length", 0, MODEL_MAX_WIDTH, 0);
    read_norm(keys, hp);
    if (keys->failed)
        return;
    read_heads(keys, hp);
    if (takes_experts)
        read_experts(keys, hp);
    if (hp->n_expert == 0 && hp->n_ff == 0)
        keys_fail(keys, "the key \"%s.feed_forward_length\" is missing", keys->arch);
    if (!keys->failed)
        read_rope(keys, hp);
}
