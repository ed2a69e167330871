#include "cli/answer.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/talk.h"

static int remember(struct id_list *list, const int32_t *ids, int count)
{
    int32_t *grown =
        mem_grow(list->items, &list->capacity, list->count + (size_t)count, sizeof *grown);
    if (!grown)
        return talk_error("out of memory: a conversation of %zu tokens",
                          list->count + (size_t)count);
    list->items = grown;
    memcpy(grown + list->count, ids, (size_t)count * sizeof *ids);
    list->count += (size_t)count;
    return EXIT_OK;
}

static enum hth_status feed(struct answer *answer, const int32_t *ids, int count)
{
    struct hth_feed one = {.ids = ids, .count = count, .n_best = hth_sampler_best(answer->sampler)};
    return hth_session_feed(answer->session, &one, 1);
}

/* Cuts the sequence to what it has in common with `ids`, but for the last, whose logits are wanted.
 */
static int keep_common(struct answer *answer, const int32_t *ids, int count)
{
    int common = 0;
    while (common < count - 1 && (size_t)common < answer->fed.count &&
           answer->fed.items[common] == ids[common])
        common++;
    common = hth_session_truncate(answer->session, 0, common);
    answer->fed.count = (size_t)common;
    return common;
}

static void write_part(void *user, struct str text, bool reasoning)
{
    (void)user;
    out_dim(reasoning);
    out_text(text);
}

static void write_piece(struct answer *answer, const char *text, size_t len)
{
    if (len == 0)
        return;
    strbuf_append(&answer->text, (struct str){text, len});
    reasoning_push(&answer->reasoning, (struct str){text, len}, write_part, NULL);
    if (out_flush() && answer->first_word_ns == 0)
        answer->first_word_ns = os_time_ns();
}

/* A token of the answer: its text, or what it says of the text after it. */
static enum hth_status write_token(struct answer *answer, struct hth_stream *stream, int32_t id)
{
    size_t len;
    const char *text;
    enum hth_status status = hth_stream_push(stream, id, &text, &len);
    if (status)
        return status;
    write_piece(answer, text, len);
    for (int i = 0; i < N_REASONING_MARKERS && len == 0; i++) {
        if (id == answer->opens[i] || id == answer->closes[i]) {
            reasoning_end(&answer->reasoning, write_part, NULL);
            reasoning_mark(&answer->reasoning,
                           id == answer->opens[i] ? &reasoning_markers[i] : NULL);
        }
    }
    return HTH_OK;
}

/* Makes sequence 0 hold these tokens. A cancel is answer->end, not a failure. */
static int feed_ids(struct answer *answer, const int32_t *ids, int count)
{
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
    answer->prompt_ns += os_time_ns() - began;
    answer->n_prompt += count - common;
    hth_sampler_set_history(answer->sampler, ids, (size_t)count);
    return remember(&answer->fed, ids + common, count - common);
}

/* The context is full: what the owner of the conversation leaves of the prompt, and the answer so
 * far, are fed again. */
static int begin_again(struct answer *answer)
{
    int32_t *prompt = NULL;
    struct id_list all = {0};
    int count = 0, code = EXIT_OK;
    if (answer->make_room)
        code = answer->make_room(answer->room_user, (int)answer->ids.count, &prompt, &count);
    if (code == EXIT_OK && !prompt)
        answer->end = ANSWER_FULL;
    if (code == EXIT_OK && prompt)
        code = remember(&all, prompt, count);
    if (code == EXIT_OK && prompt)
        code = remember(&all, answer->ids.items, (int)answer->ids.count);
    if (code == EXIT_OK && prompt)
        code = feed_ids(answer, all.items, (int)all.count);
    mem_free(all.items);
    hth_free(prompt);
    return code;
}

static int feed_next(struct answer *answer, int32_t id)
{
    uint64_t began = os_time_ns();
    enum hth_status status = feed(answer, &id, 1);
    if (status == HTH_ERROR_CANCELLED) {
        answer->end = ANSWER_INTERRUPTED;
        return EXIT_OK;
    }
    if (status)
        return exit_of(status);
    uint64_t took = os_time_ns() - began;
    answer->steps_ns += took;
    answer->first_step_ns = answer->n_steps++ ? answer->first_step_ns : took;
    return remember(&answer->fed, &id, 1);
}

/* Samples and feeds until something ends the answer. The prompt was fed. */
static int generate(struct answer *answer, struct hth_stream *stream, int n_ctx)
{
    int code = EXIT_OK;
    while (code == EXIT_OK && answer->end == ANSWER_DONE) {
        int32_t id;
        enum hth_status status = hth_sample(answer->sampler, answer->session, 0, &id);
        if (status)
            return exit_of(status);
        if (hth_token_is_end(answer->model, id))
            return EXIT_OK;
        code = remember(&answer->ids, &id, 1);
        if (code)
            return code;
        answer->n_answer++;
        status = write_token(answer, stream, id);
        if (status)
            return exit_of(status);
        if (answer->text.failed)
            return talk_error("out of memory: the answer is too long");
        if (hth_stream_stopped(stream))
            return EXIT_OK;
        answer->end = !out_flush()                                         ? ANSWER_NO_READER
                      : interrupted()                                      ? ANSWER_INTERRUPTED
                      : answer->n_max && answer->n_answer >= answer->n_max ? ANSWER_LIMIT
                                                                           : ANSWER_DONE;
        if (answer->end == ANSWER_DONE)
            code = hth_session_length(answer->session, 0) < n_ctx ? feed_next(answer, id)
                                                                  : begin_again(answer);
    }
    return code;
}

