#include "logits.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/engine.h"

/* cost: 30 */

/* Wherever the parts of a model live, it computes the same: weights on either side at random,
 * tensor by tensor and layer by layer, against the model whole on the GPU; and with two GPUs, which
 * the software device stands in for. */

enum { N_TOKENS = 70, N_BATCH = 24, N_PLACES = 8 };

/* The device of the test run, once or twice. */
static const char *devices_of(const struct random_places *places)
{
    static char twice[256];
    snprintf(twice, sizeof twice, "%s,%s", test_device(), test_device());
    return places && places->n_gpus == 2 ? twice : test_device();
}

/* Each device on which there is something runs a part. */
static void check_devices(const struct hth_model *model, const struct random_places *places)
{
    for (int d = 1; places && d <= places->n_gpus; d++)
        assert_int_equal(model->placing.split.used[d], places->n[d] > 0);
}

/* Logits of all tokens: a batch, what is left of it, and some one by one. */
static float *compute(const char *path, struct random_places *places, size_t *n_vocab)
{
    struct hth_model *model =
        model_open(path, (struct hth_model_options){.device = devices_of(places),
                                                    .place = places ? random_place : NULL,
                                                    .place_user = places});
    check_devices(model, places);
    *n_vocab = (size_t)hth_model_get_info(model).n_vocab;
    struct hth_session_options options = {
        .n_ctx = N_TOKENS, .n_batch = N_BATCH, .kv = HTH_KV_F32, .float_only = true};
    struct hth_session *session;
    if (hth_session_open(&session, model, &options) != HTH_OK)
        fail_msg("%s", test_log_text());
    float *out = mem_alloc(N_TOKENS * *n_vocab * sizeof *out);
    assert_non_null(out);
    for (int at = 0, n; at < N_TOKENS; at += n) {
        int32_t ids[N_TOKENS];
        n = at < N_TOKENS - 6 ? N_TOKENS - 6 : 1;
        for (int i = 0; i < n; i++)
            ids[i] = (int32_t)((size_t)(at + i) * 7919 % *n_vocab);
        struct hth_feed feed = {.ids = ids, .count = n, .outputs = HTH_OUTPUT_ALL};
        if (hth_session_feed(session, &feed, 1) != HTH_OK)
            fail_msg("%s", test_log_text());
        memcpy(out + (size_t)at * *n_vocab, hth_session_logits(session, 0),
               (size_t)n * *n_vocab * sizeof *out);
    }
    hth_session_close(session);
    hth_model_close(model);
    return out;
}

static void check(const char *path, int n_modes, int n_gpus)
{
    size_t n_vocab;
    float *want = compute(path, NULL, &n_vocab);
    for (int i = 0; i < N_PLACES; i++) {
        struct random_places places = {.seed = (uint64_t)i + 20261121,
                                       .mode = (enum random_mode)(i % n_modes),
                                       .n_gpus = n_gpus};
        float *got = compute(path, &places, &n_vocab);
        double nmse = test_nmse(want, got, N_TOKENS * n_vocab);
        printf("%s, seed %llu, mode %d: of tensors and experts %d are with the CPU, %d and %d on "
               "GPUs: NMSE %.1e\n",
               path, (unsigned long long)places.seed, places.mode, places.n[0], places.n[1],
               places.n[2], nmse);
        mem_free(got);
        if (!(nmse <= 1e-6))
            fail_msg("%s, seed %llu, mode %d: NMSE %g", path, (unsigned long long)places.seed,
                     places.mode, nmse);
    }
    mem_free(want);
}

TEST(experts_vulkan)
{
    check("synth:tiny-moe:q8_0", 4, 1);
}

TEST(experts_three_ways_vulkan)
{
    check("synth:tiny-moe:q8_0", 4, 2);
}

TEST(dense_vulkan)
{
    check("synth:tiny-llama:q4_k", 2, 1);
}

TEST(dense_three_ways_vulkan)
{
    check("synth:tiny-llama:q4_k", 2, 2);
}
