#include "text/jinja_ast.h"

#include "base/mem.h"
#include "text/utf8.h"

/* Statements. */

enum { MAX_SOURCE = 16 << 20, MAX_PARSE_MEMORY = 1 << 30 };

typedef bool statement_fn(struct parser *p, struct node **out);

static bool parse_target(struct parser *p, const char *end_name, struct node **out)
{
    struct tuple_rules rules = {.targets = true, .end_name = end_name};
    return parser_tuple(p, rules, out);
}

/* Names, tuples of names, and (where allowed) attributes of namespaces can be assigned to. */
static bool check_target(struct parser *p, const struct node *target, bool with_namespace)
{
    if (target->kind == NODE_NAME || (target->kind == NODE_NSREF && with_namespace))
        return true;
    if (target->kind != NODE_TUPLE)
        return parser_fail(p, target->line, "this cannot be assigned to");
    for (const struct node *item = target->a; item; item = item->next)
        if (!check_target(p, item, with_namespace))
            return false;
    return true;
}

/* Reads "%} body {% end %}"; `tag` and `line` name what waits for its end. */
static bool parse_block_body(struct parser *p, const char *tag, int line, const char *const *ends,
                             struct node **body)
{
    const char *outer_tag = p->open_tag;
    int outer_line = p->open_line;
    bool colon;
    p->open_tag = tag;
    p->open_line = line;
    if (!parser_enter(p) || !parser_skip(p, T_COLON, &colon) || !parser_expect(p, T_BLOCK_END) ||
        !parser_body(p, ends, body))
        return false;
    p->depth--;
    p->open_tag = outer_tag;
    p->open_line = outer_line;
    return true;
}

static bool parse_set(struct parser *p, struct node **out)
{
    static const char *const ends[] = {"endset", NULL};
    struct node *set = parser_node(p, NODE_SET, p->token.line);
    bool assigned;
    *out = set;
    if (!set || !parser_advance(p) || !parse_target(p, NULL, &set->a) ||
        !check_target(p, set->a, true) || !parser_skip(p, T_ASSIGN, &assigned))
        return false;
    if (assigned)
        return parser_tuple(p, (struct tuple_rules){0}, &set->b);
    set->kind = NODE_SET_BLOCK;
    return parser_filter(p, NULL, false, &set->b) &&
           parse_block_body(p, "set", set->line, ends, &set->c) && parser_advance(p);
}

static bool parse_for(struct parser *p, struct node **out)
{
    static const char *const ends[] = {"endfor", "else", NULL}, *const last[] = {"endfor", NULL};
    struct tuple_rules items = {.no_cond = true, .end_name = "recursive"};
    struct node *loop = parser_node(p, NODE_FOR, p->token.line);
    *out = loop;
    if (!loop || !parser_advance(p) || !parse_target(p, "in", &loop->a) ||
        !check_target(p, loop->a, false))
        return false;
    if (!parser_is_name(p, "in"))
        return parser_fail(p, p->token.line, "expected 'in' after the variables of 'for'");
    bool has_test, has_else;
    if (!parser_advance(p) || !parser_tuple(p, items, &loop->b) ||
        !parser_skip_name(p, "if", &has_test) ||
        (has_test && !parser_expression(p, true, &loop->e)) ||
        !parser_skip_name(p, "recursive", &loop->flag))
        return false;
    p->loops++;
    bool ok = parse_block_body(p, "for", loop->line, ends, &loop->c);
    p->loops--;
    if (!ok || !parser_skip_name(p, "else", &has_else))
        return false;
    if (has_else && !parse_block_body(p, "for", loop->line, last, &loop->d))
        return false;
    return parser_advance(p);
}

static bool parse_if(struct parser *p, struct node **out)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    struct tuple_rules test = {.no_cond = true};
    int line = p->token.line;
    bool more;
    p->conditional++;
    do {
        struct node *node = parser_node(p, NODE_IF, p->token.line);
        *out = node;
        if (!node || !parser_advance(p) || !parser_tuple(p, test, &node->a) ||
            !parse_block_body(p, "if", line, ends, &node->b))
            return false;
        more = parser_is_name(p, "elif");
        if (parser_is_name(p, "else")) {
            node->else_body = true;
            if (!parser_advance(p) || !parse_block_body(p, "if", line, last, &node->c))
                return false;
        }
        out = &node->c;
    } while (more);
    p->conditional--;
    return parser_advance(p);
}

