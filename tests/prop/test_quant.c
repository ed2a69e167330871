/* What holds for every format hearth can write: small errors, stability, finite results, and
 * integer dot products that are what their definition says. */
#include "harness/test.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/half.h"
#include "base/rng.h"
#include "quant/dtype.h"

enum { N = 64 * 256, SEED = 20240607, CANARY = 64 };

/* Bounds, each about 3 % above what our method reaches: relative RMS error on gaussian rows, and
 * how far decoded values may move when they are encoded again (0: not at all). */
static const struct bound {
    const char *name;
    double gaussian, again;
} bounds[] = {
    {"F32", 0, 0},
    {"F64", 0, 0},
    {"F16", 0.00022, 0},
    {"BF16", 0.00172, 0},
    {"Q8_0", 0.0055, 0},
    {"Q4_0", 0.083, 0.0005},
    {"Q4_1", 0.0717, 0.001},
    {"Q5_0", 0.0412, 0.0005},
    {"Q5_1", 0.0344, 0.001},
    {"Q2_K", 0.27, 0.035},
    {"Q3_K", 0.148, 0.001},
    {"Q4_K", 0.0721, 0.009},
    {"Q5_K", 0.0356, 0.008},
    {"Q6_K", 0.0174, 0.001},
    {"IQ4_NL", 0.0755, 0.0005},
    {"IQ4_XS", 0.0763, 0.001},
    {"TQ1_0", 0.448, 0.0005},
    {"TQ2_0", 0.448, 0.0005},
    {"MXFP4", 0.1148, 0},
};

static const struct bound *bound_of(const struct dtype *type)
{
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++)
        if (strcmp(bounds[i].name, type->name) == 0)
            return &bounds[i];
    fail_msg("%s can be written but has no error bound here", type->name);
    return NULL;
}

static uint8_t bytes[N * 8 + 2 * CANARY];
static float values[N], decoded[N + 2 * CANARY], again[N];

/* Encodes `values` at an odd address with canaries on both sides of both outputs; decodes to
 * `decoded + CANARY`. */
static const float *round_trip(const struct dtype *type, size_t n)
{
    size_t size = dtype_row_bytes(type, n);
    uint8_t *blocks = bytes + CANARY + 1;
    memset(bytes, 0xa5, sizeof bytes);
    for (size_t i = 0; i < ARRAY_LEN(decoded); i++)
        decoded[i] = 12345.0f;
    type->encode(values, blocks, n);
    type->decode(blocks, decoded + CANARY, n);
    for (size_t i = 0; i <= CANARY; i++)
        assert_int_equal(bytes[i], 0xa5);
    for (size_t i = 0; i < CANARY - 1; i++)
        assert_int_equal(blocks[size + i], 0xa5);
    for (size_t i = 0; i < CANARY; i++) {
        assert_true(decoded[i] == 12345.0f);
        assert_true(decoded[CANARY + n + i] == 12345.0f);
    }
    return decoded + CANARY;
}

static double rms_error(const float *reference, const float *got, size_t n)
{
    return sqrt(test_nmse(reference, got, n));
}

static void fill_gaussian(float scale)
{
    struct rng rng = rng_seed(SEED);
    for (size_t i = 0; i < N; i++)
        values[i] = scale * rng_normal(&rng);
}

TEST(gaussian_error_is_small)
{
    for (size_t k = 0; dtype_at(k); k++) {
        const struct dtype *type = dtype_at(k);
        if (!type->encode)
            continue;
        fill_gaussian(0.02f);
        double error = rms_error(values, round_trip(type, N), N);
        printf("%-8s %.5f\n", type->name, error);
        if (error > bound_of(type)->gaussian)
            fail_msg("%s: relative error %g, bound %g", type->name, error,
                     bound_of(type)->gaussian);
    }
}

/* --- beside ggml ------------------------------------------------------------------------------ */

enum { ROWS_GAUSSIAN, ROWS_UNIFORM, ROWS_OUTLIERS, ROWS_HEAVY_TAILS, N_ROW_KINDS };

/* Relative RMS errors of ggml's own quantizers (ggml 0.27.0, ggml_quantize_chunk without an
 * importance matrix) on the rows that fill_rows makes. */
