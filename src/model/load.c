#include <stdio.h>

#include "model/load.h"
#include "base/mem.h"

struct loader {
    struct model *model;
    const struct gguf *gguf;
    const struct log *log;
    size_t n_bound; /* tensors of the file that found their place */
};

/* The widths that weights' shapes are written in; 1 where there is no such dimension. */
static int64_t dim_value(const struct hparams *hp, enum dim dim)
{
    switch (dim) {
    case DIM_NONE: return 1;
    case DIM_EMBD: return hp->n_embd;
    case DIM_VOCAB: return hp->n_vocab;
    case DIM_Q: return (int64_t)hp->n_head * hp->head_dim_k;
    case DIM_K: return (int64_t)hp->n_head_kv * hp->head_dim_k;
    case DIM_V: return (int64_t)hp->n_head_kv * hp->head_dim_v;
    case DIM_O: return (int64_t)hp->n_head * hp->head_dim_v;
    case DIM_HEAD_K: return hp->head_dim_k;
    case DIM_FF: return hp->n_ff;
    case DIM_FF_EXPERT: return hp->n_ff_expert;
    case DIM_EXPERT: return hp->n_expert;
    case DIM_ROT_HALF: return hp->rope.n_rot / 2;
    }
    return 1;
}

/* A weight's name in one layer: the first "%d" of the pattern is the layer. */
static void layer_name(char *out, size_t size, const char *pattern, int layer)
{
    const char *mark = strstr(pattern, "%d");
    if (mark)
        snprintf(out, size, "%.*s%d%s", (int)(mark - pattern), pattern, layer, mark + 2);
    else
        snprintf(out, size, "%s", pattern);
}

/* "blk.3.ffn_gate_exps.weight" → "blk.3.ffn_gate.7.weight". False if the name has no "_exps". */
static bool expert_name(char *out, size_t size, const char *name, int expert)
{
    const char *mark = strstr(name, "_exps");
    if (!mark)
        return false;
    snprintf(out, size, "%.*s.%d%s", (int)(mark - name), name, expert, mark + 5);
    return true;
}

static const char *file(const struct loader *loader)
{
    return gguf_path(loader->gguf);
}

/* `ne`: the shape that is needed, of `n` dimensions; a tensor's others must be 1. */
static enum hth_status check_tensor(const struct loader *loader, const struct gguf_tensor *tensor,
                                    const int64_t *ne, bool vector)
{
    const struct dtype *type = tensor->dtype;
    int len = (int)(tensor->name.len < 96 ? tensor->name.len : 96);
    for (int i = 0; i < 4; i++) {
        int64_t need = i < 3 ? ne[i] : 1;
        if (tensor->ne[i] != need)
            return log_fail(loader->log, HTH_ERROR_FORMAT,
                            "%s: the tensor \"%.*s\" is %lld x %lld x %lld x %lld, but the file's "
                            "keys ask for %lld x %lld x %lld x 1; convert or download the model "
                            "again",
                            file(loader), len, tensor->name.ptr, (long long)tensor->ne[0],
                            (long long)tensor->ne[1], (long long)tensor->ne[2],
                            (long long)tensor->ne[3], (long long)ne[0], (long long)ne[1],
                            (long long)ne[2]);
    }
    if (type->is_integer || !type->decode || (vector && dtype_is_block(type)))
        return log_fail(loader->log, HTH_ERROR_UNSUPPORTED,
                        "%s: the tensor \"%.*s\" has the type %s, with which hearth cannot "
                        "compute there; use a file in another format",
                        file(loader), len, tensor->name.ptr, type->name);
    if (ne[0] % type->block_elems)
        return log_fail(loader->log, HTH_ERROR_FORMAT,
                        "%s: the rows of the tensor \"%.*s\" have %lld elements, no multiple of "
                        "the %u in a block of %s; convert or download the model again",
                        file(loader), len, tensor->name.ptr, (long long)ne[0], type->block_elems,
                        type->name);
    return HTH_OK;
}

static enum hth_status fail_memory(const struct loader *loader)
{
    return log_fail_memory(loader->log, "the list of weights", sizeof(struct weight));
}

/* Appends a weight that looks like `tensor` to the model's list. */
static enum hth_status add_weight(struct loader *loader, const char *name,
                                  const struct gguf_tensor *tensor, struct weight **out)
{
    struct model *model = loader->model;
    struct weight *weight = arena_calloc(&model->arena, 1, sizeof *weight);
    struct weight **grown =
        mem_grow(model->weights, &model->cap_weights, model->n_weights + 1, sizeof *model->weights);
    if (grown)
        model->weights = grown;
    if (!weight || !grown)
        return fail_memory(loader);
    weight->name = arena_strdup(&model->arena, name);
    if (!weight->name)
        return fail_memory(loader);
    weight->dtype = tensor->dtype;
    memcpy(weight->ne, tensor->ne, sizeof weight->ne);
    weight->data = tensor->data;
    weight->size_bytes = tensor->size_bytes;
    weight->index = (int)model->n_weights;
    model->weights[model->n_weights++] = weight;
    *out = weight;
    return HTH_OK;
}