int answer_run(struct answer *answer, const int32_t *ids, int count)
{
    struct hth_stream *stream;
    enum hth_status status = hth_stream_create(&stream, answer->model);
    if (status == HTH_OK)
        status = hth_stream_stop_at(stream, answer->stops, answer->n_stops);
    if (status) {
        hth_stream_destroy(stream);
        return exit_of(status);
    }
    int n_ctx = hth_session_get_info(answer->session).n_ctx;
    answer->end = ANSWER_DONE;
    watch_interrupt(answer->session);
    int code = count ? feed_ids(answer, ids, count) : talk_error("the prompt has no tokens");
    if (code == EXIT_OK && answer->end == ANSWER_DONE)
        code = generate(answer, stream, n_ctx);
    size_t len;
    const char *text;
    status = hth_stream_end(stream, &text, &len);
    if (status && code == EXIT_OK)
        code = exit_of(status);
    write_piece(answer, text, len);
    reasoning_end(&answer->reasoning, write_part, NULL);
    out_dim(false);
    if (answer->text.len && answer->text.ptr[answer->text.len - 1] != '\n')
        out_put("\n", 1);
    if (!out_flush())
        answer->end = ANSWER_NO_READER;
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

/* The control token of a marker; -1 if the vocabulary has none. */
static int find_token(const struct hth_model *model, const char *marker, int32_t *id)
{
    int32_t *ids;
    size_t count;
    *id = -1;
    int code = exit_of(hth_tokenize(model, marker, strlen(marker), false, true, &ids, &count));
    if (code == EXIT_OK && count == 1)
        *id = ids[0];
    hth_free(ids);
    return code;
}

int answer_begin(struct answer *answer, struct str prompt)
{
    strbuf_clear(&answer->text);
    answer->ids.count = 0;
    answer->n_prompt = answer->n_answer = answer->n_steps = 0;
    answer->prompt_ns = answer->steps_ns = answer->first_step_ns = answer->first_word_ns = 0;
    reasoning_begin(&answer->reasoning, prompt);
    int code = EXIT_OK;
    for (int i = 0; i < N_REASONING_MARKERS && code == EXIT_OK; i++) {
        const struct reasoning_marker *marker = &reasoning_markers[i];
        code = find_token(answer->model, marker->open, &answer->opens[i]);
        if (code == EXIT_OK)
            code = find_token(answer->model, marker->close, &answer->closes[i]);
    }
    return code;
}

void answer_free(struct answer *answer)
{
    strbuf_free(&answer->text);
    mem_free(answer->fed.items);
    mem_free(answer->ids.items);
    answer->fed = answer->ids = (struct id_list){0};
}

void answer_explain_closed(const struct answer *answer)
{
    if (answer->end == ANSWER_NO_READER && out_closed())
        talk_line("the output was closed before the answer ended");
}

static double per_second(int n, uint64_t time_ns)
{
    return time_ns ? n * 1e9 / (double)time_ns : 0;
}

/* What was expected, beside what was achieved; empty where nothing was. */
static const char *expected(double tokens_per_s, bool estimated, char out[64])
{
    out[0] = '\0';
    if (tokens_per_s > 0)
        snprintf(out, 64, " (%s %.1f)", estimated ? "estimated" : "predicted", tokens_per_s);
    return out;
}

/* What was fed for this answer, and what the context had before. */
static struct hth_turn turn_of(const struct answer *answer)
{
    int depth = (int)answer->fed.count - answer->n_prompt - answer->n_steps;
    return (struct hth_turn){depth > 0 ? depth : 0, answer->n_prompt, answer->n_steps};
}

void answer_summary(const struct answer *answer)
{
    struct hth_model_info info = hth_model_get_info(answer->model);
    struct hth_turn turn = turn_of(answer);
    struct hth_expected plan = hth_model_expect(answer->model, &turn);
    struct hth_session_info session = hth_session_get_info(answer->session);
    char first[64] = "no word came", prompt[64], steps[64], experts[64] = "";
    if (answer->first_word_ns)
        snprintf(first, sizeof first, "first word %.2f s",
                 (double)(answer->first_word_ns - program_started_ns) / 1e9);
    if (session.expert_uses)
        snprintf(experts, sizeof experts, ", %.1f %% of experts found on the GPU",
                 100 * (double)session.expert_hits / (double)session.expert_uses);
    talk_line(
        "%s: %s, prompt %d tokens at %.1f tokens/s%s, answer %d tokens at %.1f tokens/s%s%s%s%s",
        info.device, first, answer->n_prompt, per_second(answer->n_prompt, answer->prompt_ns),
        expected(plan.prompt_tokens_per_s, plan.estimated, prompt), answer->n_answer,
        per_second(answer->n_steps, answer->steps_ns),
        expected(plan.answer_tokens_per_s, plan.estimated, steps), experts,
        answer->seed ? ", seed " : "", answer->seed ? answer->seed : "");
}

int answer_learn(const struct answer *answer)
{
    struct hth_turn turn = turn_of(answer);
    if (answer->n_steps < 2)
        return EXIT_OK;
    turn.depth += answer->n_prompt + 1;
    turn.n_prompt = 0;
    turn.n_answer--;
    uint64_t took = answer->steps_ns - answer->first_step_ns;
    return exit_of(hth_model_achieved(answer->model, &turn, 0, (double)took / 1e9));
}
