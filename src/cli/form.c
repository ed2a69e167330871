#include "cli/form.h"

#include <jansson.h>
#include <stdio.h>

#include "cli/talk.h"
#include "text/json_read.h"
#include "text/stops.h"
#include "text/utf8.h"

/* clang-format off */
static const struct option options[] = {
    {.name = "stop", .type = OPTION_TEXTS, .metavar = "TEXT",
     .also = "reverse-prompt r antiprompt stop-sequence stop-sequences stop-string stop-strings stop-words",
     .help = "the answer ends before this, which may be a part of a token or several; several times, \\n is a newline"},
    {.name = "chat-template", .type = OPTION_TEXT, .metavar = "FILE", .also = "jinja chat-template-file template prompt-template",
     .help = "a template (Jinja) in place of the model's own"},
    {.name = "template-var", .type = OPTION_TEXTS, .metavar = "NAME=JSON",
     .also = "chat-template-kwargs chat-template-kwarg template-kwargs reasoning-effort",
     .help = "a variable of the template, text where it is no JSON: reasoning_effort=low; several times"},
    {.name = "no-thinking", .type = OPTION_FLAG, .also = "nothink no-think think reasoning reasoning-budget enable-thinking hidethinking",
     .help = "tells the template that the model is to answer at once (enable_thinking=false)"},
    {0},
};
/* clang-format on */
const struct option_group options_form = {"Template and end", options};

/* What templates call it: most of them so, DeepSeek's and Granite's so. */
static const char *const thinking[] = {"enable_thinking", "thinking"};

/* --- variables -------------------------------------------------------------------------------- */

/* "name=value": the name's length; 0: it is none. */
static size_t name_length(const char *text)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    size_t len = *text && strchr(first, *text) ? strspn(text, rest) : 0;
    return text[len] == '=' ? len : 0;
}

static bool is_conversation(struct str name)
{
    return str_equal(name, STR("messages")) || str_equal(name, STR("add_generation_prompt"));
}

/* What looks like JSON must be it; anything else that is not is text. */
static int read_value(const struct args *args, struct str name, const char *text, json_t **out)
{
    json_error_t error;
    *out = json_read(text, strlen(text), JSON_DECODE_ANY, &error);
    if (*out)
        return EXIT_OK;
    if (json_lacked_memory(&error))
        return talk_error("out of memory: a template's variable");
    if (*text && strchr("{[\"", *text))
        return usage_error(args->command, "--template-var %.*s is not JSON: %s", (int)name.len,
                           name.ptr, error.text);
    if (!utf8_valid(str_of(text)))
        return usage_error(args->command, "--template-var %.*s is not UTF-8", (int)name.len,
                           name.ptr);
    *out = json_string(text);
    return *out ? EXIT_OK : talk_error("out of memory: a template's variable");
}

static int add_variable(const struct args *args, const char *text, json_t *all)
{
    struct str name = {text, name_length(text)};
    json_t *value;
    if (name.len == 0)
        return usage_error(args->command,
                           "--template-var wants a name and its value, such as "
                           "enable_thinking=false, not \"%s\"",
                           text);
    if (is_conversation(name))
        return usage_error(args->command, "--template-var %.*s is the conversation itself",
                           (int)name.len, name.ptr);
    int code = read_value(args, name, text + name.len + 1, &value);
    if (code)
        return code;
    return json_object_setn_new(all, name.ptr, name.len, value) == 0
               ? EXIT_OK
               : talk_error("out of memory: a template's variable");
}

static int fill_variables(const struct args *args, json_t *all)
{
    const char *text;
    int code = EXIT_OK;
    for (size_t i = 0; args_flag(args, "no-thinking") && i < ARRAY_LEN(thinking); i++)
        if (json_object_set_new(all, thinking[i], json_false()) != 0)
            code = talk_error("out of memory: a template's variable");
    for (int i = 0; code == EXIT_OK && (text = args_texts(args, "template-var", i)); i++)
        code = add_variable(args, text, all);
    return code;
}

static int read_variables(const struct args *args, struct form *form)
{
    json_t *all = json_object();
    int code = all ? fill_variables(args, all) : talk_error("out of memory: a template's variable");
    form->variables = NULL;
    if (code == EXIT_OK && json_object_size(all)) {
        size_t size = json_dumpb(all, NULL, 0, JSON_COMPACT);
        char *text = size ? arena_alloc(&form->texts, size + 1) : NULL;
        if (!text || json_dumpb(all, text, size, JSON_COMPACT) != size)
            code = talk_error("out of memory: a template's variable");
        form->variables = text;
    }
    json_decref(all);
    return code;
}

/* The name of the index-th variable, with its zero; NULL if there are fewer. */
static const char *variable_name(const struct args *args, int index, char out[64])
{
    const char *text = args_texts(args, "template-var", index);
    size_t len = text ? name_length(text) : 0;
    snprintf(out, 64, "%.*s", (int)(len < 63 ? len : 63), text ? text : "");
    return text ? out : NULL;
}

void form_check(const struct args *args, const struct hth_model *model)
{
    char name[64];
    bool heard = false;
    for (size_t i = 0; i < ARRAY_LEN(thinking); i++)
        heard = heard || hth_template_uses(model, thinking[i]);
    if (args_flag(args, "no-thinking") && !heard)
        log_warning(talk_log(),
                    "the model's chat template has no %s: --no-thinking changes nothing",
                    thinking[0]);
    for (int i = 0; variable_name(args, i, name); i++)
        if (!hth_template_uses(model, name))
            log_warning(talk_log(),
                        "the model's chat template has no variable %s: --template-var "
                        "%s changes nothing",
                        name, name);
}

/* --- texts that end an answer ----------------------------------------------------------------- */

static int read_stops(const struct args *args, struct form *form)
{
    const char *text;
    struct stops stops;
    form->n_stops = 0;
    while ((text = args_texts(args, "stop", (int)form->n_stops))) {
        size_t size = strlen(text) + 1;
        char *plain = arena_alloc(&form->texts, size);
        if (!plain || !unescape(text, plain, size))
            return talk_error("out of memory: --stop");
        form->stops[form->n_stops++] = plain;
    }
    int code = exit_of(stops_create(&stops, form->stops, form->n_stops, talk_log()));
    stops_destroy(&stops);
    return code;
}

/* --- all of it -------------------------------------------------------------------------------- */

int form_change(const struct args *args, struct form *form)
{
    struct form changed = *form;
    int code = read_variables(args, &changed);
    if (code == EXIT_OK)
        code = read_stops(args, &changed);
    form->texts = changed.texts;
    if (code == EXIT_OK)
        *form = changed;
    return code;
}

int form_read(const struct args *args, struct form *form)
{
    const char *path = args_text(args, "chat-template");
    int code = path ? read_text(NULL, path, path, &form->template.text) : EXIT_OK;
    form->template.name = path;
    return code ? code : form_change(args, form);
}

void form_free(struct form *form)
{
    strbuf_free(&form->template.text);
    arena_free(&form->texts);
}
