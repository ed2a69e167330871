/* A model from a stranger, all the way: opened, a message in its template, a session, a few tokens
 * on the CPU, logits read, one drawn as the file advises, and its text. The input is a GGUF file,
 * or else a recipe for one (made_model.h) after a few bytes that choose tokens, the session's
 * options, which allocation fails and whether the model has a vocabulary. Evaluated at once, token
 * by token, and at once again: the same work must give the same bits, or memory was read that
 * nobody wrote. (How batches round is not compared: such weights make much of little.) */
#define _POSIX_C_SOURCE 200809L

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "hearth/hearth.h"
#include "fuzz_log.h"
#include "made_model.h"
#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_TOKENS = 4, MAX_MEMORY = 64 << 20, MAX_PROMPT = 4096 };

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* --- bounds ----------------------------------------------------------------------------------- */

/* All that is asked for counts, given back or not; and one allocation may fail for no reason. */
struct allowance {
    size_t left;
    uint32_t countdown; /* 0: none fails */
};

static bool grant(void *user, size_t size)
{
    struct allowance *allowance = user;
    if (size > allowance->left || (allowance->countdown && --allowance->countdown == 0))
        return false;
    allowance->left -= size;
    return true;
}

/* --- a file ----------------------------------------------------------------------------------- */

/* One file without a name for all inputs: nothing is left behind. */
static const char *write_file(struct str bytes)
{
    static char path[64];
    static int file = -1;
    if (file < 0) {
        char in_memory[] = "/dev/shm/fuzz-eval-XXXXXX", on_disk[] = "/tmp/fuzz-eval-XXXXXX";
        file = mkstemp(in_memory);
        bool slow = file < 0;
        if (slow)
            file = mkstemp(on_disk);
        require(file >= 0 && unlink(slow ? on_disk : in_memory) == 0);
        snprintf(path, sizeof path, "/dev/fd/%d", file);
    }
    require(ftruncate(file, 0) == 0);
    require(pwrite(file, bytes.ptr, bytes.len, 0) == (ssize_t)bytes.len);
    return path;
}

/* --- text ------------------------------------------------------------------------------------- */

/* A token as the program writes it: through a stream that ends at stop texts, and by itself. */
static void speak(const struct hth_model *model, int32_t id)
{
    static const char *const stops[] = {"<|im_end|>", "he", "\n\n"};
    struct hth_stream *stream;
    char *text;
    const char *part;
    size_t len;
    for (int special = 0; special < 2; special++) {
        if (fuzz_log_check(hth_detokenize(model, &id, 1, special, &text, &len)) == HTH_OK)
            require(text[len] == '\0');
        hth_free(text);
    }
    if (fuzz_log_check(hth_stream_create(&stream, model)) != HTH_OK)
        return;
    if (fuzz_log_check(hth_stream_stop_at(stream, stops, ARRAY_LEN(stops))) == HTH_OK) {
        for (int i = 0; i < 3; i++)
            if (fuzz_log_check(hth_stream_push(stream, id, &part, &len)) == HTH_OK)
                require(utf8_valid((struct str){part, len}));
        if (fuzz_log_check(hth_stream_end(stream, &part, &len)) == HTH_OK)
            require(utf8_valid((struct str){part, len}) && !hth_stream_stopped(stream));
    }
    hth_stream_destroy(stream);
}

/* A message by the file's template, and as tokens. */
static void ask(const struct hth_model *model)
{
    static const struct hth_message message = {"user", "he said:  <|im_end|>\n"};
    char *text;
    int32_t *ids;
    size_t len, count;
    if (fuzz_log_check(hth_render_chat(model, &message, 1, true, &text, &len)) != HTH_OK)
        return;
    require(utf8_valid((struct str){text, len}));
    len = len < MAX_PROMPT ? len : MAX_PROMPT;
    if (fuzz_log_check(hth_tokenize(model, text, len, true, true, &ids, &count)) == HTH_OK)
        for (size_t i = 0; i < count; i++)
            hth_token_is_end(model, ids[i]);
    hth_free(ids);
    hth_free(text);
}

/* --- evaluation ------------------------------------------------------------------------------- */

static void draw_by(const struct hth_model *model, const struct hth_session *session,
                    const struct hth_sampler_options *options)
{
    struct hth_sampler *sampler;
    int32_t id = -1;
    if (fuzz_log_check(hth_sampler_create(&sampler, model, options)) != HTH_OK)
        return;
    if (fuzz_log_check(hth_sample(sampler, session, 0, &id)) == HTH_OK) {
        require(id >= 0 && id < hth_model_get_info(model).n_vocab);
        speak(model, id);
    }
    hth_sampler_destroy(sampler);
}

