#include "text/template.h"

#include <jansson.h>
#include <stdio.h>

#include "base/file.h"
#include "cli/command.h"
#include "cli/talk.h"
#include "gguf/gguf.h"
#include "text/json_read.h"
#include "text/tokenizer.h"

enum { MAX_FILE_BYTES = 64 << 20 };

/* clang-format off */
static const struct option options[] = {
    {.name = "template", .type = OPTION_TEXT, .metavar = "FILE", .help = "this template, not a model's"},
    {.name = "context", .type = OPTION_TEXT, .metavar = "FILE.json",
     .help = "the template's variables, a JSON object (- is stdin): {\"messages\": [...], ...}"},
    {.name = "now", .type = OPTION_TEXT, .metavar = "TIME",
     .help = "what strftime_now shows: 2026-07-04T12:30:15 (the system's time)"},
    {0},
};
/* clang-format on */
static const struct option_group template_options = {"What to render", options};

/* Days from 1970-01-01 in the Gregorian calendar: H. Hinnant, "chrono-compatible low-level date
 * algorithms", days_from_civil. */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* "2026-07-04T12:30:15" (or with a space, or the day alone) in seconds; false if it is no time. */
static bool parse_time(const char *text, int64_t *seconds)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day, hour = 0, minute = 0, second = 0, end = 0;
    char between;
    if (sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &end) != 3)
        return false;
    if (text[end]) {
        int rest = 0,
            n = sscanf(text + end, "%c%2d:%2d:%2d%n", &between, &hour, &minute, &second, &rest);
        if (n != 4 || (between != 'T' && between != ' ') || text[end + rest])
            return false;
    }
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1970 || month < 1 || month > 12 || day < 1 ||
        day > days[month - 1] + (month == 2 && leap) || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 60)
        return false;
    *seconds = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    return true;
}

static int read_context(const char *path, json_t **out)
{
    struct strbuf text = {0};
    *out = NULL;
    enum hth_status status = file_read(path, MAX_FILE_BYTES, &text, talk_log());
    int code = EXIT_FAILED;
    if (status == HTH_OK && text.len == 0) {
        talk_error("%s: is empty, and must be a JSON object: {\"messages\": [...], ...}", path);
    } else if (status == HTH_OK) {
        json_error_t error;
        *out = json_read(text.ptr, text.len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
        if (!*out && json_lacked_memory(&error))
            talk_error("out of memory: %s", path);
        else if (!*out)
            talk_error("%s: line %d, column %d: %s", path, error.line, error.column, error.text);
        else if (!json_is_object(*out))
            talk_error("%s: must be a JSON object: {\"messages\": [...], ...}", path);
        else
            code = EXIT_OK;
    }
    strbuf_free(&text);
    return code;
}

/* The model's own tokens, where the context does not say otherwise. */
static int add_token(json_t *context, const char *name, const struct tokenizer *tokenizer,
                     int32_t id)
{
    if (id < 0 || json_object_get(context, name))
        return EXIT_OK;
    struct strbuf text = {0};
    tokenizer_piece(tokenizer, id, true, false, &text);
    int failed =
        text.failed ||
        json_object_set_new(context, name, json_stringn(text.ptr ? text.ptr : "", text.len)) != 0;
    strbuf_free(&text);
    return failed ? talk_error("out of memory: %s", name) : EXIT_OK;
}

/* A vocabulary that cannot be read leaves a template that can be rendered. */
static int add_tokens(json_t *context, const struct gguf *gguf)
{
    struct tokenizer *tokenizer = NULL;
    if (!gguf_key_find(gguf, "tokenizer.ggml.model"))
        return EXIT_OK;
    enum hth_status status = tokenizer_create(&tokenizer, gguf, NULL);
    if (status == HTH_ERROR_MEMORY)
        return talk_error("out of memory: the vocabulary of %s", gguf_path(gguf));
    if (status) {
        log_warning(talk_log(),
                    "%s: its vocabulary cannot be read (%s): bos_token and eos_token are not set",
                    gguf_path(gguf), hth_status_name(status));
        return EXIT_OK;
    }
    int code = add_token(context, "bos_token", tokenizer, tokenizer_bos(tokenizer));
    if (code == EXIT_OK)
        code = add_token(context, "eos_token", tokenizer, tokenizer_eos(tokenizer));
    tokenizer_destroy(tokenizer);
    return code;
}

static int parse_model(const char *path, json_t *context, struct template **out)
{
    struct gguf *gguf;
    if (gguf_open(&gguf, path, talk_log()))
        return EXIT_FAILED;
    int code = EXIT_OK;
    if (template_of_model(out, gguf, talk_log()))
        code = EXIT_FAILED;
    else if (!*out)
        code = talk_error("%s: has no chat template (key tokenizer.chat_template)", path);
    else
        code = add_tokens(context, gguf);
    gguf_close(gguf);
    return code;
}

static int parse_file(const char *path, struct template **out)
{
    struct strbuf source = {0};
    enum hth_status status = file_read(path, MAX_FILE_BYTES, &source, talk_log());
    if (status == HTH_OK)
        status = template_parse(out, strbuf_str(&source), path, talk_log());
    strbuf_free(&source);
    return status ? EXIT_FAILED : EXIT_OK;
}

static int run(const struct args *args)
{
    const char *model = args_word(args, 0), *file = args_text(args, "template");
    const char *context_path = args_text(args, "context"), *now = args_text(args, "now");
    struct template_clock clock = {-1};
    if ((model != NULL) + (file != NULL) != 1)
        return usage_error(args->command, "give a model or --template FILE");
    if (!context_path)
        return usage_error(args->command,
                           "the template's variables are missing: give --context FILE");
    if (now && !parse_time(now, &clock.seconds))
        return usage_error(args->command,
                           "--now wants a time such as 2026-07-04T12:30:15, not \"%s\"", now);
    json_t *context = NULL;
    struct template *template = NULL;
    struct strbuf text = {0};
    int code = read_context(context_path, &context);
    if (code == EXIT_OK)
        code = file ? parse_file(file, &template) : parse_model(model, context, &template);
    if (code == EXIT_OK && template_render(template, context, NULL, clock, &text, talk_log()))
        code = EXIT_FAILED;
    if (code == EXIT_OK)
        out_put(text.ptr, text.len);
    strbuf_free(&text);
    template_free(template);
    json_decref(context);
    return code;
}

static const struct option_group *const groups[] = {&template_options, NULL};

const struct command command_template = {
    .name = "template",
    .summary = "renders a chat template",
    .usage = "(MODEL | --template FILE) --context FILE.json [--now TIME]",
    .groups = groups,
    .max_words = 1,
    .run = run,
};
