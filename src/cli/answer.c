#include "cli/answer.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/talk.h"

static int remember(struct answer *answer, const int32_t *ids, int count)
{
    int32_t *grown =
        mem_grow(answer->fed, &answer->cap_fed, answer->n_fed + (size_t)count, sizeof *grown);
    if (!grown)
        return talk_error("out of memory: a conversation of %zu tokens",
                          answer->n_fed + (size_t)count);
    answer->fed = grown;
    memcpy(grown + answer->n_fed, ids, (size_t)count * sizeof *ids);
    answer->n_fed += (size_t)count;
    return EXIT_OK;
}

static enum hth_status feed(struct answer *answer, const int32_t *ids, int count)
{
    struct hth_feed one = {.ids = ids, .count = count};
    return hth_session_feed(answer->session, &one, 1);
}

/* Cuts the sequence to what it has in common with `ids`, but for the last, whose logits are wanted.
 */
static int keep_common(struct answer *answer, const int32_t *ids, int count)
{
    int common = 0;
    while (common < count - 1 && (size_t)common < answer->n_fed &&
           answer->fed[common] == ids[common])
        common++;
    common = hth_session_truncate(answer->session, 0, common);
    answer->n_fed = (size_t)common;
    return common;
}

static void write_piece(struct answer *answer, const char *text, size_t len)
{
    if (len == 0)
        return;
    strbuf_append(&answer->text, (struct str){text, len});
    out_text((struct str){text, len});
    if (out_flush() && answer->first_word_ns == 0)
        answer->first_word_ns = os_time_ns();
}

/* Samples and feeds until something ends the answer. The prompt was fed. */
static int generate(struct answer *answer, struct hth_stream *stream, int n_ctx)
{
    for (;;) {
        int32_t id;
        enum hth_status status = hth_sample(answer->sampler, answer->session, 0, &id);
        if (status)
            return exit_of(status);
        if (hth_token_is_end(answer->model, id)) {
            answer->end = ANSWER_DONE;
            return EXIT_OK;
        }
        answer->n_answer++;
        size_t len;
        const char *text = hth_stream_push(stream, id, &len);
        write_piece(answer, text, len);
        answer->end = !out_flush()                                         ? ANSWER_NO_READER
                      : interrupted()                                      ? ANSWER_INTERRUPTED
                      : answer->n_max && answer->n_answer >= answer->n_max ? ANSWER_LIMIT
                      : hth_session_length(answer->session, 0) >= n_ctx    ? ANSWER_FULL
                                                                           : ANSWER_DONE;
        if (answer->end != ANSWER_DONE)
            return EXIT_OK;
        uint64_t began = os_time_ns();
        status = feed(answer, &id, 1);
        if (status == HTH_ERROR_CANCELLED) {
            answer->end = ANSWER_INTERRUPTED;
            return EXIT_OK;
        }
        if (status)
            return exit_of(status);
        answer->steps_ns += os_time_ns() - began;
        answer->n_steps++;
        int code = remember(answer, &id, 1);
        if (code)
            return code;
    }
}

static int feed_prompt(struct answer *answer, const int32_t *ids, int count)
{
    if (count == 0)
        return talk_error("the prompt has no tokens");
    int common = keep_common(answer, ids, count);
    uint64_t began = os_time_ns();
    enum hth_status status = feed(answer, ids + common, count - common);
    if (status == HTH_ERROR_CANCELLED) {
        hth_session_truncate(answer->session, 0, common);
        answer->end = ANSWER_INTERRUPTED;
        return EXIT_OK;
    }
    if (status)
        return status == HTH_ERROR_ARGUMENT ? EXIT_FAILED : exit_of(status);
    answer->prompt_ns = os_time_ns() - began;
    answer->n_prompt = count - common;
    return remember(answer, ids + common, count - common);
}

int answer_run(struct answer *answer, const int32_t *ids, int count)
{
    struct hth_stream *stream;
    enum hth_status status = hth_stream_create(&stream, answer->model);
    if (status)
        return exit_of(status);
    int n_ctx = hth_session_get_info(answer->session).n_ctx;
    answer->end = ANSWER_DONE;
    watch_interrupt(answer->session);
    int code = feed_prompt(answer, ids, count);
    if (code == EXIT_OK && answer->end == ANSWER_DONE)
        code = generate(answer, stream, n_ctx);
    size_t len;
    const char *text = hth_stream_end(stream, &len);
    write_piece(answer, text, len);
    if (answer->text.len && answer->text.ptr[answer->text.len - 1] != '\n')
        out_put("\n", 1);
    out_flush();
    unwatch_interrupt();
    if (interrupted()) {
        /* a cancel that came too late for any feed would stop the next one */
        struct hth_feed nothing = {.outputs = HTH_OUTPUT_NONE};
        status = hth_session_feed(answer->session, &nothing, 1);
        answer->end = ANSWER_INTERRUPTED;
    }
    hth_stream_destroy(stream);
    return code;
}

void answer_reset(struct answer *answer)
{
    strbuf_clear(&answer->text);
    answer->n_prompt = answer->n_answer = answer->n_steps = 0;
    answer->prompt_ns = answer->steps_ns = answer->first_word_ns = 0;
}

void answer_free(struct answer *answer)
{
    strbuf_free(&answer->text);
    mem_free(answer->fed);
    answer->fed = NULL;
}

static double per_second(int n, uint64_t time_ns)
{
    return time_ns ? n * 1e9 / (double)time_ns : 0;
}

void answer_summary(const struct answer *answer)
{
    struct hth_model_info info = hth_model_get_info(answer->model);
    char first[64] = "no word came";
    if (answer->first_word_ns)
        snprintf(first, sizeof first, "first word %.2f s",
                 (double)(answer->first_word_ns - program_started_ns) / 1e9);
    talk_line("%s: %s, prompt %d tokens at %.1f tokens/s, answer %d tokens at %.1f tokens/s",
              info.device, first, answer->n_prompt, per_second(answer->n_prompt, answer->prompt_ns),
              answer->n_answer, per_second(answer->n_steps, answer->steps_ns));
}
