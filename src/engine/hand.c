#include "engine/hand.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/mem.h"
#include "engine/split.h"

enum { HOST_BIT = 1 };

static unsigned gpu_mask(const struct machine *machine)
{
    return (1u << machine->n_devices) - 2;
}

/* --- what is said ----------------------------------------------------------------------------- */

struct reader {
    struct hand *hand;
    const struct model *model;
    const struct machine *machine;
    const struct hth_model_options *options;
    const struct log *log;
};

static uint8_t *expert_of(const struct hand *hand, uint8_t *list, int layer, int expert)
{
    return &list[(size_t)layer * (size_t)hand->n_expert + (size_t)expert];
}

/* By the numbers of layers: the last ones go to the GPU, and the output after all of them. */
static unsigned by_layers(const struct reader *r, int layer, bool experts)
{
    const struct hth_model_options *o = r->options;
    int n_layer = r->model->hp.n_layer;
    if (o->gpu_layers < 0 || (experts && (o->cpu_moe || layer < o->n_cpu_moe)))
        return HOST_BIT;
    if (o->gpu_layers == 0)
        return 0;
    bool on_gpu = o->gpu_layers > n_layer || layer >= n_layer - o->gpu_layers;
    return on_gpu ? gpu_mask(r->machine) : HOST_BIT;
}

/* An expert moves with all its matrices: the CPU if it is said of one, else where it is said. */
static void say_of_expert(const struct reader *r, int layer, int expert, unsigned mask)
{
    uint8_t *said = expert_of(r->hand, r->hand->of_expert, layer, expert);
    if (mask && *said != HOST_BIT)
        *said = (uint8_t)mask;
}

/* What comes before the numbers is said of `weight`; 0: nothing. */
static unsigned asked(const struct reader *r, const struct weight *weight, int expert,
                      unsigned by_pattern)
{
    const struct hth_model_options *o = r->options;
    int place = o->place ? o->place(o->place_user, weight->name, expert) : -1;
    if (place == 0 || (place > 0 && gpu_mask(r->machine) == 0))
        return HOST_BIT;
    if (place > 0)
        return place < r->machine->n_devices ? 1u << place : gpu_mask(r->machine);
    return by_pattern ? by_pattern
                      : by_layers(r, model_layer_of(weight->name), split_is_experts(weight));
}

/* Patterns stand in of_weight already. */
static void say_all(const struct reader *r)
{
    struct hand *hand = r->hand;
    for (int layer = 0; layer < r->model->hp.n_layer; layer++)
        hand->of_cache[layer] = (uint8_t)by_layers(r, layer, false);
    for (size_t i = 0; i < r->model->n_weights; i++) {
        const struct weight *weight = r->model->weights[i];
        int layer = model_layer_of(weight->name);
        if (!split_is_experts(weight) || layer < 0 || layer >= r->model->hp.n_layer) {
            hand->of_weight[i] = (uint8_t)asked(r, weight, -1, hand->of_weight[i]);
            continue;
        }
        for (int e = 0; e < hand->n_expert; e++)
            say_of_expert(r, layer, e, asked(r, weight, e, hand->of_weight[i]));
    }
}

/* --- patterns --------------------------------------------------------------------------------- */

/* Devices that "cpu", "vulkan" or "vulkan:N" means; 0: none. */
static unsigned device_mask(const struct machine *machine, const char *name)
{
    if (strcmp(name, "cpu") == 0)
        return HOST_BIT;
    if (strcmp(name, "vulkan") == 0)
        return gpu_mask(machine);
    unsigned mask = 0; /* one that stands in for several has them all */
    for (int d = 1; d < machine->n_devices; d++) {
        char own[24];
        if (strcmp(name, machine_device_name(machine, d, own)) == 0)
            mask |= 1u << d;
    }
    return mask;
}

/* All tensors whose name matches. */
static enum hth_status match_tensors(const struct reader *r, const pcre2_code *code, unsigned mask,
                                     bool *found)
{
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (!match)
        return log_fail_memory(r->log, "a pattern", sizeof(void *));
    for (size_t i = 0; i < r->model->n_weights; i++) {
        const char *name = r->model->weights[i]->name;
        if (pcre2_match(code, (PCRE2_SPTR)name, strlen(name), 0, 0, match, NULL) < 0)
            continue;
        r->hand->of_weight[i] = (uint8_t)mask;
        *found = true;
    }
    pcre2_match_data_free(match);
    return HTH_OK;
}

