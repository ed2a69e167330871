#include "quant/random.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

enum { STORE_BLOCKS = 128, BLOCK_MAX = 256, EXPONENTS = 64, MOST_TRIES = 1 << 16 };

/* Steps from block to block by one before it is mixed, and from byte to byte by an odd number, so
 * that the bytes of one block differ, too. Each step of the mixing can be undone: none of the 256
 * values is lost. */
static uint8_t byte_of_series(uint64_t index, uint32_t place)
{
    uint8_t v = (uint8_t)((index + 37 * place) * 73);
    v ^= v >> 4;
    return (uint8_t)(v * 149);
}

static bool is_near_1(const struct dtype *type, const uint8_t *block)
{
    float values[BLOCK_MAX], largest = 0;
    type->decode(block, values, type->block_elems);
    for (uint32_t i = 0; i < type->block_elems; i++) {
        float size = values[i] < 0 ? -values[i] : values[i];
        if (!(size < 4))
            return false;
        largest = size > largest ? size : largest;
    }
    return largest > 0.25f;
}

void dtype_random_block(const struct dtype *type, struct rng *rng, uint64_t index, void *block)
{
    uint8_t *bytes = block, *scales = bytes + type->scale_at;
    assert(type->block_elems <= BLOCK_MAX && type->scale_bytes > 0);
    for (uint32_t i = 0; i < type->block_bytes; i++)
        bytes[i] = byte_of_series(index, i);
    if (type->scale_bytes == 1 && index % 8 == 0) {
        scales[0] = (uint8_t)(index / 8 % EXPONENTS);
        return;
    }
    int tries = 0;
    do {
        for (uint32_t i = 0; i < type->scale_bytes; i++)
            scales[i] = (uint8_t)rng_u32(rng);
    } while (!is_near_1(type, bytes) && ++tries < MOST_TRIES);
}

/* Encoded blocks and those of the series in no regular order, or rows of an even number of blocks
 * would have each kind in columns of its own. */
static void fill_store(const struct dtype *type, struct rng *rng, uint8_t *store, float *values)
{
    uint64_t n_series = 0;
    for (size_t i = 0; i < STORE_BLOCKS; i++) {
        if (type->encode && (!dtype_is_block(type) || rng_below(rng, 2) == 0)) {
            for (size_t k = 0; k < type->block_elems; k++)
                values[k] = rng_normal(rng);
            type->encode(values, store, type->block_elems);
        } else {
            dtype_random_block(type, rng, n_series++, store);
        }
        store += type->block_bytes;
    }
}

bool dtype_random(const struct dtype *type, struct rng *rng, void *blocks, uint64_t n)
{
    size_t block = type->block_bytes;
    uint8_t *store = mem_alloc(STORE_BLOCKS * block);
    float values[BLOCK_MAX];
    if (!store)
        return false;
    fill_store(type, rng, store, values);
    uint8_t *out = blocks;
    for (uint64_t i = 0; i < n / type->block_elems; i++) {
        uint64_t which = i < STORE_BLOCKS ? i : rng_below(rng, STORE_BLOCKS);
        memcpy(out + i * block, store + which * block, block);
    }
    mem_free(store);
    return true;
}
