#include "text/jinja_ast.h"

#include <stdio.h>

/* What the two halves of the parser share: tokens, nodes, names. */

enum { MAX_DEPTH = 150, FIRST_SYMBOL_SLOTS = 64 };

bool parser_start(struct parser *p, struct str source)
{
    p->lexer.j = p->j;
    p->lexer.source = source;
    p->lexer.line = 1;
    p->lexer.line_starting = true;
    return lexer_next(&p->lexer, &p->token);
}

bool parser_advance(struct parser *p)
{
    if (p->has_ahead) {
        p->token = p->ahead;
        p->has_ahead = false;
        return true;
    }
    return lexer_next(&p->lexer, &p->token);
}

bool parser_look(struct parser *p, struct token **ahead)
{
    if (!p->has_ahead && !lexer_next(&p->lexer, &p->ahead))
        return false;
    p->has_ahead = true;
    *ahead = &p->ahead;
    return true;
}

static const char *const token_names[] = {
    [T_EOF] = "the end of the template",
    [T_DATA] = "text",
    [T_BLOCK_BEGIN] = "'{%'",
    [T_BLOCK_END] = "'%}'",
    [T_VARIABLE_BEGIN] = "'{{'",
    [T_VARIABLE_END] = "'}}'",
    [T_NAME] = "a name",
    [T_STRING] = "a string",
    [T_INT] = "an integer",
    [T_FLOAT] = "a number",
    [T_RBRACKET] = "']'",
    [T_LPAREN] = "'('",
    [T_RPAREN] = "')'",
    [T_RBRACE] = "'}'",
    [T_ASSIGN] = "'='",
    [T_COLON] = "':'",
    [T_COMMA] = "','",
    [T_SEMICOLON] = "';'",
};

static const char *kind_name(enum token_kind kind)
{
    return token_names[kind] ? token_names[kind] : "an operator";
}

const char *token_describe(const struct token *token, char out[80])
{
    if (token->kind == T_NAME || token->kind >= T_ADD)
        snprintf(out, 80, "'%.*s'", token->text.len < 60 ? (int)token->text.len : 60,
                 token->text.ptr);
    else
        snprintf(out, 80, "%s", kind_name(token->kind));
    return out;
}

bool parser_fail(struct parser *p, int line, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    p->j->line = line;
    return jinja_fail(p->j, "%s", text);
}

bool parser_expect(struct parser *p, enum token_kind kind)
{
    char got[80];
    if (p->token.kind == kind)
        return parser_advance(p);
    return parser_fail(p, p->token.line, "expected %s, got %s", kind_name(kind),
                       token_describe(&p->token, got));
}

bool parser_expect_name(struct parser *p, struct token *name)
{
    *name = p->token;
    return parser_expect(p, T_NAME);
}

bool parser_skip(struct parser *p, enum token_kind kind, bool *taken)
{
    *taken = p->token.kind == kind;
    return !*taken || parser_advance(p);
}

bool parser_skip_name(struct parser *p, const char *name, bool *taken)
{
    *taken = parser_is_name(p, name);
    return !*taken || parser_advance(p);
}

bool parser_enter(struct parser *p)
{
    if (++p->depth <= MAX_DEPTH)
        return true;
    p->j->line = p->token.line;
    return jinja_fail_status(p->j, HTH_ERROR_LIMIT, "nested more than %d levels deep", MAX_DEPTH);
}

struct node *parser_node(struct parser *p, enum node_kind kind, int line)
{
    struct node *node = jinja_alloc(p->j, 1, sizeof *node);
    if (node) {
        node->kind = (uint8_t)kind;
        node->line = line;
        node->height = 1;
    }
    return node;
}

static uint64_t hash_name(struct str name)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ (unsigned char)name.ptr[i]) * 1099511628211u;
    return hash;
}

static bool grow_symbols(struct parser *p)
{
    size_t n = p->n_symbol_slots ? p->n_symbol_slots * 2 : FIRST_SYMBOL_SLOTS;
    uint32_t *slots = jinja_alloc(p->j, n, sizeof *slots);
    struct text **symbols = jinja_alloc(p->j, n / 2 + 1, sizeof *symbols);
    if (!slots || !symbols)
        return false;
    for (int i = 0; i < p->tmpl->n_symbols; i++) {
        symbols[i] = p->tmpl->symbols[i];
        size_t at = (size_t)hash_name((struct str){symbols[i]->ptr, symbols[i]->len}) & (n - 1);
        while (slots[at])
            at = (at + 1) & (n - 1);
        slots[at] = (uint32_t)i + 1;
    }
    p->symbol_slots = slots;
    p->n_symbol_slots = n;
    p->tmpl->symbols = symbols;
    return true;
}

bool parser_text(struct parser *p, struct str text, struct value *out)
{
    if (!jinja_borrow(p->j, text, out))
        return false;
    (void)value_points(*out); /* counted now: the template is shared between threads */
    return true;
}

bool parser_symbol(struct parser *p, struct str name, int *out)
{
    if ((size_t)p->tmpl->n_symbols * 2 >= p->n_symbol_slots && !grow_symbols(p))
        return false;
    size_t mask = p->n_symbol_slots - 1, at = (size_t)hash_name(name) & mask;
    for (; p->symbol_slots[at]; at = (at + 1) & mask) {
        const struct text *known = p->tmpl->symbols[p->symbol_slots[at] - 1];
        if (str_equal(name, (struct str){known->ptr, known->len})) {
            *out = (int)p->symbol_slots[at] - 1;
            return true;
        }
    }
    struct value text;
    if (!parser_text(p, name, &text))
        return false;
    *out = p->tmpl->n_symbols++;
    p->tmpl->symbols[*out] = text.text;
    p->symbol_slots[at] = (uint32_t)*out + 1;
    return true;
}
