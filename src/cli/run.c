#include <string.h>

#include "base/mem.h"
#include "cli/answer.h"
#include "cli/command.h"
#include "cli/form.h"
#include "cli/options.h"
#include "cli/talk.h"

/* clang-format off */
static const struct option options[] = {
    {.name = "prompt", .letter = 'p', .type = OPTION_TEXT, .metavar = "TEXT", .help = "what to answer"},
    {.name = "file", .letter = 'f', .type = OPTION_TEXT, .metavar = "FILE", .help = "the same from a file"},
    {.name = "n-predict", .letter = 'n', .type = OPTION_INT, .metavar = "N", .min = -1, .max = INT32_MAX,
     .also = "predict num-predict max-tokens max-new-tokens",
     .help = "tokens of the answer at most (until it ends, or the context is full)"},
    {.name = "system", .type = OPTION_TEXT, .metavar = "TEXT",
     .also = "system-prompt sys",
     .help = "what the model is told first"},
    {.name = "raw", .type = OPTION_FLAG,
     .also = "no-conversation no-cnv completion",
     .help = "continue the prompt as it is, without the chat template"},
    {0},
};
/* clang-format on */
static const struct option_group run_options = {"Prompt and answer", options};

static int read_prompt(const struct args *args, struct strbuf *prompt)
{
    const char *text = args_text(args, "prompt"), *file = args_text(args, "file");
    const char *word = args_word(args, 1);
    if (word && strcmp(word, "-") != 0)
        return usage_error(
            args->command,
            "one argument too many: \"%s\"; a prompt is given with -p, and stays one "
            "argument in quotes",
            word);
    if ((text != NULL) + (file != NULL) + (word != NULL) != 1)
        return usage_error(args->command, "%s: give -p TEXT, -f FILE, or - to read it from stdin",
                           text || file || word ? "one prompt only" : "what should it answer?");
    return read_text(text, file ? file : "-", "the prompt", prompt);
}

/* What is asked, and how. */
struct question {
    struct args args; /* what the command line said, and the seed that was drawn */
    struct strbuf prompt;
    struct form form;
};

/* The ids to feed: the prompt in the model's own form of a conversation, or as it is. */
static int encode_prompt(const struct question *question, struct answer *answer, int32_t **ids,
                         int *count)
{
    const struct hth_model *model = answer->model;
    const char *system = args_text(&question->args, "system");
    struct str text = strbuf_str(&question->prompt);
    if (args_flag(&question->args, "raw")) {
        int begun = answer_begin(answer, text);
        return begun ? begun : tokenize_prompt(model, text, ids, count);
    }
    struct hth_message messages[2] = {{"system", system}, {"user", text.ptr ? text.ptr : ""}};
    bool has_system = system && *system;
    char *rendered;
    size_t len;
    const struct hth_chat chat = {.messages = has_system ? messages : messages + 1,
                                  .n_messages = has_system ? 2 : 1,
                                  .prompt = true,
                                  .variables = question->form.variables};
    enum hth_status status = hth_render(model, &chat, &rendered, &len);
    if (status)
        return EXIT_FAILED;
    int code = answer_begin(answer, (struct str){rendered, len});
    if (code == EXIT_OK)
        code = tokenize_prompt(model, (struct str){rendered, len}, ids, count);
    hth_free(rendered);
    return code;
}

enum { USUAL_CTX = 4096, ANSWER_ROOM = 2048 };

/* A context that holds the prompt and a good answer, where nothing was asked for. */
static int choose_ctx(const struct hth_model *model, int n_prompt, int n_answer)
{
    int trained = hth_model_get_info(model).n_ctx_train;
    int64_t wanted = (int64_t)n_prompt + (n_answer > 0 ? n_answer : ANSWER_ROOM);
    wanted = wanted < USUAL_CTX ? USUAL_CTX : wanted;
    return trained > 0 && wanted > trained ? trained
                                           : (int)(wanted < INT32_MAX ? wanted : INT32_MAX);
}

static int answer_tokens(const struct args *args)
{
    int n = args_int(args, "n-predict");
    return n > 0 ? n : 0;
}

/* The session that the model is placed for: of a prompt that may be long the tokens are counted
 * before. A token has at least a byte; templates add some. */
