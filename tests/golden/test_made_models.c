#include "logits.h"

#include "base/mem.h"
#include "data/logits/made_models.h"

/* Logits of models that hearth makes, against another program's: few enough to lie in the
 * repository, so that these tests run wherever it is cloned. */

enum { VOCAB_MAX = 4096 };

static int likeliest(const float *row, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (row[i] > row[best])
            best = i;
    return best;
}

static void check_pieces(struct hth_model *model, int piece, const float (*expected)[MADE_COLUMNS],
                         const int32_t *best)
{
    int n_vocab = hth_model_get_info(model).n_vocab;
    assert_true(n_vocab <= VOCAB_MAX && n_vocab % MADE_COLUMNS == 0);
    struct golden asked = {.tokens = made_tokens,
                           .n_tokens = MADE_TOKENS,
                           .n_vocab = n_vocab,
                           .first = MADE_FIRST_ROW,
                           .n_rows = MADE_TOKENS - MADE_FIRST_ROW};
    struct logits_run run = {.kv = HTH_KV_F32, .float_only = true, .piece = piece};
    float *logits = logits_compute(model, &asked, &run), found[MADE_ROWS][MADE_COLUMNS];
    int step = n_vocab / MADE_COLUMNS;
    for (int r = 0; r < MADE_ROWS; r++) {
        const float *row = logits + (size_t)(r * MADE_ROW_STEP) * (size_t)n_vocab;
        for (int c = 0; c < MADE_COLUMNS; c++)
            found[r][c] = row[c * step];
        assert_int_equal(likeliest(row, n_vocab), best[r]);
    }
    mem_free(logits);
    double nmse = test_nmse(expected[0], found[0], (size_t)MADE_ROWS * MADE_COLUMNS);
    if (!(nmse <= 1e-9))
        fail_msg("pieces of %d: NMSE %g is above 1e-9", piece, nmse);
}

static void check(const char *name, const char *device, const float (*expected)[MADE_COLUMNS],
                  const int32_t *best)
{
    struct hth_model *model = model_open(name, (struct hth_model_options){.device = device});
    check_pieces(model, 0, expected, best);
    check_pieces(model, 7, expected, best);
    check_pieces(model, 1, expected, best);
    hth_model_close(model);
}

TEST(tiny_llama_cpu)
{
    check("synth:tiny-llama:f32", "cpu", made_tiny_llama, made_tiny_llama_best);
}

TEST(tiny_llama_vulkan)
{
    check("synth:tiny-llama:f32", test_device(), made_tiny_llama, made_tiny_llama_best);
}

TEST(tiny_moe_cpu)
{
    check("synth:tiny-moe:f32", "cpu", made_tiny_moe, made_tiny_moe_best);
}

TEST(tiny_moe_vulkan)
{
    check("synth:tiny-moe:f32", test_device(), made_tiny_moe, made_tiny_moe_best);
}