/* Norms and biases are read element by element, so that all are kept as aligned F32. */
static enum hth_status widen_vector(struct loader *loader, struct weight *weight)
{
    size_t n = (size_t)weight->ne[0];
    float *values;
    if (!weight->data ||
        (weight->dtype == &dtype_f32 && (uintptr_t)weight->data % sizeof(float) == 0))
        return HTH_OK; /* no bytes: a file's directory alone */
    values = arena_calloc(&loader->model->arena, n, sizeof *values);
    if (!values)
        return log_fail_memory(loader->log, weight->name, n * sizeof *values);
    weight->dtype->decode(weight->data, values, n);
    weight->dtype = &dtype_f32;
    weight->data = values;
    weight->size_bytes = n * sizeof *values;
    return HTH_OK;
}

/* One tensor per expert, as files of early 2024 have them. *out stays NULL if there is none. */
static enum hth_status bind_apart(struct loader *loader, const char *name, const int64_t ne[3],
                                  struct weight **out)
{
    const struct gguf_tensor *first = NULL;
    int64_t one[3] = {ne[0], ne[1], 1};
    const void **experts = NULL;
    char expert[128];
    for (int e = 0; e < (int)ne[2]; e++) {
        const struct gguf_tensor *tensor = NULL;
        enum hth_status status;
        if (expert_name(expert, sizeof expert, name, e))
            tensor = gguf_tensor_find(loader->gguf, expert);
        if (!tensor && e == 0)
            return HTH_OK;
        if (!tensor)
            return log_fail(loader->log, HTH_ERROR_FORMAT,
                            "%s: the tensor \"%s\" is missing; download the file again",
                            file(loader), expert);
        status = check_tensor(loader, tensor, one, false);
        if (status)
            return status;
        if (e == 0) {
            first = tensor;
            experts = arena_calloc(&loader->model->arena, (size_t)ne[2], sizeof *experts);
            if (!experts)
                return fail_memory(loader);
        }
        if (tensor->dtype != first->dtype)
            return log_fail(loader->log, HTH_ERROR_UNSUPPORTED,
                            "%s: the tensor \"%s\" has the type %s, but the first expert's is %s; "
                            "hearth needs one type for all experts of a layer",
                            file(loader), expert, tensor->dtype->name, first->dtype->name);
        experts[e] = tensor->data;
        loader->n_bound++;
    }
    enum hth_status status = add_weight(loader, name, first, out);
    if (status)
        return status;
    (*out)->ne[2] = ne[2];
    (*out)->size_bytes *= (uint64_t)ne[2];
    (*out)->experts = experts;
    return HTH_OK;
}

/* Finds one weight of the table and sets its pointer in the model or the layer at `base`. */
static enum hth_status bind(struct loader *loader, const struct weight_spec *spec, int layer,
                            void *base)
{
    const struct hparams *hp = &loader->model->hp;
    const struct gguf_tensor *tensor;
    struct weight *weight = NULL;
    enum hth_status status = HTH_OK;
    int64_t ne[3];
    char name[128];
    if ((spec->flags & WEIGHT_IF_MOE && hp->n_expert == 0) ||
        (spec->flags & WEIGHT_IF_DENSE && hp->n_expert > 0))
        return HTH_OK;
    for (int i = 0; i < 3; i++)
        ne[i] = dim_value(hp, spec->ne[i]);
    layer_name(name, sizeof name, spec->name, layer);
    tensor = gguf_tensor_find(loader->gguf, name);
    if (tensor) {
        status = check_tensor(loader, tensor, ne, spec->flags & WEIGHT_VECTOR);
        if (!status)
            status = add_weight(loader, name, tensor, &weight);
        if (!status && spec->flags & WEIGHT_VECTOR)
            status = widen_vector(loader, weight);
        loader->n_bound++;
    } else if (spec->flags & WEIGHT_EXPERTS_APART) {
        status = bind_apart(loader, name, ne, &weight);
    }
    if (status)
        return status;
    if (!weight && !(spec->flags & WEIGHT_OPTIONAL))
        return log_fail(loader->log, HTH_ERROR_FORMAT,
                        "%s: the tensor \"%s\" is missing, without which a model of the "
                        "architecture \"%s\" cannot run; convert or download the model again",
                        file(loader), name, loader->model->arch->name);
    memcpy((char *)base + spec->offset, &weight, sizeof weight);
    return HTH_OK;
}

static bool takes_experts(const struct arch *arch)
{
    for (size_t i = 0; i < arch->n_weights; i++)
        if (arch->weights[i].flags & WEIGHT_IF_MOE)
            return true;
    return false;
}

static bool is_per_layer(const struct weight_spec *spec)
{
    return strstr(spec->name, "%d") != NULL;
}

/* In the order in which a pass uses them: the table has the model's first, then a layer's, then the
 * rest of the model's. */
