#include "text/jinja_run.h"

/* Statements. */

typedef enum flow exec_fn(struct jinja *j, struct scope *scope, const struct node *node);

static bool assign_tuple(struct jinja *j, struct scope *scope, const struct node *target,
                         struct value v)
{
    struct cursor cursor;
    struct value item;
    size_t wanted = 0, got = 0;
    bool more = true;
    for (const struct node *each = target->a; each; each = each->next)
        wanted++;
    if (!value_is_iterable(v))
        return jinja_fail(j, "cannot unpack non-iterable %s object", value_type_name(v));
    struct list *list = jinja_list_new(j, wanted);
    if (!list || !jinja_cursor(j, v, &cursor))
        return false;
    while (more) {
        if (!jinja_next(j, &cursor, &item, &more))
            return false;
        if (more && ++got > wanted)
            return jinja_fail(j, "too many values to unpack (expected %zu)", wanted);
        if (more && !jinja_list_append(j, list, item))
            return false;
    }
    if (got < wanted)
        return jinja_fail(j, "not enough values to unpack (expected %zu, got %zu)", wanted, got);
    size_t i = 0;
    for (const struct node *each = target->a; each; each = each->next)
        if (!run_assign(j, scope, each, list->items[i++]))
            return false;
    return true;
}

bool run_assign(struct jinja *j, struct scope *scope, const struct node *target, struct value v)
{
    if (target->kind == NODE_NAME)
        return run_set(j, scope, target->symbol, v);
    j->line = target->line;
    if (target->kind == NODE_TUPLE)
        return assign_tuple(j, scope, target, v);
    struct node name = {.kind = NODE_NAME, .symbol = target->symbol, .line = target->line};
    struct value object;
    if (!run_eval(j, scope, &name, &object))
        return false;
    if (object.kind != VALUE_NAMESPACE)
        return jinja_fail(j, "cannot assign attribute on non-namespace object");
    return jinja_dict_set(j, object.dict, target->value, v);
}

static enum flow exec_data(struct jinja *j, struct scope *scope, const struct node *node)
{
    (void)scope;
    return jinja_put(j, node->value.text->ptr, node->value.text->len) ? FLOW_NEXT : FLOW_ERROR;
}

static enum flow exec_output(struct jinja *j, struct scope *scope, const struct node *node)
{
    struct value v;
    for (const struct node *each = node->a; each; each = each->next)
        if (!run_eval(j, scope, each, &v) || !jinja_put_text(j, v))
            return FLOW_ERROR;
    return FLOW_NEXT;
}

static enum flow exec_set(struct jinja *j, struct scope *scope, const struct node *node)
{
    struct value v;
    bool ok = run_eval(j, scope, node->b, &v) && run_assign(j, scope, node->a, v);
    return ok ? FLOW_NEXT : FLOW_ERROR;
}

/* Runs a body in a scope of its own and takes its text; a break or continue drops the text. */
static enum flow capture(struct jinja *j, struct scope *scope, const struct node *body,
                         struct value *out)
{
    size_t mark = jinja_mark(j);
    struct scope *inner = run_scope(j, scope);
    if (!inner)
        return FLOW_ERROR;
    enum flow flow = run_body(j, inner, body);
    if (flow == FLOW_ERROR || !jinja_take(j, mark, out))
        return FLOW_ERROR;
    return flow;
}

static enum flow exec_set_block(struct jinja *j, struct scope *scope, const struct node *node)
{
    struct value v;
    enum flow flow = capture(j, scope, node->c, &v);
    if (flow != FLOW_NEXT)
        return flow;
    bool ok =
        (!node->b || run_filter(j, scope, node->b, v, &v)) && run_assign(j, scope, node->a, v);
    return ok ? FLOW_NEXT : FLOW_ERROR;
}

static enum flow exec_filter_block(struct jinja *j, struct scope *scope, const struct node *node)
{
    struct value v;
    enum flow flow = capture(j, scope, node->b, &v);
    if (flow != FLOW_NEXT)
        return flow;
    return run_filter(j, scope, node->a, v, &v) && jinja_put_text(j, v) ? FLOW_NEXT : FLOW_ERROR;
}

static enum flow exec_for(struct jinja *j, struct scope *scope, const struct node *node)
{
    struct value items;
    if (!run_eval(j, scope, node->b, &items))
        return FLOW_ERROR;
    return run_for(j, scope, node, items, 0);
}

