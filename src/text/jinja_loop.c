#include "text/jinja_run.h"

/* The for loop and its `loop` variable. Items are fetched one by one, so that a loop's filter sees
 * what earlier iterations have set; only loop.last, nextitem, length look ahead. */

static bool fetch(struct jinja *j, struct loop *loop, struct value *out, bool *more)
{
    struct scope *scope = NULL;
    for (;;) {
        struct value keep;
        if (!jinja_next(j, &loop->cursor, out, more))
            return false;
        if (!*more || !loop->filtered)
            return true;
        if (!scope && !(scope = run_scope(j, loop->closure)))
            return false;
        scope->count = 0;
        if (!run_assign(j, scope, loop->node->a, *out) || !run_eval(j, scope, loop->node->e, &keep))
            return false;
        if (value_truth(keep))
            return true;
        if (scope->captured)
            scope = NULL;
    }
}

static bool peek(struct jinja *j, struct loop *loop)
{
    bool more;
    if (loop->peeked)
        return true;
    if (!fetch(j, loop, &loop->after, &more))
        return false;
    loop->peeked = true;
    loop->peeked_end = !more;
    return true;
}

static bool advance(struct jinja *j, struct loop *loop, bool *more)
{
    struct value v = loop->after;
    *more = !loop->peeked_end;
    if (!loop->peeked && !fetch(j, loop, &v, more))
        return false;
    loop->peeked = loop->peeked && loop->peeked_end;
    if (!*more)
        return true;
    loop->index0++;
    loop->before = loop->current;
    loop->current = v;
    return true;
}

/* What has no length is read to its end and kept. */
static bool loop_length(struct jinja *j, struct loop *loop, int64_t *out)
{
    *out = loop->length;
    if (loop->length >= 0)
        return true;
    if (!loop->node->e && value_has_length(loop->items)) {
        if (!jinja_length(j, loop->items, out))
            return false;
    } else {
        struct list *rest = jinja_list_new(j, 0);
        bool more = true;
        struct value v;
        while (rest && more) {
            if (!fetch(j, loop, &v, &more) || (more && !jinja_list_append(j, rest, v)))
                return false;
        }
        if (!rest || !jinja_cursor(j, value_list(rest), &loop->cursor))
            return false;
        loop->filtered = false;
        *out = (int64_t)rest->count + loop->index0 + 1 + (loop->peeked && !loop->peeked_end);
    }
    loop->length = *out;
    return true;
}

static enum flow run_else(struct jinja *j, struct scope *scope, const struct node *node)
{
    if (!node->d)
        return FLOW_NEXT;
    struct scope *inner = run_scope(j, scope);
    return inner ? run_body(j, inner, node->d) : FLOW_ERROR;
}

static bool loop_start(struct jinja *j, struct loop *loop, struct value items)
{
    loop->items = items;
    loop->filtered = loop->node->e != NULL;
    loop->index0 = loop->length = -1;
    j->line = loop->node->line;
    return jinja_cursor(j, items, &loop->cursor);
}

enum flow run_for(struct jinja *j, struct scope *scope, const struct node *node, struct value items,
                  int depth0)
{
    struct loop *loop = jinja_alloc(j, 1, sizeof *loop);
    struct scope *inner = NULL;
    if (!loop)
        return FLOW_ERROR;
    *loop = (struct loop){.node = node, .closure = scope, .depth0 = depth0};
    if (!loop_start(j, loop, items))
        return FLOW_ERROR;
    for (;;) {
        bool more;
        if (!advance(j, loop, &more))
            return FLOW_ERROR;
        if (!more)
            break;
        if ((!inner || inner->captured) && !(inner = run_scope(j, scope)))
            return FLOW_ERROR;
        inner->count = 0;
        struct value self = {.kind = VALUE_LOOP, .loop = loop};
        if (!run_assign(j, inner, node->a, loop->current) ||
            !run_set(j, inner, j->symbol_loop, self))
            return FLOW_ERROR;
        enum flow flow = run_body(j, inner, node->c);
        if (flow == FLOW_ERROR)
            return flow;
        if (flow == FLOW_BREAK)
            break;
    }
    return loop->index0 < 0 ? run_else(j, scope, node) : FLOW_NEXT;
}

