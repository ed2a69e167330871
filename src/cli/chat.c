#include "cli/chat.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/os.h"
#include "cli/chat_input.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/talk.h"
#include "text/utf8.h"

/* clang-format off */
static const struct option options[] = {
    {.name = "system", .type = OPTION_TEXT, .metavar = "TEXT",
     .also = "system-prompt sys",
     .help = "what the model is told first"},
    {.name = "n-predict", .letter = 'n', .type = OPTION_INT, .metavar = "N", .min = 1, .max = INT32_MAX,
     .also = "predict num-predict max-tokens max-new-tokens",
     .help = "tokens of an answer at most (until it ends, or the context is full)"},
    {0},
};
/* clang-format on */
static const struct option_group chat_options = {"Conversation", options};

/* --- messages --------------------------------------------------------------------------------- */

static char *copy_of(struct str text)
{
    char *copy = mem_alloc(text.len + 1);
    if (copy && text.len)
        memcpy(copy, text.ptr, text.len);
    if (copy)
        copy[text.len] = '\0';
    return copy;
}

int chat_add(struct chat *chat, const char *role, struct str content)
{
    struct hth_message *grown =
        mem_grow(chat->messages, &chat->cap_messages, chat->n_messages + 1, sizeof *grown);
    char *copy = copy_of(content);
    if (grown)
        chat->messages = grown;
    if (!grown || !copy) {
        mem_free(copy);
        return talk_error("out of memory: a conversation of %zu messages", chat->n_messages);
    }
    grown[chat->n_messages++] = (struct hth_message){role, copy};
    return EXIT_OK;
}

void chat_drop(struct chat *chat, size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++)
        mem_free((void *)(uintptr_t)chat->messages[i].content);
    size_t left = chat->n_messages - from - count;
    if (left && count)
        memmove(chat->messages + from, chat->messages + from + count,
                left * sizeof *chat->messages);
    chat->n_messages -= count;
}

size_t chat_n_system(const struct chat *chat)
{
    return chat->n_messages && strcmp(chat->messages[0].role, "system") == 0;
}

size_t chat_last_user(const struct chat *chat)
{
    for (size_t i = chat->n_messages; i-- > 0;)
        if (strcmp(chat->messages[i].role, "user") == 0)
            return i;
    return chat->n_messages;
}

int chat_set_system(struct chat *chat, struct str content)
{
    size_t n = chat->n_messages, had = chat_n_system(chat);
    if (content.len == 0) {
        chat_drop(chat, 0, had);
        return EXIT_OK;
    }
    int code = chat_add(chat, "system", content);
    if (code)
        return code;
    struct hth_message added = chat->messages[n];
    memmove(chat->messages + 1, chat->messages, n * sizeof added);
    chat->messages[0] = added;
    chat_drop(chat, 1, had);
    return EXIT_OK;
}

/* --- the prompt, and what of the conversation fits ---------------------------------------------
 */

/* The ids of the conversation but for its oldest `dropped` messages after the system's. */
static int encode(struct chat *chat, size_t dropped, int32_t **ids, int *count)
{
    char *text = NULL;
    size_t len, n_system = chat_n_system(chat), n = chat->n_messages - dropped;
    *ids = NULL;
    struct hth_message *list = mem_calloc(n, sizeof *list);
    if (!list)
        return talk_error("out of memory: a conversation of %zu messages", n);
    memcpy(list, chat->messages, n_system * sizeof *list);
    memcpy(list + n_system, chat->messages + n_system + dropped, (n - n_system) * sizeof *list);
    const struct hth_chat whole = {
        .messages = list, .n_messages = n, .prompt = true, .variables = chat->form.variables};
    enum hth_status status = hth_render(chat->answer.model, &whole, &text, &len);
    mem_free(list);
    if (status)
        return EXIT_FAILED;
    int code = tokenize_prompt(chat->answer.model, (struct str){text, len}, ids, count);
    if (code == EXIT_OK && chat->answer.ids.count == 0)
        code = answer_begin(&chat->answer, (struct str){text, len});
    hth_free(text);
    if (code) {
        hth_free(*ids);
        *ids = NULL;
    }
    return code;
}

/* Does that leave room for `n_more` tokens and, unless the last message is `alone`, the better part
 * of an answer? */
static bool fits(const struct chat *chat, int count, int n_more, bool alone)
{
    int room = alone ? 1 : chat->n_ctx / 4 < 512 ? chat->n_ctx / 4 : 512;
    return (int64_t)count + n_more + room <= chat->n_ctx;
}

/* Drops the fewest of the oldest exchanges that make it fit. *ids is NULL if even the last message
 * alone, of *count tokens, does not; then nothing is dropped. */
