#include "logits.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"

/* cost: 30 */

/* However tokens come, a sequence has the logits that it has alone and all at once: fed in random
 * pieces, several sequences in one feed, cut and fed again, begun with the shared pages of another;
 * for each type of cache. */

enum { N_SEQS = 3, N_CTX = 160, N_BATCH = 48, N_VOCAB = 4096 };

/* The same sums in another order differ by rounding; where the cache is rounded, a value on the
 * edge falls to the other side now and then. */
static double tolerance(enum hth_kv_type kv)
{
    return kv == HTH_KV_F32 ? 1e-10 : kv == HTH_KV_F16 ? 1e-7 : 1e-5;
}

struct sequence {
    int32_t ids[N_CTX];
    int n;
    float *want; /* [n × N_VOCAB] */
};

struct fixture {
    struct hth_model *model;
    struct hth_session *session;
    enum hth_kv_type kv;
    struct sequence seqs[N_SEQS];
    struct rng rng;
    double worst;
};

static struct hth_session *open_session(const struct fixture *f, int n_batch)
{
    struct hth_session *session;
    struct hth_session_options options = {
        .n_ctx = N_CTX, .n_seqs = N_SEQS, .n_batch = n_batch, .kv = f->kv, .float_only = true};
    if (hth_session_open(&session, f->model, &options) != HTH_OK)
        fail_msg("%s", test_log_text());
    return session;
}

/* Each sequence alone in a session, in one batch. */
static void compute_wanted(struct fixture *f, struct sequence *seq)
{
    struct hth_session *session = open_session(f, N_CTX);
    const struct hth_feed feed = {.ids = seq->ids, .count = seq->n, .outputs = HTH_OUTPUT_ALL};
    assert_int_equal(hth_session_feed(session, &feed, 1), HTH_OK);
    assert_int_equal(hth_session_n_logits(session), seq->n);
    size_t n = (size_t)seq->n * N_VOCAB;
    seq->want = mem_alloc(n * sizeof(float));
    assert_non_null(seq->want);
    memcpy(seq->want, hth_session_logits(session, 0), n * sizeof(float));
    hth_session_close(session);
}

static void set_up(struct fixture *f, const char *device, enum hth_kv_type kv, uint64_t seed)
{
    *f = (struct fixture){.kv = kv, .rng = rng_seed(seed)};
    printf("seed %llu\n", (unsigned long long)seed);
    f->model = model_open("synth:tiny-moe:q8_0", (struct hth_model_options){.device = device});
    for (int s = 0; s < N_SEQS; s++) {
        struct sequence *seq = &f->seqs[s];
        seq->n = 70 + (int)rng_below(&f->rng, 40);
        for (int i = 0; i < N_CTX; i++)
            seq->ids[i] = (int32_t)rng_below(&f->rng, N_VOCAB);
        if (s == 1) /* begins like the first, for sharing; goes its own way from 64 + a few on */
            memcpy(seq->ids, f->seqs[0].ids, 67 * sizeof *seq->ids);
        compute_wanted(f, seq);
    }
    f->session = open_session(f, N_BATCH);
}

static void tear_down(struct fixture *f)
{
    printf("worst NMSE %.1e (at most %.0e)\n", f->worst, tolerance(f->kv));
    for (int s = 0; s < N_SEQS; s++)
        mem_free(f->seqs[s].want);
    hth_session_close(f->session);
    hth_model_close(f->model);
}

/* Logits from `index` on against rows [first, first + n) of a sequence. */
static void compare(struct fixture *f, int s, int first, int n, int index)
{
    for (int i = 0; i < n; i++) {
        const float *got = hth_session_logits(f->session, index + i);
        assert_non_null(got);
        double nmse = test_nmse(f->seqs[s].want + (size_t)(first + i) * N_VOCAB, got, N_VOCAB);
        f->worst = nmse > f->worst ? nmse : f->worst;
        if (!(nmse <= tolerance(f->kv)))
            fail_msg("sequence %d, position %d: NMSE %g", s, first + i, nmse);
    }
}

static int rows_of(const struct hth_feed *feed)
{
    int last = feed->n_last > 1 ? feed->n_last : 1;
    return feed->outputs == HTH_OUTPUT_ALL    ? feed->count
           : feed->outputs == HTH_OUTPUT_NONE ? 0
           : last < feed->count               ? last
                                              : feed->count;
}

/* A feed of some sequences, in random order, by random counts, wanting all, some or no logits.
 * Returns false when every sequence is at its end. */
