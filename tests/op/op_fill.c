#include <math.h>

#include "op_test.h"

void op_test_fill(struct rng *rng, enum input_kind kind, bool limited, float *out, int64_t n)
{
    float constant = 0.5f + rng_float(rng);
    for (int64_t i = 0; i < n; i++) {
        float uniform = 2 * rng_float(rng) - 1;
        switch (kind) {
        case INPUT_TINY: out[i] = uniform * (limited ? 0x1p-6f : 0x1p-30f); break;
        case INPUT_HUGE: out[i] = uniform * (limited ? 0x1p8f : 0x1p40f); break;
        case INPUT_DENORMAL: out[i] = uniform * 0x1p-130f; break;
        case INPUT_CONSTANT: out[i] = constant; break;
        case INPUT_ALTERNATING: out[i] = i % 2 ? -constant : constant; break;
        case INPUT_SPIKY: out[i] = rng_below(rng, 50) == 0 ? 30 * uniform : 0.01f * uniform; break;
        case INPUT_ZERO: out[i] = 0; break;
        default: out[i] = uniform; break;
        }
    }
}

static void random_block(struct rng *rng, const struct dtype *type, unsigned char *block)
{
    float values[1024];
    assert_true(type->block_elems <= ARRAY_LEN(values));
    for (int tries = 0; tries < 100000; tries++) {
        for (uint32_t i = 0; i < type->block_bytes; i++)
            block[i] = (unsigned char)rng_u32(rng);
        type->decode(block, values, type->block_elems);
        float max = 0;
        for (uint32_t i = 0; i < type->block_elems; i++)
            max = fabsf(values[i]) <= max ? max : fabsf(values[i]);
        if (max > 0.1f && max < 10)
            return;
    }
    fail_msg("no random block of %s has values near 1", type->name);
}

void op_test_encode(struct rng *rng, const struct dtype *type, const float *values, void *row,
                    int64_t n)
{
    if (type->encode) {
        type->encode(values, row, (size_t)n);
        return;
    }
    for (int64_t i = 0; i < n / type->block_elems; i++)
        random_block(rng, type, (unsigned char *)row + i * type->block_bytes);
}
