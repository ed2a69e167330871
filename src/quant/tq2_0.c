/* TQ2_0: 256 weights, x = d × (q − 1), meant for q of 0, 1, 2. 64 bytes, then half d. Of each half
 * of 128 weights, run r of 32 has bits 2r, 2r + 1 of its 32 bytes. */
#include "quant/dtype.h"

#include <string.h>

#include "quant/block.h"
#include "quant/fit.h"
#include "quant/super.h"

enum { ELEMS = 256, BYTES = 66, D = 64 };

/* From −1 to 2: a q of 3 is not written by anyone, but has a meaning. */
static void unpack(const uint8_t *in, struct super *out)
{
    out->d = load_f16(in + D);
    memset(out->scale, 1, sizeof out->scale);
    for (int r = 0; r < 8; r++)
        for (int i = 0; i < 32; i++)
            out->q[r * 32 + i] = (int8_t)((in[r / 4 * 32 + i] >> (r % 4 * 2) & 3) - 1);
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
        for (int i = 0; i < 64; i++) {
            const int8_t *run = q + i / 32 * 128 + i % 32;
            out[i] = (uint8_t)((run[0] + 1) | (run[32] + 1) << 2 | (run[64] + 1) << 4 |
                               (run[96] + 1) << 6);
        }
    }
}

static void to_int(const void *blocks, const struct int_form *out, size_t n)
{
    super_to_int(&format, blocks, out, n);
}

const struct dtype dtype_tq2_0 = {
    .name = "TQ2_0",
    .shader = "tq2_0",
    .gguf_id = 35,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_at = D,
    .scale_bytes = 2,
    .decode = decode,
    .encode = encode,
    .sub_elems = 16,
    .to_int = to_int,
};
