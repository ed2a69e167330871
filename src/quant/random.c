#include "quant/random.h"

#include <string.h>

#include "base/mem.h"

enum { STORE_BLOCKS = 128 };

/* A block that decodes to numbers near 1; what the last try gave where none does. */
static void random_block(const struct dtype *type, struct rng *rng, uint8_t *block, float *values)
{
    for (int tries = 0; tries < 10000; tries++) {
        for (uint32_t i = 0; i < type->block_bytes; i++)
            block[i] = (uint8_t)rng_u32(rng);
        type->decode(block, values, type->block_elems);
        float max = 0;
        for (uint32_t i = 0; i < type->block_elems; i++)
            max = fabsf(values[i]) <= max ? max : fabsf(values[i]);
        if (max > 0.1f && max < 10)
            return;
    }
}

bool dtype_random(const struct dtype *type, struct rng *rng, void *blocks, uint64_t n)
{
    size_t block = type->block_bytes, n_values = (size_t)STORE_BLOCKS * type->block_elems;
    uint8_t *store = mem_alloc(STORE_BLOCKS * block);
    float *values = mem_alloc(n_values * sizeof *values);
    bool room = store && values;
    if (room && type->encode) {
        for (size_t i = 0; i < n_values; i++)
            values[i] = rng_normal(rng);
        type->encode(values, store, n_values);
    }
    for (size_t i = 0; room && !type->encode && i < STORE_BLOCKS; i++)
        random_block(type, rng, store + i * block, values);
    uint8_t *out = blocks;
    for (uint64_t i = 0; room && i < n / type->block_elems; i++)
        memcpy(out + i * block, store + rng_below(rng, STORE_BLOCKS) * block, block);
    mem_free(store);
    mem_free(values);
    return room;
}
