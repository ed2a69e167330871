/*
 * jinja_run.h — evaluating a parsed template: scopes, loops, macros.
 *
 * Owns nothing; everything lives in the render's arena. The outermost scope is an array by symbol,
 * inner scopes are short lists searched from the inside out. One thread per render.
 */
#ifndef TEXT_JINJA_RUN_H
#define TEXT_JINJA_RUN_H

#include "text/jinja_ast.h"

struct variable {
    int symbol;
    struct value value;
};

/* A NULL scope is the outermost one. */
struct scope {
    struct scope *parent;
    struct variable *vars;
    int count, capacity;
    bool captured; /* a macro keeps it: the next iteration needs one of its own */
};

struct macro {
    const struct node *node; /* NODE_MACRO */
    struct scope *closure;
};

struct loop {
    const struct node *node; /* NODE_FOR */
    struct scope *closure;   /* where the loop stands */
    struct value items;
    struct cursor cursor;
    bool filtered; /* node->e still to be asked of what the cursor gives */
    bool peeked, peeked_end;
    struct value after;
    struct value current, before;
    int64_t index0;
    int64_t length; /* -1: not known yet */
    int depth0;
    bool has_changed;
    struct list *changed; /* arguments of the last loop.changed() */
};

enum flow { FLOW_ERROR, FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE };

/* Evaluates an expression; runs a list of statements. */
bool run_eval(struct jinja *j, struct scope *scope, const struct node *node, struct value *out);
enum flow run_body(struct jinja *j, struct scope *scope, const struct node *body);
bool run_arguments(struct jinja *j, struct scope *scope, const struct node *list,
                   struct args *args);
bool run_filter(struct jinja *j, struct scope *scope, const struct node *filter, struct value input,
                struct value *out);

struct scope *run_scope(struct jinja *j, struct scope *parent);
bool run_set(struct jinja *j, struct scope *scope, int symbol, struct value v);
bool run_assign(struct jinja *j, struct scope *scope, const struct node *target, struct value v);
int run_symbol(const struct jinja *j, const char *name); /* -1: the template never names it */

/* A frame more of the evaluator on the C stack; false at the limit. Undone with run_leave. */
bool run_enter(struct jinja *j);
static inline void run_leave(struct jinja *j)
{
    j->depth--;
}

/* Runs a for loop over `items`. */
enum flow run_for(struct jinja *j, struct scope *scope, const struct node *node, struct value items,
                  int depth0);
bool run_loop_attr(struct jinja *j, struct loop *loop, struct str name, struct value *out,
                   bool *found);
bool run_loop_call(struct jinja *j, struct loop *loop, struct args *args, struct value *out);
bool run_macro_call(struct jinja *j, const struct macro *macro, struct args *args,
                    struct value *out);

bool jinja_put_macro(struct jinja *j, const struct macro *macro);
bool jinja_put_loop(struct jinja *j, struct loop *loop);

#endif
