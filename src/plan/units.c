#include "plan/units.h"

#include <stdio.h>

#include "base/mem.h"

static const char *const kind_names[] = {"attention",     "kv",      "ffn",
                                         "shared_expert", "experts", "output"};

const char *unit_kind_name(enum unit_kind kind)
{
    return kind_names[kind];
}

const char *unit_name(const struct unit *unit, char *out, size_t size)
{
    if (unit->kind == UNIT_HEAD)
        snprintf(out, size, "%s", kind_names[UNIT_HEAD]);
    else
        snprintf(out, size, "blk.%d.%s", unit->layer, kind_names[unit->kind]);
    return out;
}

/* Which unit a weight of a layer belongs to. The router goes with attention: where the experts are
 * is asked before any of them computes. */
static enum unit_kind kind_of(const char *name, bool moe)
{
    if (strstr(name, "_exps"))
        return UNIT_EXPERTS;
    if (strstr(name, "_shexp"))
        return UNIT_SHARED;
    return strstr(name, ".ffn_") && !moe ? UNIT_FFN : UNIT_ATTENTION;
}

/* The unit of a kind in a layer, appended if it is the first of its kind there. */
static int find_unit(struct units *units, enum unit_kind kind, int layer)
{
    for (int i = units->layer_first[layer]; i < units->n_units; i++)
        if (units->items[i].kind == kind)
            return i;
    units->items[units->n_units] = (struct unit){
        .kind = kind, .layer = layer, .n = 1, .n_used = 1, .allowed = (unsigned)ALLOW_ALL};
    return units->n_units++;
}

enum { PLACE_ALIGN = 256 }; /* of a weight in a chunk of device memory */

static struct unit_share *find_share(const struct units *units, const struct unit *unit,
                                     const struct dtype *dtype)
{
    for (int i = unit->shares; i; i = units->shares[i].next)
        if (units->shares[i].dtype == dtype)
            return &units->shares[i];
    return NULL;
}

/* The share of a format in a unit, added if there was none. */
static struct unit_share *share_of(struct units *units, struct unit *unit,
                                   const struct dtype *dtype)
{
    struct unit_share *share = find_share(units, unit, dtype);
    if (share)
        return share;
    share = &units->shares[++units->n_shares];
    *share = (struct unit_share){.dtype = dtype, .next = unit->shares};
    unit->shares = units->n_shares;
    return share;
}

/* Products of one input are one dispatch: queries with keys and values, gate with up, the later
 * named after the earlier. Formats that differ part them on a GPU. */
static bool joins(const struct weight *before, const struct weight *weight)
{
    static const char *const joined[][2] = {{".attn_q.", ".attn_k."},
                                            {".attn_k.", ".attn_v."},
                                            {".ffn_gate.", ".ffn_up."},
                                            {".ffn_gate_exps.", ".ffn_up_exps."},
                                            {".ffn_gate_shexp.", ".ffn_up_shexp."}};
    for (size_t i = 0; before && i < ARRAY_LEN(joined); i++)
        if (strstr(before->name, joined[i][0]) && strstr(weight->name, joined[i][1]))
            return true;
    return false;
}

/* After its product, experts are chosen. */
static bool is_router(const struct weight *weight)
{
    return strstr(weight->name, ".ffn_gate_inp.") != NULL;
}

/* Norms, sums with what came before, and sums of experts, which the CPU computes one by one. */
static int count_cpu_ops(const struct weight *weight)
{
    if (weight->ne[1] * weight->ne[2] == 1)
        return strstr(weight->name, "norm.weight") != NULL;
    bool ends_block = strstr(weight->name, ".attn_output.") || strstr(weight->name, ".ffn_down");
    return ends_block + (strstr(weight->name, ".ffn_down_exps.") != NULL);
}

/* `before`: the matrix before it in a pass, or NULL. */
static void add_weight(struct units *units, int index, const struct weight *before,
                       const struct weight *weight, const struct hparams *hp)
{
    struct unit *unit = &units->items[index];
    int64_t rows = weight->ne[1] * weight->ne[2];
    uint64_t n = 1, bytes = weight->size_bytes;
    if (unit->kind == UNIT_EXPERTS) {
        unit->n = hp->n_expert;
        unit->n_used = hp->n_expert_used;
        n = (uint64_t)hp->n_expert;
    }
    bytes = align_up(bytes / n, PLACE_ALIGN);
    unit->bytes += bytes;
    unit->n_copies++;
    unit->n_cpu_ops += count_cpu_ops(weight);
    if (rows > 1) { /* norms and biases are fused with products */
        bool joined = joins(before, weight), one = joined && before->dtype == weight->dtype;
        unit->n_ops += !one + is_router(weight);
        unit->n_cpu_ops -= joined && !one;
        struct unit_share *share = share_of(units, unit, weight->dtype);
        double elems = (double)(weight->ne[0] * rows) / (double)n;
        unit->elems += elems;
        share->elems += elems;
        share->bytes += (double)bytes;
    }
    if (unit->kind != UNIT_HEAD && bytes > units->largest_bytes)
        units->largest_bytes = bytes;
    uint64_t stack = n * (bytes + PLACE_ALIGN) + PLACE_ALIGN + 4 * n; /* with a table of them */
    if (unit->kind != UNIT_HEAD && stack > units->largest_stack_bytes)
        units->largest_stack_bytes = stack;
    units->unit_of_weight[weight->index] = index;
}

