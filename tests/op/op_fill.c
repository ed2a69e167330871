#include "op_test.h"
#include "quant/random.h"

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

/* A row alone in its matrix gets no blocks of the series: one may be so small that it is zero on
 * devices without denormals. */
void op_test_encode(struct op_test *t, const struct tensor *tensor, const float *values, void *row)
{
    const struct dtype *type = tensor->dtype;
    uint32_t n = type->block_elems;
    if (!dtype_is_block(type) || (type->encode && (t->encoded_only || tensor->ne[1] == 1))) {
        type->encode(values, row, (size_t)tensor->ne[0]);
        return;
    }
    unsigned char *block = row;
    for (int64_t i = 0; i < tensor->ne[0]; i += n, block += type->block_bytes) {
        if (type->encode && rng_below(&t->rng, 2) == 0)
            type->encode(values + i, block, n);
        else
            dtype_random_block(type, &t->rng, t->series++, block);
    }
}