static enum hth_status read_pattern(const struct reader *r, const char *spec)
{
    const char *equals = strrchr(spec, '=');
    if (!equals || equals == spec)
        return log_fail(r->log, HTH_ERROR_ARGUMENT,
                        "--place %s: write PATTERN=cpu, PATTERN=vulkan or PATTERN=vulkan:N", spec);
    unsigned mask = device_mask(r->machine, equals + 1);
    if (mask == 0)
        return log_fail(r->log, HTH_ERROR_ARGUMENT,
                        "--place %s: there is no device \"%s\"; the plan is for cpu and %d GPU%s "
                        "(hearth devices lists them)",
                        spec, equals + 1, r->machine->n_devices - 1,
                        r->machine->n_devices == 2 ? "" : "s");
    int error;
    PCRE2_SIZE at;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)spec, (size_t)(equals - spec), 0, &error, &at, NULL);
    if (!code) {
        char why[120] = "";
        pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
        return log_fail(r->log, HTH_ERROR_ARGUMENT,
                        "--place %s: is no regular expression: at character %zu, %s", spec,
                        (size_t)at + 1, why);
    }
    bool found = false;
    enum hth_status status = match_tensors(r, code, mask, &found);
    pcre2_code_free(code);
    if (status == HTH_OK && !found)
        log_warning(r->log,
                    "--place %s: matches no tensor of this model (hearth inspect lists them)",
                    spec);
    return status;
}

enum hth_status hand_read(struct hand *out, const struct model *model,
                          const struct machine *machine, const struct hth_model_options *options,
                          const struct log *log)
{
    size_t n_layer = (size_t)model->hp.n_layer, n_expert = (size_t)model->hp.n_expert;
    *out = (struct hand){.n_expert = model->hp.n_expert};
    if (options->gpu_layers > 0 && machine->n_devices == 1)
        return log_fail(log, HTH_ERROR_ARGUMENT,
                        "--gpu-layers %d: there is no GPU that hearth can use; without it the CPU "
                        "has all (hearth devices lists what there is)",
                        options->gpu_layers);
    out->of_weight = arena_calloc(&out->arena, model->n_weights + 1, sizeof *out->of_weight);
    out->weight_at = arena_calloc(&out->arena, model->n_weights + 1, sizeof *out->weight_at);
    out->of_expert = arena_calloc(&out->arena, n_layer * n_expert + 1, sizeof *out->of_expert);
    out->expert_at = arena_calloc(&out->arena, n_layer * n_expert + 1, sizeof *out->expert_at);
    out->of_cache = arena_calloc(&out->arena, n_layer + 1, sizeof *out->of_cache);
    if (!out->of_weight || !out->weight_at || !out->of_expert || !out->expert_at || !out->of_cache)
        return log_fail_memory(log, "the places of weights", model->n_weights);
    struct reader r = {out, model, machine, options, log};
    enum hth_status status = HTH_OK;
    for (int i = 0; i < options->n_places && status == HTH_OK; i++)
        status = read_pattern(&r, options->places[i]);
    if (status == HTH_OK)
        say_all(&r);
    return status;
}

void hand_free(struct hand *hand)
{
    arena_free(&hand->arena);
    *hand = (struct hand){0};
}

static bool allow(const uint8_t *said, size_t n, int device)
{
    bool all = true;
    for (size_t i = 0; i < n; i++)
        all &= said[i] == 0 || (said[i] >> device & 1);
    return all;
}

bool hand_allows_whole(const struct hand *hand, const struct units *units, int device)
{
    size_t n_layers = (size_t)units->n_layers;
    return allow(hand->of_cache, n_layers, device) &&
           allow(hand->of_expert, n_layers * (size_t)hand->n_expert, device) &&
           allow(hand->of_weight, units->n_weights, device);
}

static void drop_bit(uint8_t *said, size_t n, int device)
{
    unsigned below = (1u << device) - 1;
    for (size_t i = 0; i < n; i++)
        said[i] = (uint8_t)((said[i] & below) | (said[i] >> 1 & ~below));
}

void hand_drop_device(struct hand *hand, const struct model *model, int device)
{
    size_t n_layer = (size_t)model->hp.n_layer;
    drop_bit(hand->of_cache, n_layer, device);
    drop_bit(hand->of_expert, n_layer * (size_t)hand->n_expert, device);
    drop_bit(hand->of_weight, model->n_weights, device);
}

/* --- binding ---------------------------------------------------------------------------------- */

struct binder {
    struct hand *hand;
    const struct model *model;
    struct units *units;
    uint64_t room[MACHINE_MAX_DEVICES]; /* of each GPU, for what must be there */
    uint64_t working;                   /* of each, beside units */
};

/* The first GPU of `mask` with room for so much; 0: none has. */
static int find_room(const struct binder *b, unsigned mask, uint64_t bytes)
{
    for (int d = 1; d < MACHINE_MAX_DEVICES; d++)
        if ((mask >> d & 1) && bytes <= b->room[d])
            return d;
    return 0;
}

/* Takes room for what was asked for on one of these GPUs; returns which, or 0. */
static int take_room(struct binder *b, unsigned mask, uint64_t bytes)
{
    int device = find_room(b, mask, bytes);
    if (device)
        b->room[device] -= bytes;
    else
        b->hand->left_out += bytes;
    return device;
}

/* What a GPU has whatever the plan puts there. */
static void work_with(struct binder *b, int device, uint64_t bytes)
{
    b->units->working_bytes = b->working;
    b->units->taken_bytes[device] += bytes;
}