static enum flow exec_if(struct jinja *j, struct scope *scope, const struct node *node)
{
    struct value test;
    for (;;) {
        if (!run_eval(j, scope, node->a, &test))
            return FLOW_ERROR;
        if (value_truth(test))
            return run_body(j, scope, node->b);
        if (!node->c || node->else_body)
            return run_body(j, scope, node->c);
        node = node->c;
    }
}

static enum flow exec_with(struct jinja *j, struct scope *scope, const struct node *node)
{
    struct scope *inner = run_scope(j, scope);
    struct value v;
    if (!inner)
        return FLOW_ERROR;
    for (const struct node *pair = node->a; pair; pair = pair->next)
        if (!run_eval(j, scope, pair->b, &v) || !run_assign(j, inner, pair->a, v))
            return FLOW_ERROR;
    return run_body(j, inner, node->b);
}

static bool make_macro(struct jinja *j, struct scope *scope, const struct node *node,
                       struct value *out)
{
    struct macro *macro = jinja_alloc(j, 1, sizeof *macro);
    if (!macro)
        return false;
    *macro = (struct macro){node, scope};
    for (; scope; scope = scope->parent)
        scope->captured = true;
    *out = (struct value){.kind = VALUE_MACRO, .macro = macro};
    return true;
}

static enum flow exec_macro(struct jinja *j, struct scope *scope, const struct node *node)
{
    struct value macro;
    bool ok = make_macro(j, scope, node, &macro) && run_set(j, scope, node->symbol, macro);
    return ok ? FLOW_NEXT : FLOW_ERROR;
}

static enum flow exec_call_block(struct jinja *j, struct scope *scope, const struct node *node)
{
    struct value callee, caller, v;
    struct args args;
    struct text name = {"caller", 6, 6};
    if (!make_macro(j, scope, node->b, &caller) || !run_eval(j, scope, node->a->a, &callee) ||
        !run_arguments(j, scope, node->a->b, &args))
        return FLOW_ERROR;
    struct keyword *keywords = jinja_alloc(j, args.n_keywords + 1, sizeof *keywords);
    struct text *kept = jinja_alloc(j, 1, sizeof *kept);
    if (!keywords || !kept)
        return FLOW_ERROR;
    *kept = name;
    if (args.n_keywords)
        memcpy(keywords, args.keywords, args.n_keywords * sizeof *keywords);
    keywords[args.n_keywords++] = (struct keyword){kept, caller};
    args.keywords = keywords;
    j->line = node->line;
    return jinja_call(j, callee, &args, &v) && jinja_put_text(j, v) ? FLOW_NEXT : FLOW_ERROR;
}

static enum flow exec_scope(struct jinja *j, struct scope *scope, const struct node *node)
{
    struct scope *inner = run_scope(j, scope);
    return inner ? run_body(j, inner, node->a) : FLOW_ERROR;
}

/* A block sees the outermost variables, unless it is "scoped". */
static enum flow exec_block(struct jinja *j, struct scope *scope, const struct node *node)
{
    struct scope *inner = run_scope(j, node->flag ? scope : NULL);
    return inner ? run_body(j, inner, node->a) : FLOW_ERROR;
}

static enum flow exec_jump(struct jinja *j, struct scope *scope, const struct node *node)
{
    (void)j;
    (void)scope;
    return node->kind == NODE_BREAK ? FLOW_BREAK : FLOW_CONTINUE;
}

static exec_fn *const execs[] = {
    [NODE_DATA] = exec_data,
    [NODE_OUTPUT] = exec_output,
    [NODE_SET] = exec_set,
    [NODE_SET_BLOCK] = exec_set_block,
    [NODE_FOR] = exec_for,
    [NODE_IF] = exec_if,
    [NODE_WITH] = exec_with,
    [NODE_MACRO] = exec_macro,
    [NODE_CALL_BLOCK] = exec_call_block,
    [NODE_FILTER_BLOCK] = exec_filter_block,
    [NODE_BREAK] = exec_jump,
    [NODE_CONTINUE] = exec_jump,
    [NODE_SCOPE] = exec_scope,
    [NODE_BLOCK] = exec_block,
};

enum flow run_body(struct jinja *j, struct scope *scope, const struct node *body)
{
    if (!run_enter(j))
        return FLOW_ERROR;
    enum flow flow = FLOW_NEXT;
    for (; body && flow == FLOW_NEXT; body = body->next) {
        j->line = body->line;
        flow = jinja_step(j) ? execs[body->kind](j, scope, body) : FLOW_ERROR;
    }
    run_leave(j);
    return flow;
}
