#include "plan/place_part.h"

/* --- what GPUs must hold ---------------------------------------------------------------------- */

/* Beside what grows with the batch: the tables of places, the batch buffer, pipelines. */
static const uint64_t DEVICE_OVERHEAD = 64u << 20;

uint64_t plan_working_bytes(const struct units *units, int n_batch)
{
    uint64_t logits = (uint64_t)units->n_vocab * sizeof(float);
    return DEVICE_OVERHEAD + units->token_bytes * (uint64_t)n_batch + logits;
}

uint64_t heap_activation_bytes(const struct units *units, int n_batch, int device)
{
    bool known = device > 0 && units->working_bytes;
    return (known ? units->working_bytes : plan_working_bytes(units, n_batch)) +
           units->taken_bytes[device];
}

/* What a GPU holds for copies into it. */
static uint64_t staging_bytes(const struct cost *cost, int device)
{
    bool apart = cost->stream_device && cost->machine->devices[device].kind == MACHINE_DISCRETE;
    if (!apart)
        return 0;
    return cost->turn.as_run ? cost_ring_bytes(cost->units) : cost_staging_bytes(cost->units);
}

/* What a GPU holds beside units: nothing, where it has no work. */
static uint64_t working_bytes(const struct cost *cost, const struct choice *choices, int device)
{
    bool works = false, staged = false;
    for (int i = 0; i < cost->units->n_units; i++) {
        int at = choices[i].device ? choices[i].device : cost->stream_device;
        works |= choices[i].device == device || (at == device && choices[i].mode != PREFILL_CPU);
        staged |= at == device && choices[i].mode == PREFILL_STREAM;
    }
    return (works ? heap_activation_bytes(cost->units, cost->turn.n_batch, device) : 0) +
           (staged ? staging_bytes(cost, device) : 0);
}

void heap_capacities(const struct cost *cost, bool staging, uint64_t out[MACHINE_MAX_DEVICES])
{
    out[0] = bytes_minus(cost->machine->devices[0].budget_bytes,
                         heap_activation_bytes(cost->units, cost->turn.n_batch, 0));
    for (int d = 1; d < cost->machine->n_devices; d++) {
        const struct machine_device *device = &cost->machine->devices[d];
        out[d] = bytes_minus(device->budget_bytes,
                             heap_activation_bytes(cost->units, cost->turn.n_batch, d));
        if (device->kind == MACHINE_INTEGRATED &&
            out[d] > bytes_minus(out[0], cost->units->host_bytes))
            out[d] = bytes_minus(out[0], cost->units->host_bytes);
        if (staging)
            out[d] = bytes_minus(out[d], staging_bytes(cost, d));
    }
}

bool heap_within(const struct cost *cost, const struct choice *choices,
                 const uint64_t bytes[MACHINE_MAX_DEVICES])
{
    uint64_t capacity[MACHINE_MAX_DEVICES];
    heap_capacities(cost, false, capacity);
    for (int d = 1; d < cost->machine->n_devices; d++) {
        uint64_t budget = cost->machine->devices[d].budget_bytes;
        if (bytes[d] > capacity[d] || bytes[d] + working_bytes(cost, choices, d) > budget)
            return false;
    }
    return true;
}

/* --- what the host must hold ------------------------------------------------------------------ */

/* Experts on a GPU that stand for those in use have a copy with the host; where all are on the GPU,
 * or those that are there stay, they have none. */
uint64_t heap_host_bytes(const struct cost *cost, const struct unit *unit, struct choice choice)
{
    int apart = cost->turn.no_cache || choice.resident == unit->n ? choice.resident : 0;
    if (unit->kind == UNIT_EXPERTS)
        return unit->bytes * (uint64_t)(unit->n - apart);
    return choice.device == 0 ? unit->bytes : 0;
}

static uint64_t host_kv_bytes(const struct cost *cost, const struct choice *choices)
{
    const struct units *units = cost->units;
    uint64_t bytes = 0;
    for (int i = 0; i < units->n_units; i++)
        if (units->items[i].kind == UNIT_KV)
            bytes += heap_host_bytes(cost, &units->items[i], choices[i]);
    return bytes;
}

double heap_file_part(const struct cost *cost, const struct choice *choices)
{
    const struct units *units = cost->units;
    uint64_t weights = 0, held = units->host_bytes + host_kv_bytes(cost, choices);
    for (int i = 0; i < units->n_units; i++)
        if (units->items[i].kind != UNIT_KV)
            weights += heap_host_bytes(cost, &units->items[i], choices[i]);
    held += heap_activation_bytes(units, cost->turn.n_batch, 0);
    for (int d = 1; d < cost->machine->n_devices; d++)
        if (cost->machine->devices[d].kind == MACHINE_INTEGRATED) /* takes of the same memory */
            for (int i = 0; i < units->n_units; i++)
                if (choices[i].device == d)
                    held +=
                        units->items[i].bytes *
                        (uint64_t)(units->items[i].kind == UNIT_EXPERTS ? choices[i].resident : 1);
    uint64_t room = bytes_minus(cost->machine->devices[0].budget_bytes, held);
    return weights > room ? (double)(weights - room) / (double)weights : 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

void heaps_count(struct plan *plan, const struct cost *cost)
{
    const struct units *units = plan->units;
    bool staged[MACHINE_MAX_DEVICES] = {false}, works[MACHINE_MAX_DEVICES] = {false};
    plan->heaps[0].weights = units->host_bytes;
    for (int i = 0; i < units->n_units; i++) {
        const struct unit *unit = &units->items[i];
        struct choice choice = plan->items[i].choice;
        struct plan_heap *heap = &plan->heaps[choice.device];
        int at = choice.device ? choice.device : cost->stream_device;
        staged[at] |= choice.mode == PREFILL_STREAM;
        works[at] |= choice.mode != PREFILL_CPU;
        *(unit->kind == UNIT_KV ? &plan->heaps[0].kv : &plan->heaps[0].weights) +=
            heap_host_bytes(cost, unit, choice);
        if (choice.device == 0)
            continue;
        if (unit->kind == UNIT_KV)
            heap->kv += unit->bytes;
        else if (unit->kind != UNIT_EXPERTS)
            heap->weights += unit->bytes;
        else
            *(choice.resident < unit->n && !cost->turn.no_cache ? &heap->experts_cached
                                                                : &heap->weights) +=
                unit->bytes * (uint64_t)choice.resident;
    }
    for (int d = 0; d < plan->machine->n_devices; d++) {
        struct plan_heap *heap = &plan->heaps[d];
        bool used = d == 0 || heap->weights + heap->experts_cached + heap->kv > 0;
        heap->budget = plan->machine->devices[d].budget_bytes;
        uint64_t held = heap_activation_bytes(units, cost->turn.n_batch, d);
        uint64_t others = heap->kv + held, room = bytes_minus(heap->budget, others);
        if (d == 0 && heap->weights > room) {
            heap->in_file = heap->weights - room;
            heap->weights = room;
        }
        if (staged[d])
            heap->staging = staging_bytes(cost, d);
        heap->activations = used || works[d] ? held : 0;
        heap->planned =
            heap->weights + heap->experts_cached + heap->kv + heap->activations + heap->staging;
    }
}
