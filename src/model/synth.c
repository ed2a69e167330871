#include "model/synth_part.h"

#include <stdio.h>

#include "base/mem.h"

enum {
    SLICE_UNITS = 1024, /* units that one thread puts together at a time */
    SLICES = 16,        /* slices per piece that is handed to the writer */
};

struct synth {
    struct synth_params params;
    const struct synth_shape *shape;
    const struct synth_mix *mix;
    struct synth_mix plain; /* what `mix` points to for a plain type */
    struct gguf_writer *writer;
    const struct log *log;
    struct synth_bank *banks;
    size_t n_banks, cap_banks;
};

/* --- bytes ------------------------------------------------------------------------------------ */

static struct synth_bank *find_bank(struct synth *synth, const struct dtype *type, float deviation)
{
    struct synth_bank *grown;
    uint64_t seed;
    for (size_t i = 0; i < synth->n_banks; i++)
        if (synth->banks[i].type == type && synth->banks[i].deviation == deviation)
            return &synth->banks[i];
    grown = mem_grow(synth->banks, &synth->cap_banks, synth->n_banks + 1, sizeof *grown);
    if (!grown)
        return NULL;
    synth->banks = grown;
    seed =
        synth_hash(str_of(type->name), synth->params.seed * 1000003u + (uint64_t)(1 / deviation));
    if (!synth_bank_init(&grown[synth->n_banks], type, deviation, seed, synth->params.pool))
        return NULL;
    return &grown[synth->n_banks++];
}

struct mosaic {
    const struct synth_bank *bank;
    uint64_t seed;     /* of the tensor */
    uint64_t first, n; /* units from the tensor's beginning, and how many */
    char *out;
};

/* A slice's bytes depend on its place in the tensor only. */
static void lay_slice(void *arg, int index, int thread)
{
    const struct mosaic *m = arg;
    const struct synth_bank *bank = m->bank;
    uint64_t from = (uint64_t)index * SLICE_UNITS, to = from + SLICE_UNITS;
    struct rng rng = rng_seed(m->seed + (m->first + from) * 0x9e3779b97f4a7c15u);
    (void)thread;
    if (to > m->n)
        to = m->n;
    for (uint64_t i = from; i < to; i++) {
        size_t unit = rng_below(&rng, (uint32_t)bank->n_units);
        memcpy(m->out + i * bank->unit_bytes, bank->units + unit * bank->unit_bytes,
               bank->unit_bytes);
    }
}

static enum hth_status emit_matrix(struct synth *synth, const struct gguf_tensor *tensor,
                                   float deviation, struct gguf_writer *writer)
{
    const uint64_t piece = (uint64_t)SLICE_UNITS * SLICES;
    const struct synth_bank *bank = find_bank(synth, tensor->dtype, deviation);
    struct mosaic m = {.bank = bank, .seed = synth_hash(tensor->name, synth->params.seed)};
    uint64_t n_units;
    if (bank)
        m.out = mem_alloc((size_t)piece * bank->unit_bytes);
    if (!m.out)
        return log_fail_memory(synth->log, "random weights", tensor->size_bytes);
    n_units = tensor->size_bytes / bank->unit_bytes;
    for (m.first = 0; m.first < n_units; m.first += piece) {
        m.n = n_units - m.first < piece ? n_units - m.first : piece;
        pool_run(synth->params.pool, lay_slice, &m, (int)div_up(m.n, SLICE_UNITS));
        gguf_emit(writer, m.out, (size_t)m.n * bank->unit_bytes);
    }
    mem_free(m.out);
    return HTH_OK;
}

/* Norms: 1 ± 0.1. */
static enum hth_status emit_norm(struct synth *synth, const struct gguf_tensor *tensor,
                                 struct gguf_writer *writer)
{
    struct rng rng = rng_seed(synth_hash(tensor->name, synth->params.seed));
    for (int64_t i = 0; i < tensor->ne[0]; i++) {
        float value = 0.9f + 0.2f * rng_float(&rng);
        gguf_emit(writer, &value, sizeof value);
    }
    return HTH_OK;
}

/* Llama 3.1 stretches slow rotations and leaves fast ones: the divisors of its rope_scaling with
 * low_freq_factor 1, high_freq_factor 4 over 8192 original positions, as Meta's reference code
 * (llama-models, apply_scaling) has them. */
static enum hth_status emit_rope_freqs(const struct synth *synth, const struct gguf_tensor *tensor,
                                       struct gguf_writer *writer)
{
    const double original = 8192, low = 1, high = 4, factor = synth->shape->rope_factor;
    for (int64_t i = 0; i < tensor->ne[0]; i++) {
        double freq = pow(synth->shape->freq_base, -(double)i / (double)tensor->ne[0]);
        double turns = original * freq / 6.283185307179586;
        double smooth = (turns - low) / (high - low);
        double divisor = turns > high  ? 1
                         : turns < low ? factor
                                       : 1 / ((1 - smooth) / factor + smooth);
        float value = (float)divisor;
        gguf_emit(writer, &value, sizeof value);
    }
    return HTH_OK;
}

