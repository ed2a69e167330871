#include "model/synth_part.h"
#include "base/mem.h"

enum {
    BANK_ELEMS = 1 << 20,
    SLICE_ELEMS = 1 << 13, /* a multiple of every block */
    PLAIN_UNIT = 32,       /* elements of a unit where there are no blocks */
};

struct fill {
    const struct synth_bank *bank;
    uint64_t seed;
    float *values; /* [BANK_ELEMS] */
};

uint64_t synth_hash(struct str text, uint64_t number)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.ptr[i]) * 0x100000001b3u;
    for (int i = 0; i < 64; i += 8)
        hash = (hash ^ (number >> i & 255)) * 0x100000001b3u;
    return hash;
}

static void fill_slice(void *arg, int index, int thread)
{
    const struct fill *fill = arg;
    const struct synth_bank *bank = fill->bank;
    float *values = fill->values + (size_t)index * SLICE_ELEMS;
    size_t offset = (size_t)index * (SLICE_ELEMS / bank->unit_elems) * bank->unit_bytes;
    struct rng rng = rng_seed(synth_hash(STR("slice"), fill->seed + (uint64_t)index));
    (void)thread;
    for (int i = 0; i < SLICE_ELEMS; i++)
        values[i] = bank->deviation * rng_normal(&rng);
    bank->type->encode(values, bank->units + offset, SLICE_ELEMS);
}

bool synth_bank_init(struct synth_bank *bank, const struct dtype *type, float deviation,
                     uint64_t seed, struct pool *pool)
{
    struct fill fill = {.bank = bank, .seed = seed};
    size_t unit = dtype_is_block(type) ? type->block_elems : PLAIN_UNIT;
    *bank = (struct synth_bank){.type = type, .deviation = deviation, .unit_elems = unit};
    bank->unit_bytes = (size_t)dtype_row_bytes(type, unit);
    bank->n_units = BANK_ELEMS / unit;
    bank->units = mem_alloc(bank->n_units * bank->unit_bytes);
    fill.values = mem_alloc(BANK_ELEMS * sizeof *fill.values);
    if (bank->units && fill.values)
        pool_run(pool, fill_slice, &fill, BANK_ELEMS / SLICE_ELEMS);
    else
        synth_bank_free(bank);
    mem_free(fill.values);
    return bank->units != NULL;
}

void synth_bank_free(struct synth_bank *bank)
{
    mem_free(bank->units);
    bank->units = NULL;
}
