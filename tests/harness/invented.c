#include "harness/invented.h"

#include <math.h>
#include <stdio.h>

#include "harness/test.h"

static double between(struct rng *rng, double low, double high)
{
    return low + (high - low) * (double)rng_float(rng);
}

static double between_log(struct rng *rng, double low, double high)
{
    return low * pow(high / low, (double)rng_float(rng));
}

static void add(struct units *units, struct unit unit)
{
    unit.allowed = (unsigned)ALLOW_ALL;
    unit.n = unit.n ? unit.n : 1;
    unit.n_used = unit.n_used ? unit.n_used : 1;
    units->items[units->n_units++] = unit;
}

static uint64_t mib(double n)
{
    return (uint64_t)(n * (1 << 20));
}

void invent_units(struct units *units, const struct invented_model *model, uint64_t seed)
{
    const double BITS = 4.5;
    struct rng rng = rng_seed(seed);
    int n = model->n_layers;
    *units = (struct units){.n_layers = n, .n_embd = 4096, .n_ctx = 4096, .n_vocab = 32000};
    units->items =
        arena_calloc(&units->arena, (size_t)n * UNITS_PER_LAYER + 1, sizeof *units->items);
    units->layer_first = arena_calloc(&units->arena, (size_t)n + 2, sizeof *units->layer_first);
    assert_non_null(units->items);
    assert_non_null(units->layer_first);
    units->kv_bytes_per_position = 4096;
    units->attn_flop = 4 * 4096;
    units->host_bytes = mib(100);
    double attention = 0, ffn = 0;
    for (int l = 0; l < n; l++) {
        if (l == 0 || !model->alike) {
            attention = model->layer_mib * between(&rng, 0.1, 0.5);
            ffn = model->layer_mib * between(&rng, 0.5, 1.2);
        }
        bool moe = model->n_expert && !(model->mixed && rng_below(&rng, 3) == 0);
        units->layer_first[l] = units->n_units;
        struct unit unit = {
            .kind = UNIT_ATTENTION, .layer = l, .bytes = mib(attention), .n_ops = 4, .n_copies = 8};
        unit.elems = (double)unit.bytes * 8 / BITS;
        add(units, unit);
        add(units, (struct unit){.kind = UNIT_KV,
                                 .layer = l,
                                 .bytes = units->kv_bytes_per_position * 4096,
                                 .n_ops = 2,
                                 .n_copies = 3});
        int n_expert = moe ? model->n_expert : 1;
        unit = (struct unit){.kind = moe ? UNIT_EXPERTS : UNIT_FFN,
                             .layer = l,
                             .bytes = mib(ffn / n_expert),
                             .n_ops = 2,
                             .n_copies = 3,
                             .n = n_expert,
                             .n_used = moe ? model->n_used : 1};
        unit.elems = (double)unit.bytes * 8 / BITS;
        add(units, unit);
    }
    units->layer_first[n] = units->n_units;
    struct unit head = {
        .kind = UNIT_HEAD, .layer = n, .bytes = mib(model->layer_mib), .n_ops = 1, .n_copies = 2};
    head.elems = (double)head.bytes * 8 / BITS;
    add(units, head);
    units->layer_first[n + 1] = units->n_units;
}

void invent_machine(struct machine *machine, const struct units *units, int n_gpus, double part,
                    uint64_t seed)
{
    struct rng rng = rng_seed(seed);
    double all = (double)(units_weight_bytes(units) + units_kv_bytes(units));
    *machine = (struct machine){.n_devices = n_gpus + 1, .n_threads = 8};
    for (int d = 0; d <= n_gpus; d++) {
        struct machine_device *device = &machine->devices[d];
        double read = between_log(&rng, d ? 100e9 : 20e9, d ? 1500e9 : 90e9);
        snprintf(device->name, sizeof device->name, "invented %d", d);
        device->kind = d ? MACHINE_DISCRETE : MACHINE_CPU;
        device->number = d - 1;
        device->rate[RATE_READ] = read;
        device->rate[RATE_MATRIX] =
            d ? read * between(&rng, 20, 100) : between_log(&rng, 2e11, 2e12);
        if (d) {
            device->rate[RATE_COPY] = between_log(&rng, 2e9, 50e9);
            device->rate[RATE_HOP] = between_log(&rng, 5e-6, 200e-6);
        }
        device->memory_bytes =
            d ? (uint64_t)(all * part / n_gpus * between(&rng, 0.5, 1.5)) + (65u << 20)
              : (uint64_t)(4 * all) + (UINT64_C(1) << 30);
        device->budget_bytes = device->memory_bytes;
    }
    assert_int_equal(machine_complete(machine, test_log()), HTH_OK);
}