static enum hth_status bind_all(struct loader *loader)
{
    struct model *model = loader->model;
    const struct arch *arch = model->arch;
    enum hth_status status = HTH_OK;
    size_t first = 0, last;
    while (first < arch->n_weights && !is_per_layer(&arch->weights[first]))
        first++;
    for (last = first; last < arch->n_weights && is_per_layer(&arch->weights[last]);)
        last++;
    for (size_t i = 0; i < first && !status; i++)
        status = bind(loader, &arch->weights[i], -1, model);
    for (int layer = 0; layer < model->hp.n_layer; layer++)
        for (size_t i = first; i < last && !status; i++)
            status = bind(loader, &arch->weights[i], layer, &model->layers[layer]);
    for (size_t i = last; i < arch->n_weights && !status; i++)
        status = bind(loader, &arch->weights[i], -1, model);
    if (!status && !model->output)
        model->output = model->token_embd;
    return status;
}

/* The tokenizer's list may be longer, shorter or absent: what counts is how many rows there are. */
static enum hth_status read_vocab(struct loader *loader)
{
    const struct gguf_tensor *table = gguf_tensor_find(loader->gguf, "token_embd.weight");
    if (!table)
        return log_fail(loader->log, HTH_ERROR_FORMAT,
                        "%s: the tensor \"token_embd.weight\" is missing; this is no whole "
                        "language model; name one that is",
                        file(loader));
    if (table->ne[1] < 1 || table->ne[1] > MODEL_MAX_WIDTH)
        return log_fail(loader->log, HTH_ERROR_FORMAT,
                        "%s: the tensor \"token_embd.weight\" has %lld rows; hearth takes 1 to %d",
                        file(loader), (long long)table->ne[1], MODEL_MAX_WIDTH);
    loader->model->hp.n_vocab = (int)table->ne[1];
    return HTH_OK;
}

static enum hth_status fail_unknown(const struct loader *loader, struct str name)
{
    struct strbuf known = {0};
    enum hth_status status;
    for (size_t i = 0; arch_list[i]; i++)
        strbuf_printf(&known, "%s%s", i ? ", " : "", arch_list[i]->name);
    status = log_fail(loader->log, known.failed ? HTH_ERROR_MEMORY : HTH_ERROR_UNSUPPORTED,
                      "%s: hearth does not know the architecture \"%.*s\"; it knows %s: use such a "
                      "model, or a newer hearth",
                      file(loader), (int)(name.len < 64 ? name.len : 64), name.ptr ? name.ptr : "",
                      known.ptr ? known.ptr : "none");
    strbuf_free(&known);
    return status;
}

static enum hth_status find_arch(struct loader *loader)
{
    const struct gguf_key *key = gguf_key_find(loader->gguf, "general.architecture");
    struct str name;
    if (!key || !gguf_get_str(key, &name))
        return log_fail(loader->log, HTH_ERROR_FORMAT,
                        "%s: the key \"general.architecture\" is missing or no string, so that it "
                        "cannot be known how to run the model; convert or download it again",
                        file(loader));
    for (size_t i = 0; arch_list[i]; i++) {
        if (str_equal(str_of(arch_list[i]->name), name)) {
            loader->model->arch = arch_list[i];
            return HTH_OK;
        }
    }
    return fail_unknown(loader, name);
}

static enum hth_status load(struct loader *loader)
{
    struct model *model = loader->model;
    struct key_reader keys = {.gguf = loader->gguf, .log = loader->log};
    enum hth_status status = find_arch(loader);
    if (status)
        return status;
    keys.arch = model->arch->name;
    keys_read_common(&keys, &model->hp, takes_experts(model->arch));
    if (!keys.failed && model->arch->read_keys)
        model->arch->read_keys(&keys, &model->hp);
    if (keys.failed)
        return HTH_ERROR_FORMAT;
    model->layers = arena_calloc(&model->arena, (size_t)model->hp.n_layer, sizeof *model->layers);
    if (!model->layers)
        return log_fail_memory(loader->log, "the list of layers",
                               (unsigned long long)model->hp.n_layer * sizeof *model->layers);
    status = read_vocab(loader);
    if (!status)
        status = bind_all(loader);
    if (!status && loader->n_bound < gguf_n_tensors(loader->gguf))
        log_debug(loader->log, "%s: %zu of %zu tensors are not used", file(loader),
                  gguf_n_tensors(loader->gguf) - loader->n_bound, gguf_n_tensors(loader->gguf));
    return status;
}

enum hth_status model_load(struct model **out, const struct gguf *gguf, const struct log *log)
{
    struct loader loader = {.gguf = gguf, .log = log};
    enum hth_status status;
    *out = NULL;
    loader.model = mem_calloc(1, sizeof *loader.model);
    if (!loader.model)
        return log_fail_memory(log, "a model", sizeof *loader.model);
    loader.model->gguf = gguf;
    loader.model->log = log;
    status = load(&loader);
    if (status) {
        model_free(loader.model);
        return status;
    }
    *out = loader.model;
    return HTH_OK;
}