static enum hth_status emit(void *user, const struct gguf_tensor *tensor,
                            struct gguf_writer *writer)
{
    struct synth *synth = user;
    bool embed = str_equal(tensor->name, STR("token_embd.weight"));
    if (str_equal(tensor->name, STR("rope_freqs.weight")))
        return emit_rope_freqs(synth, tensor, writer);
    if (tensor->n_dims == 1)
        return emit_norm(synth, tensor, writer);
    /* Embeddings alone have no sum behind them: 1, unless they serve as output too. */
    if (embed && !synth->shape->tied)
        return emit_matrix(synth, tensor, 1.0f, writer);
    return emit_matrix(synth, tensor, 1.0f / sqrtf((float)tensor->ne[0]), writer);
}

/* --- keys and tensors ------------------------------------------------------------------------- */

static const char *key(const struct synth_shape *shape, char *buf, size_t size, const char *suffix)
{
    snprintf(buf, size, "%s.%s", shape->arch, suffix);
    return buf;
}

static void put_int(struct synth *synth, const char *suffix, int value)
{
    char buf[96];
    gguf_put_u32(synth->writer, key(synth->shape, buf, sizeof buf, suffix), (uint32_t)value);
}

static void put_float(struct synth *synth, const char *suffix, float value)
{
    char buf[96];
    gguf_put_f32(synth->writer, key(synth->shape, buf, sizeof buf, suffix), value);
}

static void put_keys(struct synth *synth)
{
    const struct synth_shape *shape = synth->shape;
    char name[96];
    snprintf(name, sizeof name, "synth %s %s", shape->name, synth->mix->name);
    gguf_put_str(synth->writer, "general.architecture", str_of(shape->arch));
    gguf_put_str(synth->writer, "general.name", str_of(name));
    if (synth->mix->file_type >= 0)
        gguf_put_u32(synth->writer, "general.file_type", (uint32_t)synth->mix->file_type);
    gguf_put_u32(synth->writer, "general.quantization_version", 2);
    put_int(synth, "vocab_size", shape->n_vocab);
    put_int(synth, "context_length", shape->n_ctx);
    put_int(synth, "embedding_length", shape->n_embd);
    put_int(synth, "block_count", shape->n_layer);
    put_int(synth, "feed_forward_length", shape->n_ff);
    put_int(synth, "attention.head_count", shape->n_head);
    put_int(synth, "attention.head_count_kv", shape->n_head_kv);
    put_int(synth, "attention.key_length", shape->head_dim);
    put_int(synth, "attention.value_length", shape->head_dim);
    put_float(synth, "attention.layer_norm_rms_epsilon", shape->norm_eps);
    put_int(synth, "rope.dimension_count", shape->head_dim);
    put_float(synth, "rope.freq_base", shape->freq_base);
    if (shape->n_expert) {
        put_int(synth, "expert_count", shape->n_expert);
        put_int(synth, "expert_used_count", shape->n_expert_used);
    }
    if (shape->n_ff_expert)
        put_int(synth, "expert_feed_forward_length", shape->n_ff_expert);
}

static void put_vector(struct synth *synth, int layer, const char *name, int n)
{
    int64_t ne[1] = {n};
    char buf[96];
    if (layer >= 0)
        snprintf(buf, sizeof buf, "blk.%d.%s", layer, name);
    else
        snprintf(buf, sizeof buf, "%s", name);
    gguf_put_tensor(synth->writer, buf, &dtype_f32, 1, ne, NULL, emit, synth);
}

/* A matrix of rows × cols, `shape->n_expert` times if the name ends so. */
static void put_matrix(struct synth *synth, int layer, const char *name, enum synth_role role,
                       const int64_t size[2])
{
    bool experts = str_ends_with(str_of(name), STR("_exps.weight"));
    int64_t ne[3] = {size[0], size[1], experts ? synth->shape->n_expert : 1};
    const struct dtype *type = synth_mix_type(synth->mix, synth->shape, role, layer, size[0]);
    char buf[96];
    if (layer >= 0)
        snprintf(buf, sizeof buf, "blk.%d.%s", layer, name);
    else
        snprintf(buf, sizeof buf, "%s", name);
    gguf_put_tensor(synth->writer, buf, type, experts ? 3 : 2, ne, NULL, emit, synth);
}

static void put_ffn(struct synth *synth, int i)
{
    const struct synth_shape *s = synth->shape;
    int n_ff = s->n_ff_expert ? s->n_ff_expert : s->n_ff;
    int64_t in[2] = {s->n_embd, n_ff}, out[2] = {n_ff, s->n_embd};
    put_vector(synth, i, "ffn_norm.weight", s->n_embd);
    if (s->n_expert == 0) {
        put_matrix(synth, i, "ffn_gate.weight", ROLE_FFN_IN, in);
        put_matrix(synth, i, "ffn_up.weight", ROLE_FFN_IN, in);
        put_matrix(synth, i, "ffn_down.weight", ROLE_FFN_DOWN, out);
        return;
    }
    int64_t router[2] = {s->n_embd, s->n_expert};
    char name[96];
    snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.weight", i);
    gguf_put_tensor(synth->writer, name, &dtype_f32, 2, router, NULL, emit, synth);
    put_matrix(synth, i, "ffn_gate_exps.weight", ROLE_FFN_IN, in);
    put_matrix(synth, i, "ffn_up_exps.weight", ROLE_FFN_IN, in);
    put_matrix(synth, i, "ffn_down_exps.weight", ROLE_FFN_DOWN, out);
}