static bool feed_some(struct fixture *f)
{
    static const int sizes[] = {1, 1, 2, 5, 7, 16, 17, 40, 64};
    struct hth_feed feeds[N_SEQS];
    int n_feeds = 0, first = (int)rng_below(&f->rng, N_SEQS);
    for (int k = 0; k < N_SEQS; k++) {
        int s = (first + k) % N_SEQS, at = hth_session_length(f->session, s);
        int left = f->seqs[s].n - at;
        int n = sizes[rng_below(&f->rng, ARRAY_LEN(sizes))];
        if (left == 0 || (rng_below(&f->rng, 3) == 0 && k > 0))
            continue;
        feeds[n_feeds++] = (struct hth_feed){.seq = s,
                                             .ids = f->seqs[s].ids + at,
                                             .count = n < left ? n : left,
                                             .outputs = (enum hth_outputs)rng_below(&f->rng, 3),
                                             .n_last = (int)rng_below(&f->rng, 5)};
    }
    if (n_feeds == 0) {
        for (int s = 0; s < N_SEQS; s++)
            if (hth_session_length(f->session, s) < f->seqs[s].n)
                return true;
        return false;
    }
    if (hth_session_feed(f->session, feeds, n_feeds) != HTH_OK)
        fail_msg("%s", test_log_text());
    int index = 0;
    for (int i = 0; i < n_feeds; i++) {
        int rows = rows_of(&feeds[i]), end = hth_session_length(f->session, feeds[i].seq);
        compare(f, feeds[i].seq, end - rows, rows, index);
        index += rows;
    }
    assert_int_equal(hth_session_n_logits(f->session), index);
    assert_null(hth_session_logits(f->session, index));
    return true;
}

/* Some sequence forgets its end, or begins anew with what another has. */
static void cut_or_share(struct fixture *f)
{
    int s = (int)rng_below(&f->rng, N_SEQS), length = hth_session_length(f->session, s);
    if (rng_below(&f->rng, 2) == 0) {
        int to = (int)rng_below(&f->rng, (uint32_t)length + 1);
        int got = hth_session_truncate(f->session, s, to);
        assert_in_range(got, 0, to);
        assert_int_equal(hth_session_length(f->session, s), got);
    } else if (s < 2) { /* 0 and 1 begin alike */
        int got = hth_session_share(f->session, s, 1 - s, 67);
        assert_true(got == 0 || got == 64);
        assert_int_equal(hth_session_length(f->session, s), got);
    }
}

static void check(const char *device, enum hth_kv_type kv, int n_rounds)
{
    struct fixture f;
    set_up(&f, device, kv, 1 + (uint64_t)kv);
    for (int round = 0; round < n_rounds; round++) {
        for (int s = 0; s < N_SEQS; s++)
            assert_int_equal(hth_session_truncate(f.session, s, 0), 0);
        for (int step = 0; feed_some(&f); step++)
            if (step < 20 && rng_below(&f.rng, 3) == 0)
                cut_or_share(&f);
    }
    tear_down(&f);
}

TEST(f32)
{
    check("cpu", HTH_KV_F32, 2);
}

TEST(f16)
{
    check("cpu", HTH_KV_F16, 1);
}

TEST(q8_0)
{
    check("cpu", HTH_KV_Q8_0, 1);
}

TEST(q4_0)
{
    check("cpu", HTH_KV_Q4_0, 1);
}

TEST(f32_vulkan)
{
    check(test_device(), HTH_KV_F32, 2);
}

TEST(f16_vulkan)
{
    check(test_device(), HTH_KV_F16, 1);
}

TEST(q8_0_vulkan)
{
    check(test_device(), HTH_KV_Q8_0, 1);
}

TEST(q4_0_vulkan)
{
    check(test_device(), HTH_KV_Q4_0, 1);
}

/* Pages are shared for real: the second sequence is there at once, and neither disturbs the other.
 */
static void check_sharing(const char *device)
{
    struct fixture f;
    set_up(&f, device, HTH_KV_F32, 9);
    struct sequence *a = &f.seqs[0], *b = &f.seqs[1];
    struct hth_feed whole = {.ids = a->ids, .count = a->n};
    assert_int_equal(hth_session_feed(f.session, &whole, 1), HTH_OK);
    compare(&f, 0, a->n - 1, 1, 0);
    assert_int_equal(hth_session_share(f.session, 1, 0, 67), 64);
    struct hth_feed rest = {.seq = 1, .ids = b->ids + 64, .count = b->n - 64};
    rest.outputs = HTH_OUTPUT_ALL;
    assert_int_equal(hth_session_feed(f.session, &rest, 1), HTH_OK);
    compare(&f, 1, 64, b->n - 64, 0);
    /* A cut inside the shared page leaves it to the other. */
    assert_int_equal(hth_session_truncate(f.session, 0, 30), 0);
    struct hth_feed other = {.ids = f.seqs[2].ids, .count = f.seqs[2].n};
    assert_int_equal(hth_session_feed(f.session, &other, 1), HTH_OK);
    compare(&f, 2, f.seqs[2].n - 1, 1, 0);
    assert_int_equal(hth_session_truncate(f.session, 1, b->n - 1), b->n - 1);
    struct hth_feed last = {.seq = 1, .ids = b->ids + b->n - 1, .count = 1};
    assert_int_equal(hth_session_feed(f.session, &last, 1), HTH_OK);
    compare(&f, 1, b->n - 1, 1, 0);
    tear_down(&f);
}

TEST(sharing)
{
    check_sharing("cpu");
}

TEST(sharing_vulkan)
{
    check_sharing(test_device());
}