/* Weights come in the order of a pass; *at goes on from layer to layer. */
static void cut_layer(struct units *units, const struct model *model, int layer, size_t *at)
{
    const struct hparams *hp = &model->hp;
    enum { ATTENTION_OPS = 2, COPIES = 3 }; /* rotation with the cache's write, attention */
    enum { CPU_OPS = 2 }; /* queries and keys are rotated apart, and then written */
    const struct weight *before = NULL;
    units->layer_first[layer] = units->n_units;
    find_unit(units, UNIT_ATTENTION, layer);
    struct unit *kv = &units->items[find_unit(units, UNIT_KV, layer)];
    kv->bytes = units->kv_bytes_per_position * align_up((uint64_t)units->n_ctx, KV_PAGE) *
                (uint64_t)units->n_seqs;
    kv->n_ops = ATTENTION_OPS;
    kv->n_cpu_ops = CPU_OPS;
    kv->n_copies = COPIES;
    for (; *at < model->n_weights && model_layer_of(model->weights[*at]->name) <= layer; (*at)++) {
        const struct weight *weight = model->weights[*at];
        if (model_layer_of(weight->name) != layer)
            continue;
        add_weight(units, find_unit(units, kind_of(weight->name, hp->n_expert > 0), layer), before,
                   weight, hp);
        before = weight->ne[1] > 1 ? weight : before;
    }
}

static void cut_head(struct units *units, const struct model *model)
{
    units->layer_first[units->n_layers] = units->n_units;
    int head = find_unit(units, UNIT_HEAD, units->n_layers);
    const struct weight *of_head[] = {model->output_norm, model->output, model->output_bias};
    units->host_bytes = model->token_embd->size_bytes;
    for (size_t i = 0; i < ARRAY_LEN(of_head); i++)
        if (of_head[i])
            add_weight(units, head, NULL, of_head[i], &model->hp);
    if (model->output == model->token_embd) /* one table for both: the host's copy stays */
        units->unit_of_weight[model->token_embd->index] = head;
    units->layer_first[units->n_layers + 1] = units->n_units;
}

enum hth_status units_create(struct units *out, const struct model *model, int n_ctx, int n_seqs,
                             const struct kv_geom *kv, uint64_t kv_page_bytes)
{
    const struct hparams *hp = &model->hp;
    size_t n_layers = (size_t)hp->n_layer;
    *out = (struct units){.n_layers = hp->n_layer,
                          .n_weights = model->n_weights,
                          .n_embd = hp->n_embd,
                          .n_ctx = n_ctx,
                          .n_seqs = n_seqs,
                          .n_ctx_train = hp->n_ctx_train,
                          .n_vocab = hp->n_vocab};
    out->items = arena_calloc(&out->arena, n_layers * UNITS_PER_LAYER + 1, sizeof *out->items);
    out->layer_first = arena_calloc(&out->arena, n_layers + 2, sizeof *out->layer_first);
    out->unit_of_weight = arena_calloc(&out->arena, model->n_weights, sizeof *out->unit_of_weight);
    out->shares = arena_calloc(&out->arena, model->n_weights + 1, sizeof *out->shares);
    if (!out->items || !out->layer_first || !out->unit_of_weight || !out->shares) {
        units_free(out);
        return log_fail_memory(model->log, "the list of units", n_layers * sizeof *out->items);
    }
    for (size_t i = 0; i < model->n_weights; i++)
        out->unit_of_weight[i] = -1;
    int q = hp->n_head * hp->head_dim_k, v = hp->n_head * hp->head_dim_v;
    int ff = hp->n_expert ? hp->n_ff_expert * hp->n_expert_used : hp->n_ff;
    out->attn_flop = 2.0 * (q + v);
    out->kv_bytes_per_position = kv_page_bytes / KV_PAGE / n_layers;
    out->cache = (struct cache_shape){*kv, hp->n_head};
    machine_cache_name(&out->cache, out->cache_name);
    out->token_bytes = sizeof(float) * (4ull * (unsigned)hp->n_embd + 2ull * (unsigned)(q + v) +
                                        3ull * (unsigned)ff);
    size_t at = 0;
    for (int i = 0; i < hp->n_layer; i++)
        cut_layer(out, model, i, &at);
    cut_head(out, model);
    return HTH_OK;
}

static double minus(double a, double b)
{
    return a > b ? a - b : 0;
}

void units_take_out(struct units *units, int index, const struct weight *weight)
{
    struct unit *unit = &units->items[index];
    struct unit_share *share = find_share(units, unit, weight->dtype);
    uint64_t bytes = weight->size_bytes < unit->bytes ? weight->size_bytes : unit->bytes;
    double elems = (double)(weight->ne[0] * weight->ne[1]);
    unit->bytes -= bytes;
    unit->elems = minus(unit->elems, elems);
    if (share) {
        share->bytes = minus(share->bytes, (double)bytes);
        share->elems = minus(share->elems, elems);
    }
}

/* Has b all that a has of each format? */
static bool has_shares(const struct units *units, const struct unit *a, const struct unit *b)
{
    for (int i = a->shares; i; i = units->shares[i].next) {
        const struct unit_share *other = find_share(units, b, units->shares[i].dtype);
        if (!other || other->bytes != units->shares[i].bytes)
            return false;
    }
    return true;
}

bool units_alike(const struct units *units, const struct unit *a, const struct unit *b)
{
    return has_shares(units, a, b) && has_shares(units, b, a);
}

void units_free(struct units *units)
{
    arena_free(&units->arena);
    *units = (struct units){0};
}

uint64_t units_weight_bytes(const struct units *units)
{
    uint64_t bytes = 0;
    for (int i = 0; i < units->n_units; i++)
        if (units->items[i].kind != UNIT_KV)
            bytes += units->items[i].bytes * (uint64_t)units->items[i].n;
    return bytes;
}

uint64_t units_kv_bytes(const struct units *units)
{
    uint64_t bytes = 0;
    for (int i = 0; i < units->n_units; i++)
        if (units->items[i].kind == UNIT_KV)
            bytes += units->items[i].bytes;
    return bytes;
}