static int plan_session(const struct question *question, struct hth_session_options *session)
{
    enum { TEMPLATE_ROOM = 512 };
    const struct args *args = &question->args;
    const char *system = args_text(args, "system");
    size_t most = question->prompt.len + (system ? strlen(system) : 0) + TEMPLATE_ROOM;
    int n_answer = answer_tokens(args), room = n_answer ? n_answer : ANSWER_ROOM;
    *session = session_options(args);
    session->n_best = HTH_BEST_MOST; /* at most */
    if (args_given(args, "ctx") || (room < USUAL_CTX && most <= (size_t)(USUAL_CTX - room)))
        return EXIT_OK;
    struct hth_model *vocabulary;
    int code = open_vocabulary(args_word(args, 0), &question->form.template, &vocabulary);
    struct answer counted = {.model = vocabulary};
    int32_t *ids = NULL;
    int count = 0;
    if (code == EXIT_OK)
        code = encode_prompt(question, &counted, &ids, &count);
    if (code == EXIT_OK)
        session->n_ctx = choose_ctx(vocabulary, count, n_answer);
    hth_free(ids);
    answer_free(&counted);
    hth_model_close(vocabulary);
    return code;
}

static void explain_end(const struct answer *answer)
{
    if (answer->end == ANSWER_NO_READER) {
        answer_explain_closed(answer);
        return;
    }
    int n_ctx = hth_session_get_info(answer->session).n_ctx;
    if (answer->end == ANSWER_FULL)
        talk_line("the context of %d tokens is full and the answer is cut: use a larger --ctx",
                  n_ctx);
    answer_summary(answer);
}

static int answer_prompt(const struct question *question, struct hth_model *model)
{
    const struct args *args = &question->args;
    struct answer answer = {.model = model,
                            .n_max = answer_tokens(args),
                            .stops = question->form.stops,
                            .n_stops = question->form.n_stops,
                            .seed = drawn_seed(args)};
    int32_t *ids = NULL;
    int count;
    int code = encode_prompt(question, &answer, &ids, &count);
    if (code)
        return code;
    struct hth_session_options wanted = session_options(args);
    if (!args_given(args, "ctx"))
        wanted.n_ctx = choose_ctx(model, count, answer.n_max);
    code = open_sampler(args, model, &answer.sampler);
    if (code == EXIT_OK) {
        wanted.n_best = hth_sampler_best(answer.sampler);
        code = exit_of(hth_session_open(&answer.session, model, &wanted));
    }
    if (code == EXIT_OK && !(args_given(args, "n-predict") && args_int(args, "n-predict") == 0))
        code = answer_run(&answer, ids, count);
    if (code == EXIT_OK) {
        explain_end(&answer);
        code = answer_learn(&answer);
        if (answer.end == ANSWER_INTERRUPTED && code == EXIT_OK)
            code = EXIT_INTERRUPTED;
    }
    answer_free(&answer);
    hth_sampler_destroy(answer.sampler);
    hth_session_close(answer.session);
    hth_free(ids);
    return code;
}

/* All that can be wrong with it before a model is opened. */
static int read_question(struct question *question)
{
    const struct args *args = &question->args;
    int code = read_prompt(args, &question->prompt);
    if (code == EXIT_OK && args_text(args, "system")) {
        struct strbuf system = {0};
        code = read_text(args_text(args, "system"), NULL, "the system text", &system);
        strbuf_free(&system);
    }
    if (code == EXIT_OK)
        code = form_read(args, &question->form);
    return code ? code : check_sampling(args);
}

static int run(const struct args *args)
{
    struct question question = {.args = *args};
    struct hth_model *model = NULL;
    int code = read_question(&question);
    struct hth_session_options session;
    if (code == EXIT_OK)
        code = plan_session(&question, &session);
    if (code == EXIT_OK)
        code = open_chat_model(args, args_word(args, 0), &question.form.template, &session, &model);
    if (code == EXIT_OK && !args_flag(args, "raw"))
        form_check(args, model);
    if (code == EXIT_OK)
        code = advise_sampling(&question.args, model, &question.form.texts);
    if (code == EXIT_OK)
        code = settle_seed(&question.args, 0, &question.form.texts);
    if (code == EXIT_OK)
        code = answer_prompt(&question, model);
    hth_model_close(model);
    strbuf_free(&question.prompt);
    form_free(&question.form);
    return code;
}

static void more_help(void)
{
    out_printf(
        "The answer alone goes to stdout. stderr ends with a line that names the device, the time\n"
        "from the program's start to the first word, and the speed. MODEL may be\n"
        "synth:SHAPE:QUANT (hearth synth --help). Ctrl-C stops the answer (exit code 130).\n");
}

static const struct option_group *const groups[] = {
    &run_options,       &options_form,   &options_sampling, &options_session,
    &options_placement, &options_device, &options_test,     NULL,
};

const struct command command_run = {
    .name = "run",
    .summary = "answers one prompt",
    .usage = "MODEL [-p TEXT | -f FILE | -] [OPTIONS]",
    .groups = groups,
    .min_words = 1,
    .max_words = 2,
    .run = run,
    .more_help = more_help,
};