static bool parse_with(struct parser *p, struct node **out)
{
    static const char *const ends[] = {"endwith", NULL};
    struct node *with = parser_node(p, NODE_WITH, p->token.line), **tail;
    *out = with;
    if (!with || !parser_advance(p))
        return false;
    tail = &with->a;
    while (!parser_is(p, T_BLOCK_END)) {
        if (with->a && !parser_expect(p, T_COMMA))
            return false;
        struct node *pair = parser_node(p, NODE_PAIR, p->token.line);
        if (!pair || !parse_target(p, NULL, &pair->a) || !check_target(p, pair->a, false) ||
            !parser_expect(p, T_ASSIGN) || !parser_expression(p, true, &pair->b))
            return false;
        *tail = pair;
        tail = &pair->next;
    }
    return parse_block_body(p, "with", with->line, ends, &with->b) && parser_advance(p);
}

static bool parse_params(struct parser *p, struct node *macro)
{
    struct node **tail = &macro->a;
    bool defaults = false, has_default;
    if (!parser_expect(p, T_LPAREN))
        return false;
    while (!parser_is(p, T_RPAREN)) {
        struct token name;
        if (macro->a && !parser_expect(p, T_COMMA))
            return false;
        struct node *param = parser_node(p, NODE_PARAM, p->token.line);
        if (!param || !parser_expect_name(p, &name) ||
            !parser_symbol(p, name.text, &param->symbol) ||
            !parser_text(p, name.text, &param->value) || !parser_skip(p, T_ASSIGN, &has_default))
            return false;
        if (has_default && !parser_expression(p, true, &param->a))
            return false;
        if (defaults && !has_default)
            return parser_fail(p, param->line, "a parameter without a default follows one with");
        defaults = has_default;
        if (str_equal(name.text, STR("caller")))
            macro->uses |= HAS_CALLER_PARAM;
        *tail = param;
        tail = &param->next;
    }
    return parser_expect(p, T_RPAREN);
}

static bool parse_macro_body(struct parser *p, struct node *macro, const char *tag,
                             const char *const *ends)
{
    struct macro_frame frame = {.outer = p->macros};
    int loops = p->loops;
    p->macros = &frame;
    p->loops = 0;
    bool ok = parse_block_body(p, tag, macro->line, ends, &macro->b);
    p->loops = loops;
    p->macros = frame.outer;
    macro->uses |= frame.uses;
    return ok && parser_advance(p);
}

static bool parse_macro(struct parser *p, struct node **out)
{
    static const char *const ends[] = {"endmacro", NULL};
    struct node *macro = parser_node(p, NODE_MACRO, p->token.line);
    struct token name;
    *out = macro;
    return macro && parser_advance(p) && parser_expect_name(p, &name) &&
           parser_symbol(p, name.text, &macro->symbol) &&
           parser_text(p, name.text, &macro->value) && parse_params(p, macro) &&
           parse_macro_body(p, macro, "macro", ends);
}

static bool parse_call_block(struct parser *p, struct node **out)
{
    static const char *const ends[] = {"endcall", NULL};
    struct node *block = parser_node(p, NODE_CALL_BLOCK, p->token.line);
    *out = block;
    if (!block || !parser_advance(p))
        return false;
    struct node *macro = block->b = parser_node(p, NODE_MACRO, block->line);
    if (!macro || !parser_text(p, STR("caller"), &macro->value))
        return false;
    if (parser_is(p, T_LPAREN) && !parse_params(p, macro))
        return false;
    if (!parser_expression(p, true, &block->a))
        return false;
    if (block->a->kind != NODE_CALL)
        return parser_fail(p, block->line, "expected a call after 'call'");
    return parse_macro_body(p, macro, "call", ends);
}

static bool parse_filter_block(struct parser *p, struct node **out)
{
    static const char *const ends[] = {"endfilter", NULL};
    struct node *block = parser_node(p, NODE_FILTER_BLOCK, p->token.line);
    *out = block;
    return block && parser_advance(p) && parser_filter(p, NULL, true, &block->a) &&
           parse_block_body(p, "filter", block->line, ends, &block->b) && parser_advance(p);
}

static bool parse_print(struct parser *p, struct node **out)
{
    struct node *print = parser_node(p, NODE_OUTPUT, p->token.line), **tail;
    *out = print;
    if (!print || !parser_advance(p))
        return false;
    tail = &print->a;
    while (!parser_is(p, T_BLOCK_END)) {
        if (print->a && !parser_expect(p, T_COMMA))
            return false;
        if (!parser_expression(p, true, tail))
            return false;
        tail = &(*tail)->next;
    }
    return true;
}

