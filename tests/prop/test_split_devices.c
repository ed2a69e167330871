#include "logits.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"

/* cost: 30 */

/* Wherever the parts of a model live, it computes the same: weights on either side at random,
 * tensor by tensor and layer by layer, against the model whole on the GPU. */

enum { N_TOKENS = 70, N_BATCH = 24, N_PLACES = 8 };
enum mode { BY_TENSOR, BY_LAYER, EXPERTS_APART, EACH_EXPERT };

struct places {
    uint64_t seed;
    enum mode mode;
    int n_gpu, n_host;
};

static uint64_t mix(uint64_t hash, uint64_t with)
{
    return (hash ^ with) * 0x9e3779b97f4a7c15u ^ hash >> 29;
}

static int place(void *user, const char *tensor, int expert)
{
    struct places *places = user;
    int layer = -1;
    uint64_t hash = mix(places->seed, 1);
    sscanf(tensor, "blk.%d.", &layer);
    bool by_layer = places->mode == BY_LAYER && layer >= 0;
    if (by_layer || (places->mode == EACH_EXPERT && expert >= 0))
        hash = mix(mix(hash, (uint64_t)layer), by_layer ? 0 : (uint64_t)expert);
    else
        for (const char *c = tensor; *c; c++)
            hash = mix(hash, (uint64_t)*c);
    bool gpu = places->mode == EXPERTS_APART ? expert < 0 : hash >> 41 & 1;
    places->n_gpu += gpu;
    places->n_host += !gpu;
    return gpu;
}

/* Logits of all tokens: a batch, what is left of it, and some one by one. */
static float *compute(const char *path, struct places *places, size_t *n_vocab)
{
    struct hth_model *model = model_open(
        path, (struct hth_model_options){
                  .device = test_device(), .place = places ? place : NULL, .place_user = places});
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

static void check(const char *path, int n_modes)
{
    size_t n_vocab;
    float *want = compute(path, NULL, &n_vocab);
    for (int i = 0; i < N_PLACES; i++) {
        struct places places = {.seed = (uint64_t)i + 20261121, .mode = (enum mode)(i % n_modes)};
        float *got = compute(path, &places, &n_vocab);
        double nmse = test_nmse(want, got, N_TOKENS * n_vocab);
        printf(
            "%s, seed %llu, mode %d: %d tensors and experts on the GPU, %d on the CPU: NMSE %.1e\n",
            path, (unsigned long long)places.seed, places.mode, places.n_gpu, places.n_host, nmse);
        mem_free(got);
        if (!(nmse <= 1e-6))
            fail_msg("%s, seed %llu, mode %d: NMSE %g", path, (unsigned long long)places.seed,
                     places.mode, nmse);
    }
    mem_free(want);
}

TEST(experts_vulkan)
{
    check("synth:tiny-moe:q8_0", 4);
}

TEST(dense_vulkan)
{
    check("synth:tiny-llama:q4_k", 2);
}
