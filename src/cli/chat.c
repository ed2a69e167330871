#include <stdio.h>

#include "base/mem.h"
#include "base/os.h"
#include "cli/answer.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/talk.h"
#include "text/utf8.h"

/* clang-format off */
static const struct option options[] = {
    {.name = "system", .type = OPTION_TEXT, .metavar = "TEXT", .help = "what the model is told first"},
    {.name = "n-predict", .letter = 'n', .type = OPTION_INT, .metavar = "N", .min = 1, .max = INT32_MAX,
     .help = "tokens of an answer at most (until it ends, or the context is full)"},
    {0},
};
/* clang-format on */
static const struct option_group chat_options = {"Conversation", options};

struct chat {
    struct answer answer;
    struct hth_message *messages; /* contents are owned but for the system's */
    size_t n_messages, cap_messages, n_system;
    int n_ctx;
};

static int add_message(struct chat *chat, const char *role, struct str content)
{
    struct hth_message *grown =
        mem_grow(chat->messages, &chat->cap_messages, chat->n_messages + 1, sizeof *grown);
    struct strbuf copy = {0};
    strbuf_append(&copy, content);
    strbuf_append(&copy, STR("")); /* an empty one is a string too */
    if (grown)
        chat->messages = grown;
    if (!grown || copy.failed || !copy.ptr) {
        strbuf_free(&copy);
        return talk_error("out of memory: a conversation of %zu messages", chat->n_messages);
    }
    grown[chat->n_messages++] = (struct hth_message){role, copy.ptr};
    return EXIT_OK;
}

static void drop_messages(struct chat *chat, size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++)
        mem_free((void *)(uintptr_t)chat->messages[i].content);
    size_t left = chat->n_messages - from - count;
    if (left)
        memmove(chat->messages + from, chat->messages + from + count,
                left * sizeof *chat->messages);
    chat->n_messages -= count;
}

/* A line of any length without its end; false at the end of input. */
static bool read_line(struct strbuf *line)
{
    char piece[4096];
    strbuf_clear(line);
    while (fgets(piece, sizeof piece, stdin)) {
        strbuf_append(line, str_of(piece));
        if (line->len && line->ptr[line->len - 1] == '\n')
            break;
    }
    bool any = line->len > 0;
    while (line->len && (line->ptr[line->len - 1] == '\n' || line->ptr[line->len - 1] == '\r'))
        line->ptr[--line->len] = '\0';
    return any;
}

static int encode(struct chat *chat, int32_t **ids, int *count)
{
    char *text;
    size_t len;
    *ids = NULL;
    if (hth_render_chat(chat->answer.model, chat->messages, chat->n_messages, true, &text, &len))
        return EXIT_FAILED;
    int code = tokenize_prompt(chat->answer.model, (struct str){text, len}, ids, count);
    hth_free(text);
    return code;
}

/* The conversation's ids; the oldest exchanges are forgotten until there is room for an answer. */
static int encode_that_fits(struct chat *chat, int32_t **ids, int *count)
{
    int room = chat->n_ctx / 4 < 512 ? chat->n_ctx / 4 : 512;
    bool forgot = false;
    for (;;) {
        int code = encode(chat, ids, count);
        if (code)
            return code;
        bool one_left = chat->n_messages <= chat->n_system + 1;
        if (*count + room <= chat->n_ctx || (one_left && *count < chat->n_ctx))
            break;
        hth_free(*ids);
        *ids = NULL;
        if (one_left)
            return talk_error("this message has %d tokens, more than the context of %d: use a "
                              "larger --ctx",
                              *count, chat->n_ctx);
        drop_messages(chat, chat->n_system, 2);
        forgot = true;
    }
    if (forgot)
        talk_line("the context of %d tokens is full: the oldest messages are forgotten",
                  chat->n_ctx);
    return EXIT_OK;
}

static int take_turn(struct chat *chat, struct str said)
{
    int32_t *ids = NULL;
    int count, code = add_message(chat, "user", said);
    if (code)
        return code;
    answer_reset(&chat->answer);
    code = encode_that_fits(chat, &ids, &count);
    if (code == EXIT_OK)
        code = answer_run(&chat->answer, ids, count);
    hth_free(ids);
    if (code == EXIT_OK)
        code = add_message(chat, "assistant", strbuf_str(&chat->answer.text));
    else
        drop_messages(chat, chat->n_messages - 1, 1);
    if (code == EXIT_OK && chat->answer.end == ANSWER_FULL)
        talk_line("the context of %d tokens is full and the answer is cut: use a larger --ctx",
                  chat->n_ctx);
    return code;
}

static int talk(struct chat *chat)
{
    bool person = os_is_terminal(stdin);
    struct strbuf line = {0};
    int worst = EXIT_OK;
    for (;;) {
        if (person) {
            fputs("> ", stderr);
            fflush(stderr);
        }
        if (!read_line(&line))
            break;
        if (line.len == 0)
            continue;
        int code = EXIT_FAILED;
        if (line.failed)
            talk_error("out of memory: the line is too long");
        else if (!utf8_valid(strbuf_str(&line)))
            talk_error("this line is not UTF-8, and is not answered");
        else
            code = take_turn(chat, strbuf_str(&line));
        worst = code ? code : worst;
        if (!out_flush())
            break;
    }
    if (person)
        fputc('\n', stderr);
    if (!person && chat->answer.n_answer)
        answer_summary(&chat->answer);
    strbuf_free(&line);
    return worst;
}

static int start(const struct args *args, struct chat *chat, struct hth_model *model)
{
    const char *system = args_text(args, "system");
    chat->answer.model = model;
    chat->answer.n_max = args_int(args, "n-predict");
    struct hth_session_options wanted = session_options(args);
    int code = exit_of(hth_session_open(&chat->answer.session, model, &wanted));
    if (code == EXIT_OK)
        code = open_sampler(args, model, &chat->answer.sampler);
    if (code == EXIT_OK && system && *system) {
        code = add_message(chat, "system", str_of(system));
        chat->n_system = 1;
    }
    if (code)
        return code;
    chat->n_ctx = hth_session_get_info(chat->answer.session).n_ctx;
    struct hth_model_info info = hth_model_get_info(model);
    if (os_is_terminal(stdin))
        talk_line("%s on %s: write and press Enter; Ctrl-C stops an answer, Ctrl-D ends",
                  info.name[0] ? info.name : info.architecture, info.device);
    return EXIT_OK;
}

static int run(const struct args *args)
{
    struct chat chat = {0};
    struct hth_model *model = NULL;
    struct strbuf system = {0};
    int code = EXIT_OK;
    if (args_text(args, "system"))
        code = read_text(args_text(args, "system"), NULL, "the system text", &system);
    if (code == EXIT_OK)
        code = open_model(args, args_word(args, 0), &model);
    if (code == EXIT_OK)
        code = start(args, &chat, model);
    if (code == EXIT_OK)
        code = talk(&chat);
    drop_messages(&chat, 0, chat.n_messages);
    mem_free(chat.messages);
    strbuf_free(&system);
    answer_free(&chat.answer);
    hth_sampler_destroy(chat.answer.sampler);
    hth_session_close(chat.answer.session);
    hth_model_close(model);
    return code;
}

static const struct option_group *const groups[] = {
    &chat_options, &options_sampling, &options_session, &options_device, &options_test, NULL,
};

const struct command command_chat = {
    .name = "chat",
    .summary = "talks: a line in, an answer out",
    .usage = "MODEL [OPTIONS]",
    .groups = groups,
    .min_words = 1,
    .max_words = 1,
    .run = run,
};