static bool parse_jump(struct parser *p, struct node **out)
{
    bool breaks = parser_is_name(p, "break");
    if (p->loops == 0)
        return parser_fail(p, p->token.line, "'%s' outside of a loop",
                           breaks ? "break" : "continue");
    *out = parser_node(p, breaks ? NODE_BREAK : NODE_CONTINUE, p->token.line);
    return *out && parser_advance(p);
}

/* {% generation %} marks what the model wrote (transformers); it shows as its body. */
static bool parse_generation(struct parser *p, struct node **out)
{
    static const char *const ends[] = {"endgeneration", NULL};
    struct node *scope = parser_node(p, NODE_SCOPE, p->token.line);
    *out = scope;
    return scope && parser_advance(p) &&
           parse_block_body(p, "generation", scope->line, ends, &scope->a) && parser_advance(p);
}

static bool parse_autoescape(struct parser *p, struct node **out)
{
    static const char *const ends[] = {"endautoescape", NULL};
    struct node *scope = parser_node(p, NODE_SCOPE, p->token.line), *how;
    *out = scope;
    if (!scope || !parser_advance(p) || !parser_expression(p, true, &how))
        return false;
    if (how->kind != NODE_CONST || value_truth(how->value)) {
        p->j->line = scope->line;
        return jinja_fail_status(p->j, HTH_ERROR_UNSUPPORTED,
                                 "hearth has no 'autoescape' but autoescape false");
    }
    return parse_block_body(p, "autoescape", scope->line, ends, &scope->a) && parser_advance(p);
}

static bool parse_block(struct parser *p, struct node **out)
{
    static const char *const ends[] = {"endblock", NULL};
    struct node *block = parser_node(p, NODE_BLOCK, p->token.line);
    struct token name;
    bool required;
    *out = block;
    if (!block || !parser_advance(p) || !parser_expect_name(p, &name) ||
        !parser_skip_name(p, "scoped", &block->flag) ||
        !parser_skip_name(p, "required", &required) ||
        !parse_block_body(p, "block", block->line, ends, &block->a) || !parser_advance(p))
        return false;
    bool named = parser_is(p, T_NAME) && str_equal(p->token.text, name.text);
    return !named || parser_advance(p);
}

/* One template has no others to take from. */
static bool parse_unsupported(struct parser *p, struct node **out)
{
    *out = NULL;
    p->j->line = p->token.line;
    return jinja_fail_status(p->j, HTH_ERROR_UNSUPPORTED,
                             "hearth has no tag '%.*s': a chat template stands alone",
                             (int)p->token.text.len, p->token.text.ptr);
}

static const struct {
    const char *name;
    statement_fn *parse;
} statements[] = {
    {"if", parse_if},
    {"for", parse_for},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call_block},
    {"filter", parse_filter_block},
    {"with", parse_with},
    {"print", parse_print},
    {"break", parse_jump},
    {"continue", parse_jump},
    {"generation", parse_generation},
    {"autoescape", parse_autoescape},
    {"block", parse_block},
    {"extends", parse_unsupported},
    {"include", parse_unsupported},
    {"import", parse_unsupported},
    {"from", parse_unsupported},
};

static bool parse_statement(struct parser *p, struct node **out)
{
    struct token token = p->token;
    char got[80];
    if (token.kind != T_NAME)
        return parser_fail(p, token.line, "expected the name of a tag, got %s",
                           token_describe(&token, got));
    for (size_t i = 0; i < ARRAY_LEN(statements); i++)
        if (parser_is_name(p, statements[i].name))
            return statements[i].parse(p, out);
    if (p->open_tag)
        return parser_fail(p, token.line, "unknown tag %s; the '%s' of line %d is not closed yet",
                           token_describe(&token, got), p->open_tag, p->open_line);
    return parser_fail(p, token.line, "unknown tag %s", token_describe(&token, got));
}

static bool at_end_tag(const struct parser *p, const char *const *ends)
{
    for (; ends && *ends; ends++)
        if (parser_is_name(p, *ends))
            return true;
    return false;
}

static bool parse_output(struct parser *p, struct node **out)
{
    struct node *output = parser_node(p, NODE_OUTPUT, p->token.line);
    *out = output;
    return output && parser_advance(p) && parser_tuple(p, (struct tuple_rules){0}, &output->a) &&
           parser_expect(p, T_VARIABLE_END);
}

