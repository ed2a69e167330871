/* The stopwatch on the device at hand: it times the op it is given, computed as it should be, and
 * tells what is slow from what is not. */
#include "gpu/stopwatch.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "logits.h"
#include "products.h"

enum { N_CTX = 1024 };

static struct vk *open_device(void)
{
    struct vk *vk;
    const struct vk_options options = {.index = atoi(test_device() + strlen("vulkan:")),
                                       .no_disk_cache = true};
    assert_int_equal(vk_open(&vk, &options, test_log()), HTH_OK);
    return vk;
}

static const struct row *row_named(const char *name)
{
    size_t i = 0;
    while (row_at(i, NULL) && strcmp(row_at(i, NULL)->name, name) != 0)
        i++;
    assert_non_null(row_at(i, NULL));
    return row_at(i, NULL);
}

static struct row_pick pick_of(struct vk *vk, const struct op *op, const char *row)
{
    const struct row_env env = {.caps = vk_get_caps(vk), .n_seqs = 1};
    struct row_pick pick = {.row = row_named(row)};
    assert_true(row_fits(&env, pick.row, op, &pick.choice));
    return pick;
}

/* In its place: a case has pointers into itself. */
static void open_watch(struct stopwatch *watch, struct vk *vk, const struct op *op, const char *row,
                       int n_tokens)
{
    const struct row_pick pick = pick_of(vk, op, row);
    *watch = (struct stopwatch){.vk = vk, .log = test_log()};
    if (stopwatch_open(watch, op, &pick, n_tokens, N_CTX) != HTH_OK)
        fail_msg("%s: %s", row, test_log_text());
}

static struct stopwatch_time time_of(struct stopwatch *watch, const struct op *op, const char *row)
{
    struct stopwatch_time time;
    const struct row_pick pick = pick_of(watch->vk, op, row);
    if (stopwatch_time(watch, &pick, &time) != HTH_OK)
        fail_msg("%s: %s", row, test_log_text());
    assert_true(time.own > 0 && time.own < 60e9);
    return time;
}

/* The least of several: others may compute meanwhile. */
static struct stopwatch_time least_time_of(struct stopwatch *watch, const struct op *op,
                                           const char *row)
{
    struct stopwatch_time least = time_of(watch, op, row);
    for (int i = 0; i < 10; i++) {
        struct stopwatch_time time = time_of(watch, op, row);
        least.own = time.own < least.own ? time.own : least.own;
        least.helpers = time.helpers < least.helpers ? time.helpers : least.helpers;
    }
    return least;
}

/* What the last run left on the device is what the reference makes of the same inputs. */
static void check_results(const struct stopwatch *watch, const struct op *op, int n_tokens,
                          const char *row)
{
    struct selftest_case c;
    struct selftest_size size = watch->c.size;
    struct selftest_result result;
    size.given_only = false;
    assert_int_equal(selftest_case_create(&c, op, n_tokens, &size, test_log()), HTH_OK);
    assert_int_equal(selftest_case_fill(&c, test_log()), HTH_OK);
    assert_int_equal(c.map.size_bytes, watch->c.map.size_bytes);
    assert_int_equal(
        vk_download(watch->vk, watch->activations, 0, c.got, (uint64_t)c.map.size_bytes), HTH_OK);
    selftest_case_judge(&c, row_named(row), &result);
    if (result.verdict != SELFTEST_RIGHT)
        fail_msg("%s: NMSE %g, allowed %g", row, result.nmse, result.tolerance);
    selftest_case_free(&c);
}

static void check_timed(struct vk *vk, const struct op *op, const char *row, int n_tokens)
{
    struct stopwatch watch;
    open_watch(&watch, vk, op, row, n_tokens);
    (void)time_of(&watch, op, row);
    check_results(&watch, op, n_tokens, row);
    stopwatch_close(&watch);
}

TEST(what_is_timed_is_computed_vulkan)
{
    struct vk *vk = open_device();
    struct product p;
    product_begin(&p, &dtype_q8_0, 300, 512, 1);
    check_timed(vk, p.op, "matvec_f32", 1);
    product_end(&p);
    product_begin(&p, &dtype_q4_k, 300, 512, 40);
    check_timed(vk, p.op, "matmul_f32", 40);
    check_timed(vk, p.op, "matmul_f16", 40); /* with a helper */
    product_end(&p);
    product_begin_experts(&p, &dtype_q4_0, 96, 256, 40, 8);
    check_timed(vk, p.op, "matmul_f32", 40);
    product_end(&p);
    vk_close(vk);
}

/* What is timed while others compute seems long, and of what is long one copy is enough. */
static void open_copies(struct stopwatch *watch, struct vk *vk, const struct op *op,
                        const char *row)
{
    open_watch(watch, vk, op, row, 1);
    for (int i = 0; i < 50 && watch->n_copies == 1; i++) {
        stopwatch_close(watch);
        open_watch(watch, vk, op, row, 1);
    }
}

