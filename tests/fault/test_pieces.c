#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "layer_use.h"
#include "logits.h"

/* cost: 20 */

/* A device that binds little in one piece has the model in many chunks: rows of one weight, experts
 * of one layer and pages of one sequence lie apart, and nothing else differs. */

enum { N_TOKENS = 300, N_BATCH = 40, MORE_BUFFERS = 10 };

struct result {
    float *logits; /* of the last token */
    size_t n_vocab;
    int n_buffers; /* that were made */
};

static struct result compute(struct layer *layer, const char *path)
{
    struct result result = {0};
    layer_reset(layer);
    struct hth_model *model = model_open(
        path, (struct hth_model_options){.device = "vulkan:0", .treat_as_discrete = true});
    struct hth_session *session;
    struct hth_session_options options = {
        .n_ctx = N_TOKENS, .n_batch = N_BATCH, .kv = HTH_KV_F32, .float_only = true};
    if (hth_session_open(&session, model, &options) != HTH_OK)
        fail_msg("%s", test_log_text());
    int32_t ids[N_TOKENS];
    result.n_vocab = (size_t)hth_model_get_info(model).n_vocab;
    for (int i = 0; i < N_TOKENS; i++)
        ids[i] = (i * 7919 + 13) % (int)result.n_vocab;
    struct hth_feed feed = {.ids = ids, .count = N_TOKENS};
    if (hth_session_feed(session, &feed, 1) != HTH_OK)
        fail_msg("%s", test_log_text());
    result.logits = mem_alloc(result.n_vocab * sizeof(float));
    assert_non_null(result.logits);
    memcpy(result.logits, hth_session_logits(session, 0), result.n_vocab * sizeof(float));
    hth_session_close(session);
    hth_model_close(model);
    for (size_t i = 0; i < layer->n_calls; i++)
        if (strcmp(layer->calls[i].name, "vkCreateBuffer") == 0)
            result.n_buffers = layer->calls[i].n_calls;
    return result;
}

static void check(const char *path, uint32_t piece_bytes)
{
    struct layer *layer = layer_use();
    struct result want = compute(layer, path);
    layer->max_range = piece_bytes;
    struct result got = compute(layer, path);
    layer->max_range = 0;
    printf("%s: %d buffers, %d in pieces\n", path, want.n_buffers, got.n_buffers);
    assert_true(got.n_buffers >= want.n_buffers + MORE_BUFFERS);
    double nmse = test_nmse(want.logits, got.logits, want.n_vocab);
    if (!(nmse <= 1e-12))
        fail_msg("%s: NMSE %g", path, nmse);
    mem_free(want.logits);
    mem_free(got.logits);
}

TEST(experts_q8_0)
{
    check("synth:tiny-moe:q8_0", 2 << 20);
}

TEST(experts_q4_k)
{
    check("synth:tiny-moe:q4_k", 1 << 20);
}

TEST(dense_f32)
{
    check("synth:tiny-llama:f32", 1 << 20);
}