static int encode_that_fits(struct chat *chat, int n_more, int32_t **ids, int *count)
{
    /* in exchanges: `low` is too few; `high` will do, once it was tried */
    size_t most = (chat->n_messages - chat_n_system(chat) - 1) / 2, low = 0, high = most, at = 0;
    for (;;) {
        int code = encode(chat, 2 * at, ids, count);
        if (code)
            return code;
        bool good = fits(chat, *count, n_more, at == most);
        if (good && (at == 0 || at == low + 1))
            break;
        hth_free(*ids);
        *ids = NULL;
        if (at == most && !good)
            return EXIT_OK;
        if (good)
            high = at;
        else
            low = at;
        bool tried = good || at > 0; /* the whole is tried first, then the last message alone */
        at = !tried ? most : high == low + 1 ? high : low + (high - low) / 2;
    }
    chat->shifted |= at > 0;
    chat_drop(chat, chat_n_system(chat), 2 * at);
    return EXIT_OK;
}

static int make_room(void *user, int n_answer, int32_t **ids, int *count)
{
    return encode_that_fits(user, n_answer, ids, count);
}

/* --- turns ------------------------------------------------------------------------------------ */

static void note_shift(struct chat *chat)
{
    if (chat->shifted)
        talk_note("the context of %d tokens is full: the oldest messages are forgotten",
                  chat->n_ctx);
    chat->shifted = false;
}

static void explain_end(const struct chat *chat)
{
    const struct answer *answer = &chat->answer;
    if (answer->end == ANSWER_FULL)
        talk_note("the context of %d tokens is full and the answer is cut: use a larger --ctx",
                  chat->n_ctx);
    if (answer->end == ANSWER_INTERRUPTED && answer->text.len == 0)
        talk_note("stopped before the first word: /retry answers, a new message takes its place");
    answer_explain_closed(answer);
}

/* The answer to the last message, which is the user's and is kept. */
static int answer_last(struct chat *chat)
{
    struct answer *answer = &chat->answer;
    int32_t *ids = NULL;
    int count;
    answer->ids.count = 0;
    int code = encode_that_fits(chat, 0, &ids, &count);
    note_shift(chat);
    if (code == EXIT_OK && !ids)
        code = talk_error("this message has %d tokens, more than the context of %d has room for: "
                          "use a larger --ctx",
                          count, chat->n_ctx);
    if (code == EXIT_OK)
        code = answer_run(answer, ids, count);
    hth_free(ids);
    note_shift(chat);
    if (code)
        return code;
    explain_end(chat);
    if (answer->text.len == 0 && answer->end == ANSWER_INTERRUPTED)
        return EXIT_OK;
    return chat_add(chat, "assistant", strbuf_str(&answer->text));
}

/* Answers what is said, or without it the last message that is left, in place of all messages from
 * `from` on. */
static int answer_instead(struct chat *chat, size_t from, const struct str *said)
{
    size_t n = chat->n_messages - from;
    struct hth_message *aside = mem_calloc(n + 1, sizeof *aside);
    if (!aside)
        return talk_error("out of memory: a conversation of %zu messages", chat->n_messages);
    if (n)
        memcpy(aside, chat->messages + from, n * sizeof *aside);
    chat->n_messages = from;
    bool added = false;
    int code = said ? chat_add(chat, "user", *said) : EXIT_OK;
    if (code == EXIT_OK) {
        added = said;
        code = answer_last(chat);
    }
    if (code && added)
        chat_drop(chat, chat->n_messages - 1, 1);
    if (code && n)
        memcpy(chat->messages + chat->n_messages, aside, n * sizeof *aside);
    if (code)
        chat->n_messages += n;
    for (size_t i = 0; code == EXIT_OK && i < n; i++)
        mem_free((void *)(uintptr_t)aside[i].content);
    mem_free(aside);
    return code;
}

int chat_say(struct chat *chat, struct str said)
{
    size_t last = chat_last_user(chat), n = chat->n_messages;
    return answer_instead(chat, last + 1 == n ? last : n, &said);
}

int chat_say_instead(struct chat *chat, struct str said)
{
    return answer_instead(chat, chat_last_user(chat), &said);
}

int chat_answer(struct chat *chat)
{
    return answer_instead(chat, chat_last_user(chat) + 1, NULL);
}

int chat_renew(struct chat *chat, uint64_t more)
{
    struct hth_sampler *sampler;
    int code = settle_seed(&chat->args, more, &chat->texts);
    if (code == EXIT_OK)
        code = open_sampler(&chat->args, chat->answer.model, &sampler);
    if (code)
        return code;
    code = form_change(&chat->args, &chat->form);
    if (code) {
        hth_sampler_destroy(sampler);
        return code;
    }
    hth_sampler_destroy(chat->answer.sampler);
    chat->answer.sampler = sampler;
    chat->answer.n_max = args_int(&chat->args, "n-predict");
    chat->answer.stops = chat->form.stops;
    chat->answer.n_stops = chat->form.n_stops;
    chat->answer.seed = drawn_seed(&chat->args);
    return EXIT_OK;
}

/* --- the conversation ------------------------------------------------------------------------- */

/* The line takes the place of the last message. */
static int say_edited(struct chat *chat, struct str line)
{
    strbuf_clear(&chat->edit);
    return chat_say_instead(chat, line);
}

