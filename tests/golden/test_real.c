#include "logits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/os.h"

/* cost: 100 */

/* SmolLM2-135M-Instruct (Q4_1) against logits that llama.cpp computed from its weights in F32, for
 * a short and a long prompt. golden/README.md says what passes: NMSE after taking each row's mean
 * off both, and the choice. */

static const double tolerance_float = 1e-6, tolerance_default = 2e-3;

static float *without_means(const float *logits, size_t n_rows, size_t n_vocab)
{
    float *out = mem_calloc(n_rows * n_vocab, sizeof *out);
    assert_non_null(out);
    for (size_t r = 0; r < n_rows; r++) {
        const float *row = logits + r * n_vocab;
        double mean = 0;
        for (size_t i = 0; i < n_vocab; i++)
            mean += row[i];
        mean /= (double)n_vocab;
        for (size_t i = 0; i < n_vocab; i++)
            out[r * n_vocab + i] = (float)(row[i] - mean);
    }
    return out;
}

/* Returns how many rows chose what the reference chose. */
static int check_choices(const float *reference, const float *logits, size_t n_rows, size_t n_vocab,
                         double tolerance)
{
    double power = 0;
    for (size_t i = 0; i < n_rows * n_vocab; i++)
        power += (double)reference[i] * reference[i];
    double rms = sqrt(power / (double)(n_rows * n_vocab));
    int n_same = 0;
    for (size_t r = 0; r < n_rows; r++) {
        size_t want[2], got[2];
        logits_top(reference + r * n_vocab, n_vocab, want);
        logits_top(logits + r * n_vocab, n_vocab, got);
        double margin = reference[r * n_vocab + want[0]] - reference[r * n_vocab + want[1]];
        bool clear = margin > 4 * sqrt(2 * tolerance) * rms;
        if (got[0] != want[0] && (clear || got[0] != want[1]))
            fail_msg("row %zu: token %zu instead of %zu, whose margin is %g", r, got[0], want[0],
                     margin);
        n_same += got[0] == want[0];
    }
    return n_same;
}

static void check(struct hth_model *model, const struct golden *golden, bool float_only, int piece)
{
    size_t n_rows = (size_t)golden->n_rows, n_vocab = (size_t)golden->n_vocab;
    double tolerance = float_only ? tolerance_float : tolerance_default;
    /* In the default mode the cache is what it is by default, too. */
    struct logits_run run = {
        .kv = float_only ? HTH_KV_F32 : HTH_KV_F16, .float_only = float_only, .piece = piece};
    uint64_t start_ns = os_time_ns();
    float *raw = logits_compute(model, golden, &run);
    double seconds = (double)(os_time_ns() - start_ns) * 1e-9;
    float *logits = without_means(raw, n_rows, n_vocab);
    float *reference = without_means(golden->logits, n_rows, n_vocab);
    double nmse = test_nmse(reference, logits, n_rows * n_vocab);
    printf("%s: %s, pieces of %d: %.2e (at most %.0e), %.1f s\n", hth_model_get_info(model).device,
           float_only ? "float" : "default", piece, nmse, tolerance, seconds);
    if (!(nmse <= tolerance))
        fail_msg("NMSE %g is above %g", nmse, tolerance);
    int n_same = check_choices(reference, logits, n_rows, n_vocab, tolerance);
    printf("the choice is equal in %d of %zu rows\n", n_same, n_rows);
    mem_free(raw);
    mem_free(logits);
    mem_free(reference);
}

/* `pieces` ends with −1. */
static void check_prompt(const char *name, const char *device, bool float_only, const int *pieces)
{
    struct golden golden;
    golden_open(&golden, test_golden_path("real/smollm2-%s.gguf", name));
    struct hth_model *model =
        model_open(test_real_model(), (struct hth_model_options){.device = device});
    for (; *pieces >= 0; pieces++)
        check(model, &golden, float_only, *pieces);
    hth_model_close(model);
    golden_close(&golden);
}

static const int all_ways[] = {0, 7, 1, -1}, whole[] = {0, -1}, sevens[] = {7, -1};

TEST(sky)
{
    check_prompt("sky", "cpu", true, all_ways);
}

TEST(sky_default)
{
    check_prompt("sky", "cpu", false, all_ways);
}

TEST(sky_vulkan)
{
    check_prompt("sky", test_device(), true, all_ways);
}

TEST(sky_default_vulkan)
{
    check_prompt("sky", test_device(), false, all_ways);
}

TEST(long)
{
    check_prompt("long", "cpu", true, whole);
}

TEST(long_default)
{
    check_prompt("long", "cpu", false, whole);
}

TEST(long_sevens)
{
    check_prompt("long", "cpu", true, sevens);
}

TEST(long_sevens_default)
{
    check_prompt("long", "cpu", false, sevens);
}

TEST(long_vulkan)
{
    check_prompt("long", test_device(), true, whole);
}

TEST(long_default_vulkan)
{
    check_prompt("long", test_device(), false, whole);
}

TEST(long_sevens_vulkan)
{
    check_prompt("long", test_device(), true, sevens);
}

TEST(long_sevens_default_vulkan)
{
    check_prompt("long", test_device(), false, sevens);
}