/* What is said of all matrices of a unit; *mixed: not of all the same. */
static unsigned said_of_unit(const struct binder *b, int unit, bool *mixed)
{
    unsigned mask = 0;
    bool first = true;
    *mixed = false;
    for (size_t i = 0; i < b->model->n_weights; i++) {
        if (b->units->unit_of_weight[i] != unit || split_is_vector(b->model->weights[i]))
            continue;
        *mixed |= !first && mask != b->hand->of_weight[i];
        mask = b->hand->of_weight[i];
        first = false;
    }
    return mask;
}

/* A tensor leaves its unit. */
static void take_out(struct binder *b, int unit, const struct weight *weight)
{
    int8_t *at = &b->hand->weight_at[weight->index];
    unsigned mask = b->hand->of_weight[weight->index];
    *at = (int8_t)(mask == HOST_BIT ? 0 : take_room(b, mask, weight->size_bytes));
    if (*at)
        work_with(b, *at, weight->size_bytes);
    else
        b->units->host_bytes += weight->size_bytes;
    units_take_out(b->units, unit, weight);
}

/* Experts that are said one by one stay where they are; the others with the CPU. */
static void bind_each_expert(struct binder *b, struct unit *unit)
{
    const struct hand *hand = b->hand;
    size_t first = (size_t)unit->layer * (size_t)hand->n_expert;
    unit->allowed = HOST_BIT;
    for (size_t e = first; e < first + (size_t)hand->n_expert; e++) {
        bool asked = hand->of_expert[e] && hand->of_expert[e] != HOST_BIT;
        hand->expert_at[e] = (int8_t)(asked ? take_room(b, hand->of_expert[e], unit->bytes) : 0);
        if (hand->expert_at[e])
            work_with(b, hand->expert_at[e], unit->bytes);
    }
}

static unsigned said_of_experts(const struct hand *hand, int layer, bool *mixed)
{
    const uint8_t *said = &hand->of_expert[(size_t)layer * (size_t)hand->n_expert];
    *mixed = false;
    for (int e = 1; e < hand->n_expert; e++)
        *mixed |= said[e] != said[0];
    return said[0];
}

static void bind_unit(struct binder *b, int index)
{
    struct unit *unit = &b->units->items[index];
    bool mixed = false;
    unsigned mask = unit->kind == UNIT_KV        ? b->hand->of_cache[unit->layer]
                    : unit->kind == UNIT_EXPERTS ? said_of_experts(b->hand, unit->layer, &mixed)
                                                 : said_of_unit(b, index, &mixed);
    if (mixed && unit->kind == UNIT_EXPERTS) {
        bind_each_expert(b, unit);
        return;
    }
    for (size_t i = 0; mixed && i < b->model->n_weights; i++)
        if (b->units->unit_of_weight[i] == index && b->hand->of_weight[i] &&
            !split_is_vector(b->model->weights[i]))
            take_out(b, index, b->model->weights[i]);
    if (mixed || mask == 0)
        return;
    unit->allowed = mask;
    bool must = !(mask & HOST_BIT);
    if (must && !take_room(b, mask, unit->bytes * (uint64_t)unit->n))
        unit->allowed = unit->kind == UNIT_EXPERTS ? (unsigned)ALLOW_ALL : HOST_BIT;
}

/* A table of embeddings, which is of no unit and which the host reads unless it is said, has what
 * room is left. */
static void bind_table(struct binder *b, const struct weight *weight)
{
    size_t i = weight->index;
    int device = find_room(b, b->hand->of_weight[i], weight->size_bytes);
    if (b->units->unit_of_weight[i] >= 0 || split_is_vector(weight) || device == 0)
        return;
    b->hand->weight_at[i] = (int8_t)device;
    b->room[device] -= weight->size_bytes;
    work_with(b, device, weight->size_bytes);
}

void hand_bind(struct hand *hand, const struct model *model, const struct machine *machine,
               struct units *units, uint64_t working)
{
    struct binder b = {.hand = hand, .model = model, .units = units, .working = working};
    for (int d = 1; d < machine->n_devices; d++) {
        uint64_t budget = machine->devices[d].budget_bytes;
        b.room[d] = budget > working ? budget - working : 0;
    }
    hand->left_out = 0;
    for (size_t i = 0; i < model->n_weights; i++)
        hand->weight_at[i] = -1;
    for (int i = 0; i < units->n_layers * hand->n_expert; i++)
        hand->expert_at[i] = -1;
    for (int i = units->n_units; i-- > 0;) /* the last layers first, as the field does */
        bind_unit(&b, i);
    for (size_t i = 0; i < model->n_weights; i++)
        bind_table(&b, model->weights[i]);
}

void hand_say_left_out(const struct hand *hand, const struct machine *machine,
                       const struct log *log)
{
    uint64_t budget = 0;
    for (int d = 1; d < machine->n_devices; d++)
        budget += machine->devices[d].budget_bytes;
    if (hand->left_out)
        log_warning(
            log,
            "of what options put on the GPU %.1f MiB have no room in its %.1f MiB, and stay "
            "with the CPU",
            (double)hand->left_out / (1 << 20), (double)budget / (1 << 20));
}