static const struct ggml_errors {
    const char *name;
    double of[N_ROW_KINDS];
} ggml_errors[] = {
    {"Q4_0", {0.0857316, 0.0652035, 0.1383552, 0.1129484}},
    {"Q4_1", {0.0788641, 0.0605114, 0.0968575, 0.1034131}},
    {"Q5_0", {0.0430150, 0.0311368, 0.0704365, 0.0583988}},
    {"Q5_1", {0.0380527, 0.0293235, 0.0464592, 0.0505562}},
    {"Q8_0", {0.0053582, 0.0037713, 0.0087490, 0.0077641}},
    {"Q2_K", {0.2968707, 0.2318921, 0.3337756, 0.3758001}},
    {"Q3_K", {0.1499524, 0.1253714, 0.1962837, 0.1713304}},
    {"Q4_K", {0.0715244, 0.0543701, 0.0901782, 0.0929623}},
    {"Q5_K", {0.0363278, 0.0277294, 0.0453334, 0.0479592}},
    {"Q6_K", {0.0176165, 0.0131990, 0.0262640, 0.0239121}},
    {"IQ4_NL", {0.0762178, 0.0642906, 0.1089604, 0.0931179}},
    {"IQ4_XS", {0.0768477, 0.0647937, 0.1108886, 0.0942787}},
    {"TQ1_0", {0.8129491, 0.4953244, 0.7813075, 0.8041763}},
    {"TQ2_0", {0.8129491, 0.4953244, 0.7813075, 0.8041763}},
    {"MXFP4", {0.1144366, 0.1441372, 0.1484522, 0.1337849}},
};

static void fill_rows(int kind)
{
    struct rng rng = rng_seed(SEED);
    for (size_t i = 0; i < N; i++) {
        float normal = rng_normal(&rng);
        switch (kind) {
        case ROWS_GAUSSIAN: values[i] = 0.02f * normal; break;
        case ROWS_UNIFORM: values[i] = 2 * rng_float(&rng) - 1; break;
        case ROWS_OUTLIERS: values[i] = (i % 97 ? 0.02f : 0.16f) * normal; break;
        default: values[i] = 0.02f * normal * fabsf(normal);
        }
    }
}

static const struct ggml_errors *ggml_errors_of(const struct dtype *type)
{
    for (size_t i = 0; i < ARRAY_LEN(ggml_errors); i++)
        if (strcmp(ggml_errors[i].name, type->name) == 0)
            return &ggml_errors[i];
    fail_msg("%s can be written but is not compared with ggml here", type->name);
    return NULL;
}

/* A file that hearth writes is as good as one of the field's own tools. */
TEST(no_worse_than_ggml)
{
    const double rounding = 1.001; /* of the figures, and of libm in the rows */
    for (size_t k = 0; dtype_at(k); k++)
        for (int kind = 0; kind < N_ROW_KINDS; kind++) {
            const struct dtype *type = dtype_at(k);
            if (!type->encode || !dtype_is_block(type))
                continue;
            fill_rows(kind);
            double ours = rms_error(values, round_trip(type, N), N);
            double theirs = ggml_errors_of(type)->of[kind];
            printf("%-8s %.5f, ggml %.5f\n", type->name, ours, theirs);
            if (!(ours <= rounding * theirs))
                fail_msg("%s, rows %d: relative error %g, of ggml %g", type->name, kind, ours,
                         theirs);
        }
}

TEST(encoding_again_changes_nothing)
{
    for (size_t k = 0; dtype_at(k); k++) {
        const struct dtype *type = dtype_at(k);
        if (!type->encode)
            continue;
        fill_gaussian(0.02f);
        memcpy(again, round_trip(type, N), sizeof again);
        memcpy(values, again, sizeof values);
        double moved = rms_error(again, round_trip(type, N), N);
        printf("%-8s %.6f\n", type->name, moved);
        if (moved > bound_of(type)->again)
            fail_msg("%s: moved by %g, bound %g", type->name, moved, bound_of(type)->again);
    }
}