static bool parse_data(struct parser *p, struct node **out)
{
    *out = parser_node(p, NODE_DATA, p->token.line);
    return *out && parser_text(p, p->token.text, &(*out)->value) && parser_advance(p);
}

static bool check_unknown(struct parser *p)
{
    const struct node *node = p->unknown;
    if (!node)
        return true;
    p->j->line = node->line;
    return jinja_fail_status(p->j, HTH_ERROR_UNSUPPORTED, "hearth has no %s named '%.*s'",
                             node->kind == NODE_FILTER ? "filter" : "test",
                             (int)node->value.text->len, node->value.text->ptr);
}

bool parser_body(struct parser *p, const char *const *ends, struct node **out)
{
    char got[80];
    while (!parser_is(p, T_EOF)) {
        bool ok, tag = parser_is(p, T_BLOCK_BEGIN);
        if (tag) {
            if (!parser_advance(p))
                return false;
            if (at_end_tag(p, ends))
                return true;
            ok = parse_statement(p, out) && parser_expect(p, T_BLOCK_END);
        } else if (parser_is(p, T_VARIABLE_BEGIN)) {
            ok = parse_output(p, out);
        } else if (parser_is(p, T_DATA)) {
            ok = parse_data(p, out);
        } else {
            ok = parser_fail(p, p->token.line, "unexpected %s", token_describe(&p->token, got));
        }
        if (!ok || !check_unknown(p))
            return false;
        out = &(*out)->next;
    }
    if (!ends)
        return true;
    return parser_fail(p, p->token.line, "the '%s' of line %d is never closed, '%s' is missing",
                       p->open_tag, p->open_line, ends[0]);
}

/* The source with every newline as "\n", without the last one. */
static bool normalize(struct jinja *j, struct str source, struct str *out)
{
    char *copy = jinja_alloc(j, source.len + 1, 1);
    size_t n = 0;
    if (!copy)
        return false;
    for (size_t i = 0; i < source.len; i++) {
        copy[n++] = source.ptr[i] == '\r' ? '\n' : source.ptr[i];
        if (source.ptr[i] == '\r' && i + 1 < source.len && source.ptr[i + 1] == '\n')
            i++;
    }
    if (n > 0 && copy[n - 1] == '\n')
        n--;
    *out = (struct str){copy, n};
    return true;
}

static bool parse_source(struct jinja *j, struct template *tmpl, struct str source)
{
    struct parser p = {.j = j, .tmpl = tmpl};
    struct str text;
    uint32_t point;
    for (size_t at = 0; at < source.len;) {
        size_t len = utf8_decode(source, at, &point);
        if (len == 0)
            return jinja_fail(j, "the byte 0x%02x at offset %zu is not UTF-8",
                              (unsigned char)source.ptr[at], at);
        j->line += source.ptr[at] == '\n';
        at += len;
    }
    bool ok =
        normalize(j, source, &text) && parser_start(&p, text) && parser_body(&p, NULL, &tmpl->body);
    strbuf_free(&p.lexer.open);
    return ok;
}

enum hth_status template_parse(struct template **out, struct str source, const char *name,
                               const struct log *log)
{
    *out = NULL;
    if (source.len > MAX_SOURCE)
        return log_fail(log, HTH_ERROR_LIMIT,
                        "%s: %zu bytes are too many for a chat template, at most %d", name,
                        source.len, MAX_SOURCE);
    struct template *tmpl = mem_calloc(1, sizeof *tmpl);
    char *name_copy = mem_strdup(name);
    if (!tmpl || !name_copy) {
        mem_free(tmpl);
        mem_free(name_copy);
        return log_fail_memory(log, "a template", sizeof *tmpl);
    }
    struct strbuf scratch = {0};
    struct jinja j = {.log = log, .name = name, .line = 1, .out = &scratch};
    j.limits =
        (struct template_limits){.max_output = MAX_SOURCE * 2, .max_memory = MAX_PARSE_MEMORY};
    j.next_check = UINT64_MAX;
    bool ok = parse_source(&j, tmpl, source);
    strbuf_free(&scratch);
    tmpl->arena = j.arena;
    tmpl->name = name_copy;
    if (!ok) {
        template_free(tmpl);
        return j.status;
    }
    *out = tmpl;
    return HTH_OK;
}

void template_free(struct template *tmpl)
{
    if (!tmpl)
        return;
    arena_free(&tmpl->arena);
    mem_free(tmpl->name);
    mem_free(tmpl);
}
