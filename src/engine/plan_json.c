#include "engine/plan_part.h"

#include <jansson.h>
#include <stdio.h>

#include "base/mem.h"
#include "plan/learn.h"

/* A NULL on the way (no memory) makes what holds it NULL, too: json_pack and *_set_new hand it on.
 */

static int take(const char *data, size_t size, void *user)
{
    strbuf_append(user, (struct str){data, size});
    return 0;
}

static json_t *count(uint64_t bytes)
{
    return json_integer((json_int_t)bytes);
}

/* What a device is called may be anything that a driver says. */
static json_t *text(const char *bytes)
{
    json_t *value = json_string(bytes);
    return value ? value : json_string("?");
}

static json_t *pair(const struct machine_rates *rates)
{
    json_t *value = json_pack("{s:f, s:f}", machine_rate_name(RATE_READ), rates->read / 1e9,
                              machine_rate_name(RATE_MATRIX), rates->matrix / 1e12);
    for (int w = 0; w < MACHINE_WIDTHS; w++)
        if (rates->products[w].read > 0) {
            char name[32];
            snprintf(name, sizeof name, "products_%d", 512 << w);
            json_object_set_new(
                value, name,
                json_pack("{s:f, s:f, s:f}", machine_rate_name(RATE_READ),
                          rates->products[w].read / 1e9, machine_rate_name(RATE_DISPATCH),
                          rates->products[w].op_s / 1e-6, machine_rate_name(RATE_MATRIX),
                          rates->products[w].matrix / 1e12));
        }
    return value;
}

/* Of a device that was measured: rates by format and cache, and what runs took since. */
static void set_measured(json_t *value, const struct machine_device *device)
{
    json_t *formats = json_object(), *caches = json_object(), *runs = json_object();
    for (uint32_t id = 0; id < MACHINE_MAX_FORMATS; id++) {
        const struct dtype *dtype = dtype_by_id(id);
        const struct machine_rates *format = dtype ? machine_format_of(device, dtype) : NULL;
        if (format)
            json_object_set_new(formats, dtype->name, pair(format));
    }
    for (int i = 0; i < device->n_caches; i++)
        json_object_set_new(caches, device->caches[i].shape, pair(&device->caches[i].rates));
    json_object_set_new(runs, "prompt", json_real(learn_factor(&device->past[PHASE_PROMPT])));
    json_object_set_new(runs, "answer", json_real(learn_factor(&device->past[PHASE_ANSWER])));
    json_object_set_new(value, "formats", formats);
    json_object_set_new(value, "caches", caches);
    json_object_set_new(value, "runs_took", runs);
}

static json_t *heap(const struct plan *plan, int device)
{
    const struct plan_heap *h = &plan->heaps[device];
    const struct machine_device *d = &plan->machine->devices[device];
    char id[24];
    json_t *value = json_pack(
        "{s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "device",
        machine_device_name(plan->machine, device, id), "name", text(d->name), "kind",
        machine_kind_name(d->kind), "memory_bytes", count(d->memory_bytes), "budget_bytes",
        count(h->budget), "planned_bytes", count(h->planned), "weight_bytes", count(h->weights),
        "expert_cache_bytes", count(h->experts_cached), "kv_bytes", count(h->kv),
        "activation_bytes", count(h->activations), "staging_bytes", count(h->staging));
    json_t *rates = json_object(), *estimated = json_array();
    for (int r = 0; r < RATE_COUNT; r++) {
        static const double units[RATE_COUNT] = {1e9, 1e12, 1e9, 1e9, 1e9, 1e-6, 1e-6, 1e-6};
        const char *name = machine_rate_name((enum machine_rate)r);
        if (r == RATE_ACTIVATION && d->rate[r] == 0)
            continue;
        json_object_set_new(rates, name, json_real(d->rate[r] / units[r]));
        if (d->estimated >> r & 1u)
            json_array_append_new(estimated, json_string(name));
    }
    json_object_set_new(value, "rates", rates);
    json_object_set_new(value, "estimated", estimated);
    if (d->measured)
        set_measured(value, d);
    return value;
}