/* A power of two moves only exponents, as long as no scale leaves the range of its half or byte. */
TEST(powers_of_two_pass_through)
{
    for (size_t k = 0; dtype_at(k); k++) {
        const struct dtype *type = dtype_at(k);
        if (!type->encode)
            continue;
        fill_gaussian(1);
        memcpy(again, round_trip(type, N), sizeof again);
        fill_gaussian(8);
        const float *scaled = round_trip(type, N);
        for (size_t i = 0; i < N; i++)
            if (scaled[i] != 8 * again[i])
                fail_msg("%s: value %zu is %a, should be %a", type->name, i, scaled[i],
                         8 * again[i]);
    }
}

TEST(zeros_stay_zeros)
{
    for (size_t k = 0; dtype_at(k); k++) {
        const struct dtype *type = dtype_at(k);
        if (!type->encode)
            continue;
        memset(values, 0, sizeof values);
        for (size_t i = 1; i < N; i += 2)
            values[i] = -0.0f;
        const float *got = round_trip(type, N);
        for (size_t i = 0; i < N; i++)
            assert_true(got[i] == 0);
    }
}

static const char *const kinds[] = {"uniform",  "positive", "huge",        "float's range",
                                    "tiny",     "denormal", "alternating", "spikes",
                                    "infinite", "NaN",      "constant",    "ramp"};

static float odd_value(size_t kind, size_t i, struct rng *rng)
{
    float u = 2 * rng_float(rng) - 1;
    switch (kind) {
    case 0: return u;
    case 1: return 5 + u;
    case 2: return u * 1e6f;
    case 3: return u * FLT_MAX;
    case 4: return u * 1e-6f;
    case 5: return u * 1e-40f;
    case 6: return i & 1 ? 3.0f : -3.0f;
    case 7: return i % 97 ? u * 1e-3f : 100 * u;
    case 8: return i % 300 == 7 ? INFINITY : i % 300 == 100 ? -INFINITY : u;
    case 9: return i % 300 == 7 ? NAN : u;
    case 10: return (float)(i / 256) - 30.5f;
    default: return (float)(i % 256) * 0.01f;
    }
}

/* The largest magnitude of the block that value i is in. */
static float block_max(const struct dtype *type, size_t i)
{
    float max = 0;
    for (size_t k = 0, first = i - i % type->block_elems; k < type->block_elems; k++)
        max = fmaxf(max, fabsf(values[first + k]));
    return max;
}

/* Blocks never hold an infinity or a NaN (plain numbers keep theirs), nor anything much larger than
 * what was to be encoded. */
TEST(odd_rows_stay_finite)
{
    for (size_t k = 0; dtype_at(k); k++)
        for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++) {
            const struct dtype *type = dtype_at(k);
            if (!type->encode || !dtype_is_block(type))
                continue;
            struct rng rng = rng_seed(SEED + kind);
            for (size_t i = 0; i < N; i++)
                values[i] = odd_value(kind, i, &rng);
            const float *got = round_trip(type, N);
            for (size_t i = 0; i < N; i++)
                if (!isfinite(got[i]))
                    fail_msg("%s: %s row: value %zu (%a) became %a", type->name, kinds[kind], i,
                             values[i], got[i]);
            for (size_t i = 0; i < N && kind != 8 && kind != 9; i++)
                if (fabsf(got[i]) > 1.5f * block_max(type, i))
                    fail_msg("%s: %s row: value %zu became %g, its block is within %g", type->name,
                             kinds[kind], i, got[i], block_max(type, i));
        }
}

/* No value moves by more than its format's widest step allows: the range of its block (zero
 * included) over the number of steps. */
TEST(no_value_moves_far)
{
    static const size_t ordinary[] = {0, 1, 6, 7, 10, 11};
    for (size_t k = 0; dtype_at(k); k++)
        for (size_t c = 0; c < ARRAY_LEN(ordinary); c++) {
            const struct dtype *type = dtype_at(k);
            if (!type->encode || !dtype_is_block(type))
                continue;
            struct rng rng = rng_seed(SEED + c);
            for (size_t i = 0; i < N; i++)
                values[i] = odd_value(ordinary[c], i, &rng);
            const float *got = round_trip(type, N);
            double limit = 4 * bound_of(type)->gaussian;
            for (size_t i = 0; i < N; i++)
                if (!(fabs((double)got[i] - values[i]) <= limit * block_max(type, i)))
                    fail_msg("%s: %s row: value %zu, %g, became %g (block's largest %g)",
                             type->name, kinds[ordinary[c]], i, values[i], got[i],
                             block_max(type, i));
        }
}

