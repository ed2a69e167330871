#include "text/template.h"

#include <jansson.h>

#include "base/os.h"
#include "text/jinja_run.h"

static struct template_limits with_defaults(const struct template_limits *given)
{
    struct template_limits limits = given ? *given : (struct template_limits){0};
    if (!limits.max_steps)
        limits.max_steps = 20 * 1000 * 1000;
    if (!limits.max_output)
        limits.max_output = (size_t)64 << 20;
    if (!limits.max_memory)
        limits.max_memory = (size_t)256 << 20;
    if (limits.max_depth <= 0)
        limits.max_depth = 200;
    if (!limits.max_time_ms)
        limits.max_time_ms = 1000;
    return limits;
}

bool template_uses(const struct template *tmpl, struct str name)
{
    for (int i = 0; i < tmpl->n_symbols; i++)
        if (str_equal((struct str){tmpl->symbols[i]->ptr, tmpl->symbols[i]->len}, name))
            return true;
    return false;
}

/* The outermost variables: the context's members, then the engine's functions. */
static bool fill_root(struct jinja *j, const json_t *context)
{
    const struct template *tmpl = j->tmpl;
    j->root = jinja_alloc(j, (size_t)tmpl->n_symbols + 1, sizeof *j->root);
    if (!j->root)
        return false;
    for (int i = 0; i < tmpl->n_symbols; i++) {
        struct str name = {tmpl->symbols[i]->ptr, tmpl->symbols[i]->len};
        const json_t *member = json_object_getn(context, name.ptr, name.len);
        const struct jinja_row *row = jinja_row_find(jinja_functions, name);
        if (member) {
            if (!jinja_from_json(j, member, &j->root[i]))
                return false;
        } else if (row) {
            j->root[i] = (struct value){.kind = VALUE_FUNCTION, .function = row};
        }
    }
    j->symbol_loop = run_symbol(j, "loop");
    j->symbol_caller = run_symbol(j, "caller");
    j->symbol_kwargs = run_symbol(j, "kwargs");
    j->symbol_varargs = run_symbol(j, "varargs");
    return true;
}

enum hth_status template_of_model(struct template **out, const struct gguf *gguf,
                                  const struct log *log)
{
    struct str source;
    struct strbuf name = {0};
    *out = NULL;
    if (!gguf_get_str(gguf_key_find(gguf, "tokenizer.chat_template"), &source))
        return HTH_OK;
    strbuf_printf(&name, "%s: chat template", gguf_path(gguf));
    enum hth_status status = name.failed ? log_fail_memory(log, "a template's name", source.len)
                                         : template_parse(out, source, name.ptr, log);
    strbuf_free(&name);
    return status;
}

enum hth_status template_render(const struct template *tmpl, const struct json_t *context,
                                const struct template_limits *limits, struct template_clock clock,
                                struct strbuf *out, const struct log *log)
{
    struct jinja j = {.log = log,
                      .name = tmpl->name,
                      .line = 1,
                      .limits = with_defaults(limits),
                      .clock = clock,
                      .out = out,
                      .out_start = out->len,
                      .tmpl = tmpl};
    if (!json_is_object(context))
        return log_fail(log, HTH_ERROR_ARGUMENT, "%s: its variables must be given as a JSON object",
                        tmpl->name);
    uint64_t now = os_time_ns();
    /* An eighth is kept for the operation under way and for giving the memory back. */
    j.deadline_ns = now + (uint64_t)j.limits.max_time_ms * (1000000 / 8 * 7);
    j.rng = rng_seed(now);
    size_t start = out->len;
    bool ok = fill_root(&j, context) && run_body(&j, NULL, tmpl->body) != FLOW_ERROR;
    arena_free(&j.arena);
    if (ok)
        return HTH_OK;
    out->len = start;
    if (out->ptr)
        out->ptr[start] = 0;
    return j.status;
}