struct entry {
    const char *name;
    int device, count;
    uint64_t bytes;
};

static int push_unit(const struct plan *plan, json_t *list, const struct plan_unit *item,
                     const struct entry *entry)
{
    char id[24];
    json_t *value = json_pack("{s:s, s:i, s:o, s:s, s:s}", "name", entry->name, "count",
                              entry->count, "bytes", count(entry->bytes), "device",
                              machine_device_name(plan->machine, entry->device, id), "layout",
                              plan_layout_name(entry->device ? LAYOUT_FILE : item->layout));
    if (entry->device == 0)
        json_object_set_new(value, "prefill",
                            json_string(plan_mode_name((enum prefill_mode)item->choice.mode)));
    if (item->gain_s != 0 && entry->device == 0)
        json_object_set_new(value, "gain_ms", json_real(item->gain_s * 1e3));
    return json_array_append_new(list, value);
}

/* One entry per unit; of a layer's experts one for those on a GPU and one for the rest. */
static int push_units(const struct plan *plan, json_t *list)
{
    int failed = 0;
    for (int i = 0; i < plan->units->n_units; i++) {
        const struct unit *unit = &plan->units->items[i];
        const struct plan_unit *item = &plan->items[i];
        char name[64], part[96];
        unit_name(unit, name, sizeof name);
        struct entry entry = {name, item->choice.device, 1, unit->bytes};
        if (unit->kind != UNIT_EXPERTS) {
            failed |= push_unit(plan, list, item, &entry);
            continue;
        }
        int n = item->choice.resident;
        const int from[2] = {0, n}, to[2] = {n, unit->n};
        for (int side = 0; side < 2; side++) {
            if (from[side] == to[side])
                continue;
            snprintf(part, sizeof part, "%s.%d-%d", name, from[side], to[side] - 1);
            entry = (struct entry){part, side ? 0 : item->choice.device, to[side] - from[side],
                                   unit->bytes * (uint64_t)(to[side] - from[side])};
            failed |= push_unit(plan, list, item, &entry);
        }
    }
    return failed;
}

enum hth_status plan_write_json(const struct plan *plan, struct strbuf *out, const struct log *log)
{
    json_t *heaps = json_array(), *units = json_array(), *more = json_null(), *so_far = json_null();
    int failed = push_units(plan, units);
    for (int d = 0; d < plan->machine->n_devices; d++)
        failed |= json_array_append_new(heaps, heap(plan, d));
    if (plan->more.device) {
        char id[24];
        more = json_pack("{s:s, s:f, s:f}", "device",
                         machine_device_name(plan->machine, plan->more.device, id),
                         "prompt_tokens_per_s", plan->more.prompt_tokens_per_s,
                         "answer_tokens_per_s", plan->more.answer_tokens_per_s);
    }
    if (plan->so_far.answer_tokens_per_s > 0)
        so_far = json_pack("{s:f, s:f}", "prompt_tokens_per_s", plan->so_far.prompt_tokens_per_s,
                           "answer_tokens_per_s", plan->so_far.answer_tokens_per_s);
    json_t *root = json_pack(
        "{s:f, s:f, s:f, s:s, s:b, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:o, s:o, s:o, s:o}",
        "prompt_tokens_per_s", plan->prompt_tokens_per_s, "answer_tokens_per_s",
        plan->answer_tokens_per_s, "turn_s", plan->turn_s, "bottleneck", plan->bottleneck,
        "estimated", (int)plan->estimated, "n_in", plan->turn.n_in, "n_out", plan->turn.n_out,
        "depth", plan->turn.depth, "n_ctx", plan->units->n_ctx, "batch", plan->turn.n_batch,
        "expert_hit", plan->expert_hit, "file_part", plan->file_part, "heaps", heaps,
        "one_more_gib", more, "as_run_so_far", so_far, "units", units);
    failed |= !root || json_dump_callback(root, take, out, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(root);
    strbuf_append_char(out, '\n');
    return failed || out->failed ? log_fail_memory(log, "the JSON of a plan", out->len) : HTH_OK;
}