/* The definition, in double, and what its rounding is to be measured against: Σ|terms|. */
static double dot_in_double(const float *weights, const struct q8_act *act, size_t n, double *scale)
{
    double sum = 0;
    *scale = 0;
    for (size_t i = 0; i < n; i++) {
        double term = (double)weights[i] * ((double)act[i / 32].d * act[i / 32].q[i % 32]);
        sum += term;
        *scale += fabs(term);
    }
    return sum;
}

static struct q8_act act[N / Q8_ACT_ELEMS];

static void fill_activations(size_t n, struct rng *rng)
{
    static float x[N];
    for (size_t i = 0; i < n; i++)
        x[i] = rng_normal(rng) * (i / 32 % 3 ? 1.0f : 100.0f) + (i % 5 ? 0 : 1);
    q8_act_quantize(x, act, n);
}

static void check_dot(const struct dtype *type, const uint8_t *blocks, const float *weights,
                      size_t n)
{
    double scale, want = dot_in_double(weights, act, n, &scale);
    double got = dtype_dot_q8(type, blocks, act, n);
    if (!(fabs(got - want) <= 3e-7 * scale))
        fail_msg("%s, n = %zu: %.9g, should be %.9g within %.3g", type->name, n, got, want,
                 3e-7 * scale);
}

TEST(integer_dot_is_dot_of_decoded)
{
    static const size_t lengths[] = {256, 512, 768, 2304, N};
    struct rng rng = rng_seed(SEED);
    for (size_t k = 0; dtype_at(k); k++)
        for (size_t c = 0; c < ARRAY_LEN(lengths); c++) {
            const struct dtype *type = dtype_at(k);
            if (!type->encode || !type->to_int)
                continue;
            for (size_t i = 0; i < lengths[c]; i++)
                values[i] = 0.1f * rng_normal(&rng) * (1 + (float)(i % 7)) - 0.05f;
            fill_activations(lengths[c], &rng);
            const float *weights = round_trip(type, lengths[c]);
            check_dot(type, bytes + CANARY + 1, weights, lengths[c]);
        }
}

/* Random bytes are blocks too, as long as what they decode to stays well within floats: every bit
 * of a format takes part, those that no encoder sets included. */
TEST(integer_dot_of_random_blocks)
{
    struct rng rng = rng_seed(SEED + 1);
    for (size_t k = 0; dtype_at(k); k++)
        for (int repeat = 0; repeat < 200; repeat++) {
            const struct dtype *type = dtype_at(k);
            if (!type->to_int)
                continue;
            size_t size = dtype_row_bytes(type, 256);
            bool usable = false;
            while (!usable) {
                for (size_t i = 0; i < size; i++)
                    bytes[i] = (uint8_t)rng_u32(&rng);
                type->decode(bytes, decoded, 256);
                usable = true;
                for (size_t i = 0; i < 256; i++)
                    usable = usable && fabsf(decoded[i]) < 1e30f;
            }
            fill_activations(256, &rng);
            check_dot(type, bytes, decoded, 256);
        }
}

/* The activations' own error: at most half a step of d, plus what dividing in float adds. */
TEST(activations_round_to_nearest)
{
    for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++) {
        if (kind == 3 || kind == 5 || kind == 8 || kind == 9)
            continue; /* sums overflow, all zero, or not numbers */
        struct rng rng = rng_seed(SEED + kind);
        for (size_t i = 0; i < N; i++)
            values[i] = odd_value(kind, i, &rng);
        q8_act_quantize(values, act, N);
        for (size_t b = 0; b < N / Q8_ACT_ELEMS; b++) {
            double max = 0, sum = 0;
            for (size_t i = 0; i < Q8_ACT_ELEMS; i++) {
                double v = values[b * Q8_ACT_ELEMS + i], d = act[b].d;
                max = fmax(max, fabs(v));
                sum += d * act[b].q[i];
                assert_true(fabs(v - d * act[b].q[i]) <= d * 0.5001);
                assert_true(act[b].q[i] >= -127);
            }
            assert_true(fabs(act[b].d - max / 127) <= 1e-7 * act[b].d);
            assert_true(fabs(act[b].sum - sum) <= 1e-6 * 127 * 32 * act[b].d);
        }
    }
}
