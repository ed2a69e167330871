#include "logits.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/engine.h"

void golden_open(struct golden *out, const char *path)
{
    *out = (struct golden){0};
    test_log_clear();
    if (gguf_open(&out->gguf, path, test_log()) != HTH_OK)
        fail_msg("%s", test_log_text());
    const struct gguf_tensor *tokens = gguf_tensor_find(out->gguf, "tokens");
    const struct gguf_tensor *logits = gguf_tensor_find(out->gguf, "logits");
    assert_true(tokens && logits);
    out->tokens = tokens->data;
    out->logits = logits->data;
    out->n_tokens = (int)tokens->ne[0];
    out->n_vocab = (int)logits->ne[0];
    out->n_rows = (int)logits->ne[1];
    out->first = out->n_tokens - out->n_rows;
    double nmse;
    if (gguf_get_f64(gguf_key_find(out->gguf, "golden.nmse_f16_activations"), 0, &nmse))
        out->nmse_f16 = nmse;
}

void golden_close(struct golden *golden)
{
    gguf_close(golden->gguf);
    *golden = (struct golden){0};
}

struct hth_model *model_open(const char *path, struct hth_model_options options)
{
    struct hth_model *model;
    options.self_test_s = -1; /* rows have tests of their own */
    options.log = test_log()->write;
    options.log_user = test_log()->user;
    options.log_level = HTH_LOG_WARNING;
    test_log_clear();
    if (hth_model_open(&model, path, &options) != HTH_OK)
        fail_msg("%s: %s", path, test_log_text());
    return model;
}

float *logits_compute(struct hth_model *model, const struct golden *golden,
                      const struct logits_run *run)
{
    int piece = run->piece ? run->piece : golden->n_tokens;
    size_t n_vocab = (size_t)golden->n_vocab;
    float *out = mem_calloc((size_t)golden->n_rows * n_vocab, sizeof *out);
    assert_non_null(out);
    struct hth_session_options options = {
        .n_ctx = golden->n_tokens, .n_batch = piece, .kv = run->kv, .float_only = run->float_only};
    struct hth_session *session;
    if (hth_session_open(&session, model, &options) != HTH_OK)
        fail_msg("%s", test_log_text());
    assert_int_equal(hth_model_get_info(model).n_vocab, golden->n_vocab);
    for (int at = 0; at < golden->n_tokens; at += piece) {
        int n = golden->n_tokens - at < piece ? golden->n_tokens - at : piece;
        int skip = golden->first > at ? golden->first - at : 0;
        struct hth_feed feed = {.ids = golden->tokens + at,
                                .count = n,
                                .outputs = skip >= n ? HTH_OUTPUT_NONE : HTH_OUTPUT_LAST,
                                .n_last = n - skip};
        if (hth_session_feed(session, &feed, 1) != HTH_OK)
            fail_msg("tokens from %d: %s", at, test_log_text());
        assert_int_equal(hth_session_n_logits(session), skip >= n ? 0 : n - skip);
        for (int i = 0; i < n - skip; i++)
            memcpy(out + (size_t)(at + skip + i - golden->first) * n_vocab,
                   hth_session_logits(session, i), n_vocab * sizeof *out);
    }
    hth_session_close(session);
    return out;
}

void logits_top(const float *row, size_t n, size_t top[2])
{
    top[0] = row[1] > row[0];
    top[1] = !top[0];
    for (size_t i = 2; i < n; i++) {
        if (row[i] > row[top[0]]) {
            top[1] = top[0];
            top[0] = i;
        } else if (row[i] > row[top[1]]) {
            top[1] = i;
        }
    }
}

static uint64_t mix(uint64_t hash, uint64_t with)
{
    return (hash ^ with) * 0x9e3779b97f4a7c15u ^ hash >> 29;
}

int random_place(void *user, const char *tensor, int expert)
{
    struct random_places *places = user;
    int layer = -1;
    uint64_t hash = mix(places->seed, 1);
    sscanf(tensor, "blk.%d.", &layer);
    bool by_layer = places->mode == PLACE_LAYERS && layer >= 0;
    if (by_layer || (places->mode == PLACE_EACH_EXPERT && expert >= 0))
        hash = mix(mix(hash, (uint64_t)layer), by_layer ? 0 : (uint64_t)expert);
    else
        for (const char *c = tensor; *c; c++)
            hash = mix(hash, (uint64_t)*c);
    int n = places->n_gpus, device = (int)((hash >> 41) % (uint64_t)(n + 1));
    if (places->mode == PLACE_EXPERTS_APART)
        device = expert < 0 ? 1 + (int)((hash >> 41) % (uint64_t)n) : 0;
    places->n[device]++;
    return device;
}

/* Tests ask Mesa for subgroups of another width; whether it heard, only the device tells. */
static void check_width(const struct vk_caps *caps)
{
    const char *width = getenv("LP_NATIVE_VECTOR_WIDTH");
    if (width && (uint32_t)atoi(width) != 32 * caps->subgroup_default)
        fail_msg("subgroups are of %u, and vectors of %s bits were asked for",
                 (unsigned)caps->subgroup_default, width);
}

static int first_software_device(void)
{
    struct vk_caps *devices;
    uint32_t count;
    const char *why;
    assert_int_equal(vk_list(&devices, &count, &why, test_log()), HTH_OK);
    int found = -1;
    for (uint32_t i = 0; i < count && found < 0; i++)
        if (devices[i].kind == VK_KIND_SOFTWARE)
            found = (int)i;
    if (found >= 0)
        check_width(&devices[found]);
    mem_free(devices);
    if (found < 0)
        test_skip_device("no software device: %s", why ? why : "only others are there");
    return found;
}

const char *test_device(void)
{
    static char name[32];
    const char *number = getenv("HEARTH_TEST_DEVICE"), *software = getenv("HEARTH_TEST_SOFTWARE");
    const char *nothing = getenv("HEARTH_TEST_NOTHING_RUNS");
    if (nothing && strcmp(nothing, "1") == 0)
        test_skip("the device computes nothing");
    bool by_number = number && *number;
    if (!by_number && (!software || strcmp(software, "1") != 0))
        test_skip_device(
            "no device: set HEARTH_TEST_DEVICE to its number, or HEARTH_TEST_SOFTWARE=1");
    snprintf(name, sizeof name, "vulkan:%d", by_number ? atoi(number) : first_software_device());
    return name;
}

int model_tune(struct hth_model *model, int n_tokens, const struct table_entry *as)
{
    struct model_device *device = &model->devices[1];
    const struct row_env env = {.caps = vk_get_caps(device->vk), .n_seqs = 1};
    struct kv_geom kv[64];
    struct graph graph;
    struct table_entry own = *as;
    assert_true(model->n_devices > 1 && model->model->hp.n_layer <= 64);
    model_kv_geometry(model->model, &dtype_f16, kv);
    assert_true(kv_layout(kv, model->model->hp.n_layer, test_log()) > 0);
    assert_int_equal(whole_build(model->model, kv, &graph, (struct batch_size){n_tokens, 1, 0}),
                     HTH_OK);
    assert_int_equal(compile_fuse(&graph, &env), HTH_OK);
    for (size_t i = 0; i < graph.n_ops; i++)
        if (table_class(&env, graph.ops[i], own.class, sizeof own.class))
            *table_add(&device->kernels.table, own.class) = own;
    graph_free(&graph);
    assert_int_equal(kernels_store(&device->kernels, test_log()), HTH_OK);
    return (int)device->kernels.table.n;
}
