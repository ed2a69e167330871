/* What comes of a batch: logits, or the best of them; whether they can be used, and where they
 * stay. */
#include "engine/session_part.h"

#include <string.h>

#include "base/mem.h"
#include "op/top_k.h"

_Static_assert((int)HTH_BEST_MOST == (int)TOP_K_MOST,
               "what a feed may ask for is what the op gives");

static size_t n_vocab_of(const struct hth_session *session)
{
    return (size_t)session->model->model->hp.n_vocab;
}

/* 32-bit words of an output. */
static size_t words_of(const struct hth_session *session, int n_best)
{
    return n_best ? (size_t)top_k_words(n_best) : n_vocab_of(session);
}

/* What all that is wanted of these feeds can be taken from. */
static int best_wanted(const struct hth_session *session, const struct hth_feed *feeds, int n_feeds)
{
    int most = 0;
    for (int f = 0; f < n_feeds; f++) {
        int n = feeds[f].n_best;
        if (feeds[f].outputs == HTH_OUTPUT_NONE || feeds[f].count == 0)
            continue;
        if (n < 1 || n > HTH_BEST_MOST || (size_t)n >= n_vocab_of(session))
            return 0;
        most = n > most ? n : most;
    }
    return most;
}

void session_results_begin(struct hth_session *session, const struct hth_feed *feeds, int n_feeds)
{
    session->results.n = 0;
    session->results.n_best = best_wanted(session, feeds, n_feeds);
}

enum hth_status session_results_reserve(struct hth_session *session, size_t n)
{
    struct session_results *results = &session->results;
    size_t words = n * words_of(session, results->n_best);
    void *grown = mem_grow(results->rows, &results->capacity, words, sizeof(float));
    if (!grown)
        return log_fail_memory(&session->model->keeping.log, "logits", words * sizeof(float));
    results->rows = grown;
    return HTH_OK;
}

/* Numbers that an answer can be drawn from: finite, and not all of them zero. Compared as integers,
 * which order as their magnitudes do. */
static bool is_usable(const float *logits, size_t n)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    return largest > 0 && largest < 0x7f800000;
}

static bool are_usable(const struct hth_session *session, const struct batch *batch,
                       const void *result)
{
    size_t words = words_of(session, batch->n_best);
    bool usable = true;
    for (size_t i = 0; i < (size_t)batch->n_outputs; i++)
        usable &= batch->n_best ? ((const int32_t *)result)[i * words] >= 0
                                : is_usable((const float *)result + i * words, words);
    return usable;
}

/* Adds what a batch made; logits of which only the best are wanted become these here. */
static enum hth_status keep(struct hth_session *session, const struct batch *batch,
                            const void *result)
{
    struct session_results *results = &session->results;
    size_t n = (size_t)batch->n_outputs, words = words_of(session, results->n_best);
    enum hth_status status = session_results_reserve(session, results->n + n);
    if (status)
        return status;
    int32_t *rows = (int32_t *)results->rows + results->n * words;
    if (batch->n_best == results->n_best)
        memcpy(rows, result, n * words * sizeof *rows);
    for (size_t i = 0; i < n && batch->n_best != results->n_best; i++)
        top_k_row((const float *)result + i * n_vocab_of(session), (int64_t)n_vocab_of(session),
                  results->n_best, rows + i * words);
    results->n += n;
    return HTH_OK;
}

static enum hth_status run(struct hth_session *session, struct batch *batch, const void **result)
{
    uint64_t before = session_read_bytes(session);
    int wanted = batch->n_outputs ? session->results.n_best : session->opt.n_best;
    batch->n_best = session->chooses ? wanted : 0;
    enum hth_status status = session_run(session, batch, result);
    atomic_fetch_add(&session->read_bytes, session_read_bytes(session) - before);
    return status;
}

/* What came of wrong kernels may be in any page since the first batch. */
static void become_plain(struct hth_session *session)
{
    session->plain = true;
    session_doubt(session);
    session_leave(session, true);
}

enum hth_status session_compute(struct hth_session *session, struct batch *batch, bool *again)
{
    const struct log *log = &session->model->log;
    const void *result = NULL;
    const char *what = "are not all finite numbers, or all zero";
    enum hth_status status = run(session, batch, &result);
    if (status || !batch->n_outputs)
        return status;
    if (are_usable(session, batch, result))
        return keep(session, batch, result);
    *again = session_has_gpu(session) && !session->plain;
    if (!*again)
        return log_fail(log, HTH_ERROR_FORMAT, "the logits %s: the answer stops here; %s", what,
                        session_has_gpu(session)
                            ? "use --device cpu, and if it is right there, send what hearth "
                              "selftest prints"
                            : "the model's file may be broken");
    log_warning(log,
                "the logits %s: tried again with the plainest kernels of %s, which this "
                "session keeps; hearth selftest tells which kernels are wrong",
                what, session->model->told.info.device);
    become_plain(session);
    return HTH_OK;
}

const float *hth_session_logits(const struct hth_session *session, int index)
{
    const struct session_results *results = &session->results;
    if (results->n_best || index < 0 || (size_t)index >= results->n)
        return NULL;
    return (const float *)results->rows + (size_t)index * n_vocab_of(session);
}

struct hth_best hth_session_best(const struct hth_session *session, int index)
{
    const struct session_results *results = &session->results;
    if (!results->n_best || index < 0 || (size_t)index >= results->n)
        return (struct hth_best){0};
    const int32_t *ids =
        (const int32_t *)results->rows + (size_t)index * words_of(session, results->n_best);
    struct hth_best best = {.count = results->n_best, .ids = ids};
    if (best.count > 1)
        best.logits = (const float *)(const void *)(ids + best.count);
    return best;
}

int hth_session_n_logits(const struct hth_session *session)
{
    return (int)session->results.n;
}
