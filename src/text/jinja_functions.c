#include "text/jinja_value.h"

/* Global functions: Jinja's own, and those that transformers adds for chat templates. */

enum { MAX_RANGE = 100000 }; /* Jinja2's sandbox: sandbox.MAX_RANGE */

static bool function_range(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    int64_t n[3] = {0, 0, 1};
    (void)self;
    for (int i = 0; i < 3; i++)
        if (args->slots[i].kind != VALUE_ABSENT &&
            !jinja_arg_int(j, args->slots[i], "range", &n[i]))
            return false;
    if (args->slots[1].kind == VALUE_ABSENT) {
        n[1] = n[0];
        n[0] = 0;
    }
    if (n[2] == 0)
        return jinja_fail(j, "range() arg 3 must not be zero");
    /* As unsigned, the span cannot overflow. */
    uint64_t span = n[2] > 0 ? (n[1] > n[0] ? (uint64_t)n[1] - (uint64_t)n[0] : 0)
                             : (n[0] > n[1] ? (uint64_t)n[0] - (uint64_t)n[1] : 0);
    uint64_t size = n[2] > 0 ? (uint64_t)n[2] : 0 - (uint64_t)n[2];
    uint64_t count = span ? (span - 1) / size + 1 : 0;
    if (count > MAX_RANGE)
        return jinja_fail_status(j, HTH_ERROR_LIMIT, "range() is longer than %d", MAX_RANGE);
    struct range *range = jinja_alloc(j, 1, sizeof *range);
    if (!range)
        return false;
    *range = (struct range){n[0], n[1], n[2], (int64_t)count};
    *out = (struct value){.kind = VALUE_RANGE, .range = range};
    return true;
}

static bool fill_from_pairs(struct jinja *j, struct dict *dict, struct value pairs)
{
    struct cursor cursor;
    struct value item;
    bool more;
    if (!jinja_cursor(j, pairs, &cursor))
        return false;
    for (;;) {
        struct list *pair;
        if (!jinja_next(j, &cursor, &item, &more))
            return false;
        if (!more)
            return true;
        if (!jinja_to_list(j, item, &pair))
            return false;
        if (pair->count != 2)
            return jinja_fail(j, "dictionary update sequence element has length %zu; 2 is required",
                              pair->count);
        if (!jinja_dict_set(j, dict, pair->items[0], pair->items[1]))
            return false;
    }
}

/* What dict(…) and dict.update(…) take: a mapping or pairs, then keywords. */
bool jinja_dict_fill(struct jinja *j, struct dict *dict, const struct args *args)
{
    if (args->count > 1)
        return jinja_fail(j, "dict expected at most 1 argument, got %zu", args->count);
    if (args->count == 1 && args->items[0].kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, args->items[0]);
    if (args->count == 1 && args->items[0].kind == VALUE_DICT) {
        const struct dict *from = args->items[0].dict;
        for (size_t i = 0; i < from->count; i++)
            if (!jinja_dict_set(j, dict, from->entries[i].key, from->entries[i].value))
                return false;
    } else if (args->count == 1 && !fill_from_pairs(j, dict, args->items[0])) {
        return false;
    }
    for (size_t i = 0; i < args->n_keywords; i++) {
        struct value key = {.kind = VALUE_STRING, .text = args->keywords[i].name};
        if (!jinja_dict_set(j, dict, key, args->keywords[i].value))
            return false;
    }
    return true;
}

static bool function_dict(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct dict *dict = jinja_dict_new(j);
    (void)self;
    if (!dict)
        return false;
    *out = value_dict(dict);
    return jinja_dict_fill(j, dict, args);
}

static bool function_namespace(struct jinja *j, struct value self, struct args *args,
                               struct value *out)
{
    if (!function_dict(j, self, args, out))
        return false;
    out->kind = VALUE_NAMESPACE;
    return true;
}

static bool make_cycler(struct jinja *j, enum value_kind kind, struct value *items, size_t count,
                        struct value *out)
{
    struct cycler *cycler = jinja_alloc(j, 1, sizeof *cycler);
    struct list *list = jinja_list_new(j, count);
    if (!cycler || !list)
        return false;
    for (size_t i = 0; i < count; i++)
        list->items[list->count++] = items[i];
    cycler->list = list;
    *out = (struct value){.kind = (uint8_t)kind, .cycler = cycler};
    return true;
}

static bool function_cycler(struct jinja *j, struct value self, struct args *args,
                            struct value *out)
{
    (void)self;
    if (args->count == 0)
        return jinja_fail(j, "at least one item has to be provided");
    return make_cycler(j, VALUE_CYCLER, args->items, args->count, out);
}

static bool function_joiner(struct jinja *j, struct value self, struct args *args,
                            struct value *out)
{
    struct value separator;
    (void)self;
    if (args->slots[0].kind == VALUE_ABSENT ? !jinja_borrow(j, STR(", "), &separator)
                                            : !jinja_to_text(j, args->slots[0], &separator))
        return false;
    return make_cycler(j, VALUE_JOINER, &separator, 1, out);
}

/* On one line, with single blanks: templates break long sentences. */
static void fold_blanks(struct str text, char *out, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len && len + 1 < size; i++) {
        bool blank = strchr(" \t\r\n", text.ptr[i]) && text.ptr[i];
        if (!blank)
            out[len++] = text.ptr[i];
        else if (len && out[len - 1] != ' ')
            out[len++] = ' ';
    }
    while (len && out[len - 1] == ' ')
        len--;
    out[len] = '\0';
}

static bool function_raise(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct value text;
    char why[2048];
    (void)self;
    (void)out;
    if (!jinja_to_text(j, args->slots[0], &text))
        return false;
    fold_blanks(value_str(text), why, sizeof why);
    j->status = log_fail(j->log, HTH_ERROR_ARGUMENT, "%s, line %d, refuses this conversation: %s",
                         j->name, j->line, why[0] ? why : "it does not say why");
    return false;
}

static bool function_strftime_now(struct jinja *j, struct value self, struct args *args,
                                  struct value *out)
{
    struct str format;
    (void)self;
    return jinja_arg_str(j, args->slots[0], "format", &format) && jinja_strftime(j, format, out);
}

const struct jinja_row jinja_functions[] = {
    {"cycler", function_cycler, "*", 0},
    {"dict", function_dict, "*", 0},
    {"joiner", function_joiner, "sep", 0},
    {"lipsum", NULL, "*", 0},
    {"namespace", function_namespace, "*", 0},
    {"raise_exception", function_raise, "message", 1},
    {"range", function_range, "start stop step", 1},
    {"strftime_now", function_strftime_now, "format", 1},
    {0},
};
