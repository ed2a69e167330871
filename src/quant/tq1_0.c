/* TQ1_0: 256 weights, x = d × (q − 1), q one of 0, 1, 2. A byte v holds five base-3 digits as the
 * fraction v / 256 ≈ 0.q0 q1 q2 q3 q4: digit k is the whole part of 3 × the fraction of v × 3^k /
 * 256. 32 bytes hold weights 0–159 (digit k of byte i is weight 32 k + i), 16 bytes hold weights
 * 160–239 (weight 160 + 16 k + i), 4 bytes with four digits hold the rest (240 + 4 k + i), then
 * half d. */
#include "quant/dtype.h"

#include <string.h>

#include "quant/block.h"
#include "quant/fit.h"
#include "quant/super.h"

enum { ELEMS = 256, BYTES = 54, D = 52 };

/* Digits 0 … n_digits − 1 of `n` bytes, each digit a run of n weights, as −1, 0, 1. */
static int8_t *unpack_run(const uint8_t *in, int n, int n_digits, int8_t *q)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    for (int k = 0; k < n_digits; k++)
        for (int i = 0; i < n; i++) {
            unsigned fraction = (unsigned)in[i] * power[k] & 255;
            *q++ = (int8_t)((int)(fraction * 3 >> 8) - 1);
        }
    return q;
}

static void unpack(const uint8_t *in, struct super *out)
{
    out->d = load_f16(in + D);
    memset(out->scale, 1, sizeof out->scale);
    int8_t *q = unpack_run(in, 32, 5, out->q);
    q = unpack_run(in + 32, 16, 5, q);
    unpack_run(in + 48, 4, 4, q);
}

/* ⌈number × 256 / 3^5⌉: the smallest byte whose digits are those of the number. */
static const int8_t *pack_run(const int8_t *q, int n, int n_digits, uint8_t *out)
{
    for (int i = 0; i < n; i++) {
        int number = 0;
        for (int k = 0; k < 5; k++)
            number = number * 3 + (k < n_digits ? q[k * n + i] + 1 : 0);
        out[i] = (uint8_t)((number * 256 + 242) / 243);
    }
    return q + n * n_digits;
}

static const struct super_format format = {BYTES, unpack};

static void decode(const void *blocks, float *out, size_t n)
{
    super_decode(&format, blocks, out, n);
}

static void encode(const float *values, void *blocks, size_t n)
{
    uint8_t *out = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, out += BYTES, values += ELEMS) {
        int8_t q[ELEMS];
        float d = store_f16(out + D, fit_scale(values, ELEMS, -1, 1));
        fit_round(values, ELEMS, (struct fit_line){d, 0}, -1, 1, q);
        const int8_t *rest = pack_run(q, 32, 5, out);
        rest = pack_run(rest, 16, 5, out + 32);
        pack_run(rest, 4, 4, out + 48);
    }
}

static void to_int(const void *blocks, const struct int_form *out, size_t n)
{
    super_to_int(&format, blocks, out, n);
}

const struct dtype dtype_tq1_0 = {
    .name = "TQ1_0",
    .shader = "tq1_0",
    .gguf_id = 34,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_at = D,
    .scale_bytes = 2,
    .decode = decode,
    .encode = encode,
    .sub_elems = 16,
    .to_int = to_int,
};