static bool loop_cycle(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    if (args->count == 0)
        return jinja_fail(j, "no items for cycling given");
    *out = args->items[(size_t)self.loop->index0 % args->count];
    return true;
}

static bool loop_changed(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct loop *loop = self.loop;
    struct list *now = jinja_list_new(j, 0);
    bool same = false;
    if (!now)
        return false;
    for (size_t i = 0; i < args->count; i++)
        if (!jinja_list_append(j, now, args->items[i]))
            return false;
    if (loop->has_changed && !jinja_equal(j, value_list(loop->changed), value_list(now), &same))
        return false;
    loop->changed = now;
    loop->has_changed = true;
    *out = value_bool(!same);
    return true;
}

static const struct jinja_row loop_methods[] = {
    {"cycle", loop_cycle, "*", 0},
    {"changed", loop_changed, "*", 0},
    {0},
};

static bool loop_neighbour(struct jinja *j, struct loop *loop, bool next, struct value *out)
{
    if (next) {
        if (!peek(j, loop))
            return false;
        *out = loop->after;
        return !loop->peeked_end || jinja_undefined(j, "there is no next item", out);
    }
    *out = loop->before;
    return loop->index0 > 0 || jinja_undefined(j, "there is no previous item", out);
}

bool run_loop_attr(struct jinja *j, struct loop *loop, struct str name, struct value *out,
                   bool *found)
{
    static const char *const names[] = {"index",  "index0",   "first",     "last",
                                        "length", "revindex", "revindex0", "depth",
                                        "depth0", "previtem", "nextitem"};
    size_t which = 0;
    int64_t n;
    while (which < ARRAY_LEN(names) && !str_equal(name, str_of(names[which])))
        which++;
    *found = true;
    if (which >= 4 && which <= 6 && !loop_length(j, loop, &n))
        return false;
    switch (which) {
    case 0: *out = value_int(loop->index0 + 1); return true;
    case 1: *out = value_int(loop->index0); return true;
    case 2: *out = value_bool(loop->index0 == 0); return true;
    case 3:
        if (!peek(j, loop))
            return false;
        *out = value_bool(loop->peeked_end);
        return true;
    case 4: *out = value_int(n); return true;
    case 5: *out = value_int(n - loop->index0); return true;
    case 6: *out = value_int(n - loop->index0 - 1); return true;
    case 7: *out = value_int(loop->depth0 + 1); return true;
    case 8: *out = value_int(loop->depth0); return true;
    case 9:
    case 10: return loop_neighbour(j, loop, which == 10, out);
    default: break;
    }
    const struct jinja_row *row = jinja_row_find(loop_methods, name);
    *found = row != NULL;
    struct method *method = row ? jinja_alloc(j, 1, sizeof *method) : NULL;
    if (!method)
        return row == NULL;
    *method = (struct method){row, {.kind = VALUE_LOOP, .loop = loop}};
    *out = (struct value){.kind = VALUE_METHOD, .method = method};
    return true;
}

bool run_loop_call(struct jinja *j, struct loop *loop, struct args *args, struct value *out)
{
    if (!loop->node->flag)
        return jinja_fail(j, "the loop must have the 'recursive' marker to be called recursively");
    if (args->count != 1 || args->n_keywords > 0)
        return jinja_fail(j, "loop() takes the items to go through");
    size_t mark = jinja_mark(j);
    if (!jinja_enter(j) ||
        run_for(j, loop->closure, loop->node, args->items[0], loop->depth0 + 1) == FLOW_ERROR)
        return false;
    jinja_leave(j);
    return jinja_take(j, mark, out);
}

bool jinja_put_loop(struct jinja *j, struct loop *loop)
{
    int64_t n;
    return loop_length(j, loop, &n) && jinja_put_printf(j, "<LoopContext %lld/%lld>",
                                                        (long long)loop->index0 + 1, (long long)n);
}
