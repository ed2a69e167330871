#include "text/jinja_run.h"

#include <stdio.h>

/* Expressions. Each kind of node has its function in a table, so that the frames on the stack stay
 * small however the compiler inlines. */

enum { MAX_FRAMES = 1000 };

typedef bool eval_fn(struct jinja *j, struct scope *scope, const struct node *node,
                     struct value *out);

bool run_enter(struct jinja *j)
{
    if (++j->depth <= MAX_FRAMES)
        return jinja_step(j);
    return jinja_fail_status(j, HTH_ERROR_LIMIT, "expressions and macros are nested too deeply");
}

int run_symbol(const struct jinja *j, const char *name)
{
    for (int i = 0; i < j->tmpl->n_symbols; i++)
        if (str_equal((struct str){j->tmpl->symbols[i]->ptr, j->tmpl->symbols[i]->len},
                      str_of(name)))
            return i;
    return -1;
}

struct scope *run_scope(struct jinja *j, struct scope *parent)
{
    struct scope *scope = jinja_alloc(j, 1, sizeof *scope);
    if (scope)
        scope->parent = parent;
    return scope;
}

bool run_set(struct jinja *j, struct scope *scope, int symbol, struct value v)
{
    if (symbol < 0)
        return true;
    if (!scope) {
        j->root[symbol] = v;
        return true;
    }
    for (int i = 0; i < scope->count; i++)
        if (scope->vars[i].symbol == symbol) {
            scope->vars[i].value = v;
            return true;
        }
    if (scope->count == scope->capacity) {
        int capacity = scope->capacity ? scope->capacity * 2 : 4;
        struct variable *vars = jinja_alloc(j, (size_t)capacity, sizeof *vars);
        if (!vars)
            return false;
        if (scope->count)
            memcpy(vars, scope->vars, (size_t)scope->count * sizeof *vars);
        scope->vars = vars;
        scope->capacity = capacity;
    }
    scope->vars[scope->count++] = (struct variable){symbol, v};
    return true;
}

static bool eval_const(struct jinja *j, struct scope *scope, const struct node *node,
                       struct value *out)
{
    (void)j;
    (void)scope;
    *out = node->value;
    return true;
}

static bool eval_name(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out)
{
    for (; scope; scope = scope->parent)
        for (int i = 0; i < scope->count; i++)
            if (scope->vars[i].symbol == node->symbol) {
                *out = scope->vars[i].value;
                return true;
            }
    *out = j->root[node->symbol];
    if (out->kind != VALUE_ABSENT)
        return true;
    const struct text *name = j->tmpl->symbols[node->symbol];
    return jinja_undefined_name(j, (struct str){name->ptr, name->len}, out);
}

static bool eval_sequence(struct jinja *j, struct scope *scope, const struct node *node,
                          struct value *out)
{
    struct list *list = jinja_list_new(j, 0);
    struct value item;
    if (!list)
        return false;
    for (const struct node *each = node->a; each; each = each->next)
        if (!run_eval(j, scope, each, &item) || !jinja_list_append(j, list, item))
            return false;
    *out = node->kind == NODE_LIST ? value_list(list) : value_tuple(list);
    return true;
}

static bool eval_dict(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out)
{
    struct dict *dict = jinja_dict_new(j);
    struct value key, value;
    if (!dict)
        return false;
    for (const struct node *pair = node->a; pair; pair = pair->next)
        if (!run_eval(j, scope, pair->a, &key) || !run_eval(j, scope, pair->b, &value) ||
            !jinja_dict_set(j, dict, key, value))
            return false;
    *out = value_dict(dict);
    return true;
}

static bool eval_attr(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out)
{
    struct value object;
    if (!run_eval(j, scope, node->a, &object))
        return false;
    j->line = node->line;
    return jinja_get_attr(j, object, node->value, out);
}

static bool eval_slice_of(struct jinja *j, struct scope *scope, const struct node *slice,
                          struct value object, struct value *out)
{
    const struct node *parts[3] = {slice->a, slice->b, slice->c};
    struct value bounds[3];
    for (int i = 0; i < 3; i++) {
        bounds[i] = value_none();
        if (parts[i] && !run_eval(j, scope, parts[i], &bounds[i]))
            return false;
    }
    return jinja_slice(j, object, bounds, out);
}

static bool eval_item(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out)
{
    struct value object, key;
    if (!run_eval(j, scope, node->a, &object))
        return false;
    if (node->b->kind == NODE_SLICE)
        return eval_slice_of(j, scope, node->b, object, out);
    if (!run_eval(j, scope, node->b, &key))
        return false;
    j->line = node->line;
    return jinja_get_item(j, object, key, out);
}

static bool eval_lone_slice(struct jinja *j, struct scope *scope, const struct node *node,
                            struct value *out)
{
    (void)scope;
    (void)node;
    (void)out;
    return jinja_fail(j, "a slice among several subscripts");
}

