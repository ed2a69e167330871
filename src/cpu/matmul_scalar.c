#include <string.h>

#include "cpu/matmul_kernels.h"

/* Plain C. Loops over the rows of a panel, with constant bounds, are what compilers turn into
 * vector code for whatever they compile for. */

enum { PANEL = 16 };

static void quantize(const float *x, int64_t k, const struct act *out)
{
    for (int64_t b = 0; b < k / Q8_ACT_ELEMS; b++) {
        struct q8_act block;
        q8_act_quantize(x + b * Q8_ACT_ELEMS, &block, Q8_ACT_ELEMS);
        memcpy(out->q + b * Q8_ACT_ELEMS, block.q, sizeof block.q);
        out->d[b] = block.d;
        out->sum[b] = block.sum;
    }
}

static void int_tile(const struct int_tile *tile)
{
    int subs_per_d = Q8_ACT_ELEMS / tile->sub_elems;
    for (int c = 0; c < tile->n; c++) {
        float sums[PANEL] = {0};
        for (int s = 0; s < tile->k / tile->sub_elems; s++) {
            int dots[PANEL] = {0};
            for (int i = s * tile->sub_elems; i < (s + 1) * tile->sub_elems; i += 4)
                for (int r = 0; r < PANEL; r++) {
                    const int8_t *w = tile->w + i * PANEL + r * 4;
                    const int8_t *q = tile->q + i * TILE_MAX + c * 4;
                    dots[r] += w[0] * q[0] + w[1] * q[1] + w[2] * q[2] + w[3] * q[3];
                }
            float d = tile->d[s / subs_per_d * TILE_MAX + c], sum = tile->sum[s * TILE_MAX + c];
            for (int r = 0; r < PANEL; r++)
                sums[r] += d * (tile->scale[s * PANEL + r] * (float)dots[r]);
            for (int r = 0; r < PANEL && tile->min; r++)
                sums[r] += sum * tile->min[s * PANEL + r];
        }
        for (int r = 0; r < PANEL; r++)
            tile->acc[c * PANEL + r] = tile->first ? sums[r] : tile->acc[c * PANEL + r] + sums[r];
    }
}

static float int_dot(const struct int_dot *dot)
{
    int sub = dot->sub_elems;
    float sum = 0;
    for (int s = 0; s < dot->k / sub; s++) {
        const int8_t *w = dot->w->q + s * sub, *x = dot->x.q + s * sub;
        int products = 0, total = 0;
        for (int i = 0; i < sub; i++)
            products += w[i] * x[i];
        float value = dot->w->scale[s] * (float)products;
        if (dot->has_min) {
            for (int i = 0; i < sub; i++)
                total += x[i];
            value += dot->w->min[s] * (float)total;
        }
        sum += dot->x.d[s * sub / Q8_ACT_ELEMS] * value;
    }
    return sum;
}

static const struct matmul_kernels kernels = {
    .panel = PANEL,
    .offset = 0,
    .quantize = quantize,
    .pack = matmul_pack_16,
    .int_tile = int_tile,
    .int_dot = int_dot,
    .floats = &float_kernels_scalar,
};

const struct cpu_op cpu_op_matmul_scalar = {
    .name = "matmul_scalar",
    .kind = OP_MATMUL,
    .level = CPU_SCALAR,
    .matmul = &kernels,
    .scratch_bytes = matmul_scratch_bytes,
    .run = matmul_run,
};

const struct cpu_op cpu_op_matmul_glu_scalar = {
    .name = "matmul_glu_scalar",
    .kind = OP_MATMUL_GLU,
    .level = CPU_SCALAR,
    .matmul = &kernels,
    .scratch_bytes = matmul_scratch_bytes,
    .run = matmul_run,
};

const struct cpu_op cpu_op_matmul_qkv_scalar = {
    .name = "matmul_qkv_scalar",
    .kind = OP_MATMUL_QKV,
    .level = CPU_SCALAR,
    .matmul = &kernels,
    .scratch_bytes = matmul_scratch_bytes,
    .run = matmul_run,
};