static void put_tensors(struct synth *synth)
{
    const struct synth_shape *s = synth->shape;
    const int64_t table[2] = {s->n_embd, s->n_vocab};
    const int64_t q[2] = {s->n_embd, (int64_t)s->n_head * s->head_dim}, o[2] = {q[1], q[0]};
    const int64_t kv[2] = {s->n_embd, (int64_t)s->n_head_kv * s->head_dim};
    put_matrix(synth, -1, "token_embd.weight", s->tied ? ROLE_OUTPUT : ROLE_EMBED, table);
    if (s->rope_factor > 0)
        put_vector(synth, -1, "rope_freqs.weight", s->head_dim / 2);
    for (int i = 0; i < s->n_layer; i++) {
        put_vector(synth, i, "attn_norm.weight", s->n_embd);
        put_matrix(synth, i, "attn_q.weight", ROLE_ATTN_Q, q);
        put_matrix(synth, i, "attn_k.weight", ROLE_ATTN_K, kv);
        put_matrix(synth, i, "attn_v.weight", ROLE_ATTN_V, kv);
        if (s->qk_norm) {
            put_vector(synth, i, "attn_q_norm.weight", s->head_dim);
            put_vector(synth, i, "attn_k_norm.weight", s->head_dim);
        }
        put_matrix(synth, i, "attn_output.weight", ROLE_ATTN_OUT, o);
        put_ffn(synth, i);
    }
    put_vector(synth, -1, "output_norm.weight", s->n_embd);
    if (!s->tied)
        put_matrix(synth, -1, "output.weight", ROLE_OUTPUT, table);
}

/* --- ---------------------------------------------------------------------------------------------
 */

static enum hth_status fail_unknown(const struct synth *synth, const char *what, const char *name)
{
    struct strbuf known = {0};
    enum hth_status status;
    if (strcmp(what, "shape") == 0) {
        for (size_t i = 0; synth_shape_at(i); i++)
            strbuf_printf(&known, "%s%s", i ? ", " : "", synth_shape_at(i));
    } else {
        for (size_t i = 0; dtype_at(i); i++)
            if (!dtype_at(i)->is_integer && dtype_at(i)->encode)
                strbuf_printf(&known, "%s%s", known.len ? ", " : "", dtype_at(i)->name);
        for (size_t i = 0; synth_mix_at(i); i++)
            strbuf_printf(&known, ", %s", synth_mix_at(i));
    }
    status = log_fail(synth->log, HTH_ERROR_ARGUMENT,
                      "hearth cannot make a model with the %s \"%s\"; it can with %s", what,
                      name ? name : "", known.ptr ? known.ptr : "none");
    strbuf_free(&known);
    return status;
}

static enum hth_status describe(struct synth *synth)
{
    struct arena arena = {0};
    enum hth_status status;
    synth->shape = synth_shape_find(str_of(synth->params.shape));
    if (!synth->shape)
        return fail_unknown(synth, "shape", synth->params.shape);
    synth->mix = synth_mix_find(str_of(synth->params.quant), &synth->plain);
    if (!synth->mix)
        return fail_unknown(synth, "type", synth->params.quant);
    status = gguf_writer_create(&synth->writer, synth->log);
    if (status)
        return status;
    put_keys(synth);
    if (!synth->params.no_vocabulary && !synth_put_vocab(synth->writer, synth->shape, &arena))
        status = log_fail_memory(synth->log, "a vocabulary", (unsigned)synth->shape->n_vocab);
    arena_free(&arena);
    if (!status)
        put_tensors(synth);
    return status;
}

enum hth_status synth_create(struct synth **out, const struct synth_params *params,
                             const struct log *log)
{
    struct synth *synth = mem_calloc(1, sizeof *synth);
    enum hth_status status;
    *out = NULL;
    if (!synth)
        return log_fail_memory(log, "a made model", sizeof *synth);
    synth->params = *params;
    synth->log = log;
    status = describe(synth);
    if (status) {
        synth_destroy(synth);
        return status;
    }
    *out = synth;
    return HTH_OK;
}

void synth_destroy(struct synth *synth)
{
    if (!synth)
        return;
    for (size_t i = 0; i < synth->n_banks; i++)
        synth_bank_free(&synth->banks[i]);
    mem_free(synth->banks);
    gguf_writer_destroy(synth->writer);
    mem_free(synth);
}

struct gguf_writer *synth_writer(struct synth *synth)
{
    return synth->writer;
}