/* Copies have caches of their own; a context that is full, and one that is short. */
TEST(attention_is_computed_vulkan)
{
    struct vk *vk = open_device();
    const struct attends shape = {8, 2, 64, 64, 0};
    struct product p;
    struct stopwatch watch;
    product_begin_attention(&p, &dtype_f16, &shape, 1);
    open_copies(&watch, vk, p.op, "attention_f16");
    (void)time_of(&watch, p.op, "attention_f16");
    assert_true(watch.n_copies > 1 && watch.caches[watch.n_copies - 1] != watch.caches[0]);
    assert_true(watch.c.n_pages > 1 && watch.c.n_pages <= N_CTX / KV_PAGE);
    check_results(&watch, p.op, 1, "attention_f16");
    stopwatch_close(&watch);
    product_end(&p);
    product_begin_attention(&p, &dtype_q8_0, &shape, 40);
    check_timed(vk, p.op, "attention_q8_0", 40);
    product_end(&p);
    /* more tokens than it has room for */
    product_begin_attention(&p, &dtype_f16, &(struct attends){1, 1, 8, 8, 0}, 9000);
    open_watch(&watch, vk, p.op, "attention_f16", 9000);
    assert_int_equal(watch.c.graph.n_tokens, STOPWATCH_POSITIONS);
    stopwatch_close(&watch);
    product_end(&p);
    vk_close(vk);
}

/* What a token sees decides how long it takes, to the length of the context. */
TEST(longer_contexts_take_longer_vulkan)
{
    struct vk *vk = open_device();
    struct product p;
    product_begin_attention(&p, &dtype_f32, &(struct attends){32, 8, 128, 128, 0}, 1);
    const struct row_pick pick = pick_of(vk, p.op, "attention_f32");
    double own[2];
    for (int i = 0; i < 2; i++) {
        struct stopwatch watch = {.vk = vk, .log = test_log()};
        int n_ctx = i ? 16 * KV_PAGE : KV_PAGE;
        assert_int_equal(stopwatch_open(&watch, p.op, &pick, 1, n_ctx), HTH_OK);
        own[i] = least_time_of(&watch, p.op, "attention_f32").own;
        assert_true(watch.c.n_pages <= n_ctx / KV_PAGE);
        stopwatch_close(&watch);
    }
    print_message("%.0f µs, %.0f µs\n", own[0] / 1e3, own[1] / 1e3);
    assert_true(own[1] > 1.5 * own[0]);
    product_end(&p);
    vk_close(vk);
}

/* One column by a tile of many, and by rows made for one. */
TEST(what_is_slow_takes_longer_vulkan)
{
    struct vk *vk = open_device();
    struct product p;
    product_begin(&p, &dtype_q4_0, 1024, 2048, 1);
    struct stopwatch watch;
    open_watch(&watch, vk, p.op, "matvec_f32", 1);
    double fast = least_time_of(&watch, p.op, "matvec_f32").own;
    double slow = least_time_of(&watch, p.op, "matmul_f32").own;
    double again = least_time_of(&watch, p.op, "matvec_f32").own;
    print_message("matvec %.0f µs, tile %.0f µs, matvec %.0f µs\n", fast / 1e3, slow / 1e3,
                  again / 1e3);
    assert_true(slow > 1.5 * fast && slow > 1.5 * again);
    stopwatch_close(&watch);
    product_end(&p);
    vk_close(vk);
}

/* Halves are made by a helper, which is no part of the op's own time. */
TEST(helpers_are_told_apart_vulkan)
{
    struct vk *vk = open_device();
    struct product p;
    product_begin(&p, &dtype_q4_0, 256, 1024, 64);
    struct stopwatch watch;
    open_watch(&watch, vk, p.op, "matmul_f32", 64);
    const struct stopwatch_time floats = least_time_of(&watch, p.op, "matmul_f32");
    const struct stopwatch_time halves = least_time_of(&watch, p.op, "matmul_f16");
    assert_true(halves.helpers > 2 * floats.helpers);
    assert_true(halves.own > halves.helpers);
    stopwatch_close(&watch);
    product_end(&p);
    vk_close(vk);
}

/* Each of more experts than are timed gets as many tokens as it would. */
TEST(tokens_of_an_expert_vulkan)
{
    struct vk *vk = open_device();
    struct product p;
    product_begin_experts(&p, &dtype_q4_0, 64, 64, 512, 512);
    struct stopwatch watch;
    open_watch(&watch, vk, p.op, "matmul_f32", 512);
    int64_t n_experts = watch.c.op->in[0]->ne[2];
    assert_true(n_experts < 512);
    assert_int_equal(watch.c.graph.n_tokens, n_experts); /* as there would be of all */
    stopwatch_close(&watch);
    product_end(&p);
    product_begin_experts(&p, &dtype_q4_0, 64, 64, 4, 512);
    open_watch(&watch, vk, p.op, "matvec_f32", 4);
    assert_int_equal(watch.c.graph.n_tokens, 4);
    stopwatch_close(&watch);
    product_end(&p);
    vk_close(vk);
}

/* More shapes than it keeps: the first is made again. */
TEST(more_shapes_than_laps_vulkan)
{
    struct vk *vk = open_device();
    struct product p;
    product_begin(&p, &dtype_q4_0, 128, 256, 64);
    const struct row_env env = {.caps = vk_get_caps(vk), .n_seqs = 1};
    struct stopwatch watch;
    open_watch(&watch, vk, p.op, "matmul_f32", 64);
    struct row_pick pick = {.row = row_named("matmul_f32")};
    int n = 0;
    for (uint32_t i = 0; i < 4 * 4 * 4; i++) {
        uint32_t values[ROW_MAX_KNOBS] = {0};
        for (int k = 0; k < 3; k++)
            values[k] = pick.row->knobs[k].values[i >> 2 * k & 3];
        if (!row_turn(&env, pick.row, p.op, values, &pick.choice))
            continue;
        assert_int_equal(stopwatch_prepare(&watch, &pick), HTH_OK);
        n++;
    }
    assert_true(n > STOPWATCH_LAPS);
    (void)time_of(&watch, p.op, "matmul_f32");
    check_results(&watch, p.op, 64, "matmul_f32");
    stopwatch_close(&watch);
    product_end(&p);
    vk_close(vk);
}
