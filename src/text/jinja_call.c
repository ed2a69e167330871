#include "text/jinja_run.h"

/* Calls: binding of arguments to parameters, macros, everything that can be called. */

const struct jinja_row *jinja_row_find(const struct jinja_row *rows, struct str name)
{
    for (; rows->name; rows++)
        if (str_equal(name, str_of(rows->name)))
            return rows;
    return NULL;
}

const struct jinja_row *jinja_filter_find(struct str name)
{
    static const struct jinja_row *const tables[] = {jinja_text_filters, jinja_list_filters,
                                                     jinja_pick_filters, jinja_misc_filters};
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        const struct jinja_row *row = jinja_row_find(tables[i], name);
        if (row)
            return row;
    }
    return NULL;
}

const struct jinja_row *jinja_test_find(struct str name)
{
    return jinja_row_find(jinja_tests, name);
}

/* The next of "a b c" and where the rest begins. */
static struct str next_param(const char **params)
{
    const char *start = *params;
    size_t len = strcspn(start, " ");
    *params = start + len + (start[len] == ' ');
    return (struct str){start, len};
}

static bool bind_keyword(struct jinja *j, const struct jinja_row *row, const struct keyword *given,
                         struct args *args)
{
    struct str name = {given->name->ptr, given->name->len};
    const char *params = row->params;
    for (size_t i = 0; *params; i++) {
        if (!str_equal(next_param(&params), name))
            continue;
        if (args->slots[i].kind != VALUE_ABSENT)
            return jinja_fail(j, "%s() got multiple values for argument '%.*s'", row->name,
                              (int)name.len, name.ptr);
        args->slots[i] = given->value;
        return true;
    }
    return jinja_fail(j, "%s() got an unexpected keyword argument '%.*s'", row->name,
                      (int)(name.len < 100 ? name.len : 100), name.ptr);
}

static bool bind(struct jinja *j, const struct jinja_row *row, struct args *args)
{
    const char *params = row->params;
    size_t n_params = 0;
    while (*params) {
        next_param(&params);
        n_params++;
    }
    if (args->count > n_params)
        return jinja_fail(j, "%s() takes at most %zu arguments (%zu given)", row->name, n_params,
                          args->count);
    for (size_t i = 0; i < n_params; i++)
        args->slots[i] = i < args->count ? args->items[i] : value_of_kind(VALUE_ABSENT);
    for (size_t i = 0; i < args->n_keywords; i++)
        if (!bind_keyword(j, row, &args->keywords[i], args))
            return false;
    params = row->params;
    for (int i = 0; i < row->required; i++) {
        struct str name = next_param(&params);
        if (args->slots[i].kind == VALUE_ABSENT)
            return jinja_fail(j, "%s() is missing the argument '%.*s'", row->name, (int)name.len,
                              name.ptr);
    }
    return true;
}

static const char *kind_of_row(const struct jinja_row *row)
{
    struct str name = str_of(row->name);
    return jinja_filter_find(name) == row                 ? "filter"
           : jinja_row_find(jinja_functions, name) == row ? "function"
                                                          : "method";
}

bool jinja_call_row(struct jinja *j, const struct jinja_row *row, struct value self,
                    struct args *args, struct value *out)
{
    if (!row->fn)
        return jinja_fail_status(j, HTH_ERROR_UNSUPPORTED, "hearth has no %s named '%s'",
                                 kind_of_row(row), row->name);
    if (row->params[0] != '*' && !bind(j, row, args))
        return false;
    return row->fn(j, self, args, out);
}

/* Takes the keyword argument of that name out of `args`. */
static bool take_keyword(struct args *args, struct str name, struct value *out)
{
    for (size_t i = 0; i < args->n_keywords; i++) {
        const struct text *known = args->keywords[i].name;
        if (!str_equal((struct str){known->ptr, known->len}, name))
            continue;
        *out = args->keywords[i].value;
        args->n_keywords--;
        memmove(&args->keywords[i], &args->keywords[i + 1],
                (args->n_keywords - i) * sizeof *args->keywords);
        return true;
    }
    return false;
}

static bool missing_argument(struct jinja *j, struct str name, struct value *out)
{
    size_t mark = jinja_mark(j);
    struct value hint;
    return jinja_put_str(j, "parameter '") && jinja_put(j, name.ptr, name.len) &&
           jinja_put_str(j, "' was not provided") && jinja_take(j, mark, &hint) &&
           jinja_undefined(j, hint.text->ptr, out);
}