/* As usual, and as the file advises, which must be options that are good. */
static void draw(const struct hth_model *model, const struct hth_session *session)
{
    const struct hth_sampler_options usual = {.temp = 0.8f, .top_k = 5, .top_p = 0.9f};
    const struct hth_sampler_options advice = hth_model_get_sampling(model);
    draw_by(model, session, &usual);
    require(fuzz_log_check(hth_sampler_check(&advice, fuzz_log_write, NULL)) == HTH_OK);
    draw_by(model, session, &advice);
}

/* Feeds all tokens, so many at once, and keeps the logits of the last. */
static bool feed(struct hth_model *model, const struct hth_session_options *options,
                 const int32_t *ids, int n_at_once, float *logits)
{
    int n_vocab = hth_model_get_info(model).n_vocab;
    struct hth_session *session;
    enum hth_status status = hth_session_open(&session, model, options);
    for (int at = 0; status == HTH_OK && at < N_TOKENS; at += n_at_once) {
        int n = N_TOKENS - at < n_at_once ? N_TOKENS - at : n_at_once;
        struct hth_feed feed = {.ids = ids + at, .count = n};
        status = hth_session_feed(session, &feed, 1);
        require(hth_session_length(session, 0) == (status == HTH_OK ? at + n : at));
    }
    if (fuzz_log_check(status) == HTH_OK) {
        require(hth_session_n_logits(session) == 1 && !hth_session_logits(session, 1));
        memcpy(logits, hth_session_logits(session, 0), (size_t)n_vocab * sizeof *logits);
        draw(model, session);
    }
    hth_session_close(session);
    return status == HTH_OK;
}

static void evaluate(struct hth_model *model, struct recipe *choices)
{
    static const enum hth_kv_type kv[] = {HTH_KV_F16, HTH_KV_F32, HTH_KV_Q8_0, HTH_KV_Q4_0};
    int n_vocab = hth_model_get_info(model).n_vocab;
    unsigned form = recipe_byte(choices);
    struct hth_session_options options = {.n_ctx = N_TOKENS + (int)(form >> 3) % 4,
                                          .n_batch = 1 + (int)(form >> 5),
                                          .kv = kv[form % 4 % ARRAY_LEN(kv)],
                                          .float_only = form & 4};
    int32_t ids[N_TOKENS];
    for (int i = 0; i < N_TOKENS; i++)
        ids[i] = (int32_t)(recipe_byte(choices) * 7u % (unsigned)n_vocab);
    size_t bytes = (size_t)n_vocab * sizeof(float);
    float *first = mem_alloc(bytes), *again = mem_alloc(bytes);
    ask(model);
    if (first && again && feed(model, &options, ids, N_TOKENS, first) &&
        feed(model, &options, ids, 1, again) && feed(model, &options, ids, N_TOKENS, again))
        require(memcmp(first, again, bytes) == 0);
    mem_free(first);
    mem_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t usual[] = {0, 0, 2, 3, 5, 7, 1};
    struct recipe recipe = {data, size}, choices = {usual + 1, sizeof usual - 1};
    struct strbuf made = {0};
    struct allowance allowance = {.left = MAX_MEMORY};
    struct str file = {(const char *)data, size};
    if (size < sizeof usual)
        return 0;
    if (!str_starts_with(file, STR("GGUF"))) {
        choices = (struct recipe){data + 1, sizeof usual - 1};
        recipe = (struct recipe){data + sizeof usual, size - sizeof usual};
        bool talks = data[sizeof usual - 1] & 1;
        enum hth_status status = made_model_write(&recipe, talks, &made);
        allowance.countdown = status == HTH_OK ? data[0] * (data[0] / 16u) : 0;
        file = strbuf_str(&made);
        if (status) {
            strbuf_free(&made);
            return 0;
        }
    }
    const char *path = write_file(file);
    strbuf_free(&made);
    struct hth_model_options options = {
        .device = "cpu", .n_threads = 1, .log = fuzz_log_write, .log_level = HTH_LOG_DEBUG};
    struct hth_model *model;
    mem_set_hook(grant, &allowance);
    if (fuzz_log_check(hth_model_open(&model, path, &options)) == HTH_OK)
        evaluate(model, &choices);
    hth_model_close(model);
    mem_set_hook(NULL, NULL);
    return 0;
}