/* Arguments being gathered. */
struct gathered {
    struct list *list;
    struct keyword *keywords;
    size_t count, capacity;
};

static bool add_keyword(struct jinja *j, struct gathered *args, struct value name, struct value v)
{
    if (name.kind != VALUE_STRING)
        return jinja_fail(j, "keywords must be strings");
    for (size_t i = 0; i < args->count; i++) {
        const struct text *known = args->keywords[i].name;
        if (!jinja_step(j))
            return false;
        if (str_equal((struct str){known->ptr, known->len}, value_str(name)))
            return jinja_fail(j, "multiple values for the keyword argument '%.*s'",
                              (int)(known->len < 100 ? known->len : 100), known->ptr);
    }
    if (args->count == args->capacity) {
        size_t wanted = args->capacity ? args->capacity * 2 : 4;
        struct keyword *keywords = jinja_alloc(j, wanted, sizeof *keywords);
        if (!keywords)
            return false;
        if (args->count)
            memcpy(keywords, args->keywords, args->count * sizeof *keywords);
        args->keywords = keywords;
        args->capacity = wanted;
    }
    args->keywords[args->count++] = (struct keyword){name.text, v};
    return true;
}

static bool add_starred(struct jinja *j, const struct node *node, struct value v,
                        struct gathered *args)
{
    if (node->kind == NODE_STAR) {
        struct list *more;
        if (!jinja_to_list(j, v, &more))
            return false;
        for (size_t i = 0; i < more->count; i++)
            if (!jinja_list_append(j, args->list, more->items[i]))
                return false;
        return true;
    }
    if (v.kind != VALUE_DICT)
        return jinja_fail(j, "argument after ** must be a mapping, not %s", value_type_name(v));
    for (size_t i = 0; i < v.dict->count; i++)
        if (!add_keyword(j, args, v.dict->entries[i].key, v.dict->entries[i].value))
            return false;
    return true;
}

bool run_arguments(struct jinja *j, struct scope *scope, const struct node *nodes,
                   struct args *args)
{
    struct gathered gathered = {0};
    struct value v;
    *args = (struct args){0};
    if (!nodes)
        return true;
    gathered.list = jinja_list_new(j, 0);
    if (!gathered.list)
        return false;
    for (const struct node *node = nodes; node; node = node->next) {
        bool wrapped =
            node->kind == NODE_KEYWORD || node->kind == NODE_STAR || node->kind == NODE_STARSTAR;
        if (!run_eval(j, scope, wrapped ? node->a : node, &v))
            return false;
        bool ok = !wrapped                     ? jinja_list_append(j, gathered.list, v)
                  : node->kind == NODE_KEYWORD ? add_keyword(j, &gathered, node->value, v)
                                               : add_starred(j, node, v, &gathered);
        if (!ok)
            return false;
    }
    args->items = gathered.list->items;
    args->count = gathered.list->count;
    args->keywords = gathered.keywords;
    args->n_keywords = gathered.count;
    return true;
}

static bool eval_call(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out)
{
    struct value callee;
    struct args args;
    if (!run_eval(j, scope, node->a, &callee) || !run_arguments(j, scope, node->b, &args))
        return false;
    j->line = node->line;
    if (callee.kind == VALUE_UNDEFINED && node->a->kind == NODE_NAME) {
        const struct text *name = j->tmpl->symbols[node->a->symbol];
        return jinja_fail_status(j, HTH_ERROR_UNSUPPORTED,
                                 "'%.*s' is undefined: hearth has no function of that name",
                                 (int)(name->len < 200 ? name->len : 200), name->ptr);
    }
    return jinja_call(j, callee, &args, out);
}

static bool missing_row(struct jinja *j, const struct node *node)
{
    return jinja_fail_status(j, HTH_ERROR_UNSUPPORTED, "hearth has no %s named '%.*s'",
                             node->kind == NODE_FILTER ? "filter" : "test",
                             (int)node->value.text->len, node->value.text->ptr);
}

bool run_filter(struct jinja *j, struct scope *scope, const struct node *filter, struct value input,
                struct value *out)
{
    struct args args;
    if (filter->a && !run_filter(j, scope, filter->a, input, &input))
        return false;
    if (!run_arguments(j, scope, filter->b, &args))
        return false;
    j->line = filter->line;
    if (!filter->row)
        return missing_row(j, filter);
    return jinja_call_row(j, filter->row, input, &args, out);
}

static bool eval_row(struct jinja *j, struct scope *scope, const struct node *node,
                     struct value *out)
{
    struct value input;
    struct args args;
    if (!run_eval(j, scope, node->a, &input) || !run_arguments(j, scope, node->b, &args))
        return false;
    j->line = node->line;
    if (!node->row)
        return missing_row(j, node);
    return jinja_call_row(j, node->row, input, &args, out);
}