static bool bind_params(struct jinja *j, const struct macro *macro, struct args *args,
                        struct scope *scope)
{
    size_t at = 0;
    for (const struct node *param = macro->node->a; param; param = param->next, at++) {
        struct str name = value_str(param->value);
        struct value v = value_of_kind(VALUE_ABSENT);
        bool given = at < args->count;
        if (given)
            v = args->items[at];
        else
            given = take_keyword(args, name, &v);
        if (!given &&
            !(param->a ? run_eval(j, scope, param->a, &v) : missing_argument(j, name, &v)))
            return false;
        if (!run_set(j, scope, param->symbol, v))
            return false;
    }
    return true;
}

static bool bind_caller(struct jinja *j, struct args *args, struct scope *scope)
{
    struct value caller;
    if (!take_keyword(args, STR("caller"), &caller) &&
        !jinja_undefined(j, "No caller defined", &caller))
        return false;
    return run_set(j, scope, j->symbol_caller, caller);
}

static bool bind_kwargs(struct jinja *j, const struct args *args, struct scope *scope)
{
    struct dict *dict = jinja_dict_new(j);
    if (!dict)
        return false;
    for (size_t i = 0; i < args->n_keywords; i++) {
        struct value key = {.kind = VALUE_STRING, .text = args->keywords[i].name};
        if (!jinja_dict_set(j, dict, key, args->keywords[i].value))
            return false;
    }
    return run_set(j, scope, j->symbol_kwargs, value_dict(dict));
}

/* The rest: caller, kwargs and varargs where the body uses them, an error where it does not. */
static bool bind_rest(struct jinja *j, const struct macro *macro, struct args *args,
                      size_t n_params, struct scope *scope)
{
    unsigned uses = macro->node->uses;
    struct str name = value_str(macro->node->value);
    if ((uses & USES_CALLER) && !(uses & HAS_CALLER_PARAM) && !bind_caller(j, args, scope))
        return false;
    if (uses & USES_KWARGS) {
        if (!bind_kwargs(j, args, scope))
            return false;
    } else if (args->n_keywords > 0) {
        const struct text *first = args->keywords[0].name;
        return jinja_fail(j, "macro '%.*s' takes no keyword argument '%.*s'", (int)name.len,
                          name.ptr, (int)(first->len < 100 ? first->len : 100), first->ptr);
    }
    if (!(uses & USES_VARARGS))
        return args->count <= n_params ||
               jinja_fail(j, "macro '%.*s' takes not more than %zu argument(s)", (int)name.len,
                          name.ptr, n_params);
    struct list *rest = jinja_list_new(j, 0);
    if (!rest)
        return false;
    for (size_t i = n_params; i < args->count; i++)
        if (!jinja_list_append(j, rest, args->items[i]))
            return false;
    return run_set(j, scope, j->symbol_varargs, value_tuple(rest));
}

bool run_macro_call(struct jinja *j, const struct macro *macro, struct args *args,
                    struct value *out)
{
    size_t mark = jinja_mark(j), n_params = 0;
    for (const struct node *param = macro->node->a; param; param = param->next)
        n_params++;
    struct scope *scope = run_scope(j, macro->closure);
    if (!scope || !jinja_enter(j) || !bind_params(j, macro, args, scope) ||
        !bind_rest(j, macro, args, n_params, scope))
        return false;
    if (run_body(j, scope, macro->node->b) == FLOW_ERROR)
        return false;
    jinja_leave(j);
    return jinja_take(j, mark, out);
}

bool jinja_put_macro(struct jinja *j, const struct macro *macro)
{
    return jinja_put_str(j, "<Macro ") && jinja_put_string_repr(j, value_str(macro->node->value)) &&
           jinja_put_str(j, ">");
}

bool jinja_call(struct jinja *j, struct value callee, struct args *args, struct value *out)
{
    if (!jinja_step(j))
        return false;
    switch ((enum value_kind)callee.kind) {
    case VALUE_UNDEFINED: return jinja_fail_undefined(j, callee);
    case VALUE_FUNCTION: return jinja_call_row(j, callee.function, callee, args, out);
    case VALUE_METHOD: return jinja_call_row(j, callee.method->row, callee.method->self, args, out);
    case VALUE_MACRO: return run_macro_call(j, callee.macro, args, out);
    case VALUE_LOOP: return run_loop_call(j, callee.loop, args, out);
    case VALUE_JOINER: /* nothing the first time, then its separator */
        if (callee.cycler->at++ == 0)
            return jinja_borrow(j, STR(""), out);
        *out = callee.cycler->list->items[0];
        return true;
    default: return jinja_fail(j, "'%s' object is not callable", value_type_name(callee));
    }
}