static int take_line(struct chat *chat, const struct strbuf *line)
{
    struct str text = strbuf_str(line);
    if (line->failed)
        return talk_error("out of memory: the line is too long");
    if (!utf8_valid(text))
        return talk_error("this line is not UTF-8, and is not answered");
    if (chat->edit.len)
        return say_edited(chat, text);
    if (chat_is_command(text))
        return chat_command(chat, text);
    return chat_say(chat, str_starts_with(text, STR("//")) ? str_slice(text, 1, text.len) : text);
}

/* Nothing was typed, or it was dropped; true when that was the wish to leave. */
static bool leave(struct chat *chat, enum input_end end, bool *warned)
{
    bool editing = chat->edit.len > 0;
    strbuf_clear(&chat->edit);
    if (end == INPUT_OVER || (end == INPUT_INTERRUPTED_EMPTY && *warned))
        return true;
    *warned = end == INPUT_INTERRUPTED_EMPTY;
    if (editing)
        talk_note("the last message stays as it is");
    else if (*warned)
        talk_note("Ctrl-C once more, or Ctrl-D, leaves");
    return false;
}

static int talk(struct chat *chat, struct chat_input *input)
{
    struct strbuf line = {0};
    int worst = EXIT_OK;
    bool warned = false;
    while (!chat->over && out_flush()) {
        enum input_end end = chat_input_read(input, strbuf_str(&chat->edit), &line);
        if (end != INPUT_LINE || (line.len == 0 && !line.failed)) {
            if (leave(chat, end, &warned))
                break;
            continue;
        }
        warned = false;
        int code = take_line(chat, &line);
        worst = code ? code : worst;
        if (!input->person && interrupted()) {
            worst = EXIT_INTERRUPTED;
            break;
        }
    }
    if (!input->person && chat->answer.n_answer && out_flush())
        answer_summary(&chat->answer);
    strbuf_free(&line);
    return input->person ? EXIT_OK : worst;
}

static int start(struct chat *chat, struct hth_model *model)
{
    const char *system = args_text(&chat->args, "system");
    chat->answer.model = model;
    chat->answer.make_room = make_room;
    chat->answer.room_user = chat;
    struct hth_session_options wanted = session_options(&chat->args);
    int code = advise_sampling(&chat->args, model, &chat->texts);
    if (code == EXIT_OK)
        code = chat_renew(chat, 0);
    if (code == EXIT_OK) {
        wanted.n_best = hth_sampler_best(chat->answer.sampler);
        code = exit_of(hth_session_open(&chat->answer.session, model, &wanted));
    }
    if (code == EXIT_OK)
        form_check(&chat->args, model);
    if (code == EXIT_OK && system)
        code = chat_set_system(chat, str_of(system));
    if (code == EXIT_OK)
        chat->n_ctx = hth_session_get_info(chat->answer.session).n_ctx;
    return code;
}

static int converse(struct chat *chat)
{
    struct hth_model_info info = hth_model_get_info(chat->answer.model);
    struct chat_input input;
    hold_interrupts();
    chat_input_open(&input);
    chat->can_edit = input.editor != NULL;
    if (input.person)
        talk_note("%s on %s: write and press Enter; Ctrl-C stops an answer, Ctrl-D ends, /help "
                  "tells more",
                  info.name[0] ? info.name : info.architecture, info.device);
    int code = talk(chat, &input);
    chat_input_close(&input);
    return code;
}

static int run(const struct args *args)
{
    struct chat chat = {.args = *args};
    struct hth_model *model = NULL;
    struct strbuf system = {0};
    int code = EXIT_OK;
    if (args_text(args, "system"))
        code = read_text(args_text(args, "system"), NULL, "the system text", &system);
    if (code == EXIT_OK)
        code = form_read(args, &chat.form);
    if (code == EXIT_OK)
        code = check_sampling(args);
    struct hth_session_options session = session_options(args);
    session.n_best = HTH_BEST_MOST; /* at most */
    if (code == EXIT_OK)
        code = open_chat_model(args, args_word(args, 0), &chat.form.template, &session, &model);
    if (code == EXIT_OK)
        code = start(&chat, model);
    if (code == EXIT_OK)
        code = converse(&chat);
    chat_drop(&chat, 0, chat.n_messages);
    mem_free(chat.messages);
    strbuf_free(&chat.edit);
    strbuf_free(&system);
    arena_free(&chat.texts);
    form_free(&chat.form);
    answer_free(&chat.answer);
    hth_sampler_destroy(chat.answer.sampler);
    hth_session_close(chat.answer.session);
    hth_model_close(model);
    return code;
}

static void more_help(void)
{
    out_printf(
        "On a terminal lines are edited as in a shell (arrow keys, Ctrl-R searches what was\n"
        "typed before), Alt-Enter begins another line, and a paste may have several. From a\n"
        "pipe each line is a message. A line may also be a command:\n\n");
    chat_list_commands(true);
}

static const struct option_group *const groups[] = {
    &chat_options,      &options_form,   &options_sampling, &options_session,
    &options_placement, &options_device, &options_test,     NULL,
};

const struct command command_chat = {
    .name = "chat",
    .summary = "talks: a line in, an answer out",
    .usage = "MODEL [OPTIONS]",
    .groups = groups,
    .min_words = 1,
    .max_words = 1,
    .run = run,
    .more_help = more_help,
};