static bool eval_not(struct jinja *j, struct scope *scope, const struct node *node,
                     struct value *out)
{
    struct value v;
    if (!run_eval(j, scope, node->a, &v))
        return false;
    *out = value_bool(!value_truth(v));
    return true;
}

static bool eval_sign(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out)
{
    struct value v;
    return run_eval(j, scope, node->a, &v) && jinja_negate(j, node->kind == NODE_NEGATIVE, v, out);
}

static bool eval_binary(struct jinja *j, struct scope *scope, const struct node *node,
                        struct value *out)
{
    struct value a, b;
    if (!run_eval(j, scope, node->a, &a) || !run_eval(j, scope, node->b, &b))
        return false;
    j->line = node->line;
    return jinja_binary(j, node->op, a, b, out);
}

static bool eval_concat(struct jinja *j, struct scope *scope, const struct node *node,
                        struct value *out)
{
    size_t mark = jinja_mark(j);
    struct value v;
    for (const struct node *each = node->a; each; each = each->next)
        if (!run_eval(j, scope, each, &v) || !jinja_put_text(j, v))
            return false;
    return jinja_take(j, mark, out);
}

static bool eval_logic(struct jinja *j, struct scope *scope, const struct node *node,
                       struct value *out)
{
    if (!run_eval(j, scope, node->a, out))
        return false;
    if (value_truth(*out) == (node->kind == NODE_OR))
        return true;
    return run_eval(j, scope, node->b, out);
}

static bool compare(struct jinja *j, const struct node *operand, struct value a, struct value b,
                    bool *out)
{
    enum order order;
    const char *op = operand->op == T_LT   ? "<"
                     : operand->op == T_LE ? "<="
                     : operand->op == T_GT ? ">"
                                           : ">=";
    switch (operand->op) {
    case T_NAME:
        if (!jinja_contains(j, b, a, out))
            return false;
        *out = *out != operand->flag;
        return true;
    case T_EQ: return jinja_equal(j, a, b, out);
    case T_NE:
        if (!jinja_equal(j, a, b, out))
            return false;
        *out = !*out;
        return true;
    default: break;
    }
    if (!jinja_order(j, op, a, b, &order))
        return false;
    bool less = operand->op == T_LT || operand->op == T_LE;
    bool or_equal = operand->op == T_LE || operand->op == T_GE;
    *out = order == (less ? ORDER_LESS : ORDER_GREATER) || (or_equal && order == ORDER_EQUAL);
    return true;
}

static bool eval_compare(struct jinja *j, struct scope *scope, const struct node *node,
                         struct value *out)
{
    struct value a, b;
    bool result = true;
    if (!run_eval(j, scope, node->a, &a))
        return false;
    for (const struct node *operand = node->b; operand && result; operand = operand->next) {
        if (!run_eval(j, scope, operand->a, &b))
            return false;
        j->line = operand->line;
        if (!compare(j, operand, a, b, &result))
            return false;
        a = b;
    }
    *out = value_bool(result);
    return true;
}

static bool eval_cond(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out)
{
    if (!run_eval(j, scope, node->b, out))
        return false;
    if (value_truth(*out))
        return run_eval(j, scope, node->a, out);
    if (node->c)
        return run_eval(j, scope, node->c, out);
    const size_t room = 128;
    char *hint = jinja_alloc(j, room, 1);
    if (!hint)
        return false;
    snprintf(hint, room,
             "the inline if-expression on line %d evaluated to false and no else section was "
             "defined.",
             node->line);
    return jinja_undefined(j, hint, out);
}

static eval_fn *const evals[] = {
    [NODE_CONST] = eval_const,     [NODE_NAME] = eval_name,        [NODE_TUPLE] = eval_sequence,
    [NODE_LIST] = eval_sequence,   [NODE_DICT] = eval_dict,        [NODE_ATTR] = eval_attr,
    [NODE_ITEM] = eval_item,       [NODE_SLICE] = eval_lone_slice, [NODE_CALL] = eval_call,
    [NODE_FILTER] = eval_row,      [NODE_TEST] = eval_row,         [NODE_NOT] = eval_not,
    [NODE_NEGATIVE] = eval_sign,   [NODE_POSITIVE] = eval_sign,    [NODE_BINARY] = eval_binary,
    [NODE_CONCAT] = eval_concat,   [NODE_AND] = eval_logic,        [NODE_OR] = eval_logic,
    [NODE_COMPARE] = eval_compare, [NODE_COND] = eval_cond,
};

bool run_eval(struct jinja *j, struct scope *scope, const struct node *node, struct value *out)
{
    if (!run_enter(j))
        return false;
    j->line = node->line;
    bool ok = evals[node->kind](j, scope, node, out);
    run_leave(j);
    return ok;
}
