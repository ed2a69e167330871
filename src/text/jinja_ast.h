/*
 * jinja_ast.h — a template as a tree, and the lexer and parser that make it.
 *
 * Owns nothing: nodes live in the template's arena and never change once parsed, so any thread may
 * render them. Language: Jinja2 3.1, https://jinja.palletsprojects.com/en/3.1.x/templates/.
 */
#ifndef TEXT_JINJA_AST_H
#define TEXT_JINJA_AST_H

#include "text/jinja_value.h"

enum token_kind {
    T_EOF,
    T_DATA,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_VARIABLE_BEGIN,
    T_VARIABLE_END,
    T_NAME,
    T_STRING,
    T_INT,
    T_FLOAT,
    T_ADD,
    T_SUB,
    T_MUL,
    T_DIV,
    T_FLOORDIV,
    T_MOD,
    T_POW,
    T_TILDE,
    T_LBRACKET,
    T_RBRACKET,
    T_LPAREN,
    T_RPAREN,
    T_LBRACE,
    T_RBRACE,
    T_EQ,
    T_NE,
    T_GT,
    T_GE,
    T_LT,
    T_LE,
    T_ASSIGN,
    T_DOT,
    T_COLON,
    T_PIPE,
    T_COMMA,
    T_SEMICOLON,
};

struct token {
    enum token_kind kind;
    int line;
    struct str text; /* names, strings (decoded), data */
    int64_t integer;
    double real;
};

enum lexer_mode { LEX_DATA, LEX_BLOCK, LEX_VARIABLE };
enum lexer_tag { TAG_NONE, TAG_BLOCK, TAG_VARIABLE, TAG_COMMENT, TAG_RAW };

struct lexer {
    struct jinja *j; /* for messages and memory */
    struct str source;
    size_t at;
    int line;
    enum lexer_mode mode;
    bool line_starting;     /* the last thing read ended a line */
    enum lexer_tag pending; /* a tag that begins once the data before it was given out */
    struct strbuf open;     /* brackets not yet closed */
};

/* Reads the next token; false after failing. */
bool lexer_next(struct lexer *lexer, struct token *token);
/* The body of a quoted string with its escapes resolved. */
bool lexer_unescape(struct lexer *lexer, struct str body, struct str *out);

enum node_kind {
    /* expressions */
    NODE_CONST,
    NODE_NAME,
    NODE_TUPLE, /* a: items */
    NODE_LIST,
    NODE_DICT, /* a: pairs */
    NODE_PAIR, /* a: key or target, b: value */
    NODE_ATTR, /* a: object, value: name */
    NODE_ITEM, /* a: object, b: key or slice */
    NODE_SLICE,
    NODE_CALL,   /* a: callee, b: arguments */
    NODE_FILTER, /* a: input (NULL: the block's body), b: arguments, row */
    NODE_TEST,
    NODE_NOT,
    NODE_NEGATIVE,
    NODE_POSITIVE,
    NODE_BINARY, /* op */
    NODE_CONCAT, /* a: items */
    NODE_AND,
    NODE_OR,
    NODE_COMPARE, /* a: first, b: operands */
    NODE_OPERAND, /* op: token or T_NAME for in, flag: not in; a */
    NODE_COND,    /* a if b else c */
    NODE_KEYWORD, /* value: name; a */
    NODE_STAR,
    NODE_STARSTAR,
    NODE_NSREF, /* target: symbol.name */
    /* statements */
    NODE_DATA,
    NODE_OUTPUT, /* a: expressions */
    NODE_SET,
    NODE_SET_BLOCK,    /* a: target, b: filter, c: body */
    NODE_FOR,          /* a: target, b: items, c: body, d: else, e: test, flag: recursive */
    NODE_IF,           /* a: test, b: body, c: elif's NODE_IF or the else body */
    NODE_WITH,         /* a: pairs, b: body */
    NODE_MACRO,        /* a: parameters, b: body */
    NODE_PARAM,        /* symbol; a: default */
    NODE_CALL_BLOCK,   /* a: call, b: macro */
    NODE_FILTER_BLOCK, /* a: filter, b: body */
    NODE_BREAK,
    NODE_CONTINUE,
    NODE_SCOPE, /* a: body */
    NODE_BLOCK, /* a: body, flag: scoped */
};

enum macro_uses { USES_CALLER = 1, USES_KWARGS = 2, USES_VARARGS = 4, HAS_CALLER_PARAM = 8 };

struct node {
    uint8_t kind, op;
    bool flag, else_body; /* NODE_IF: c is an else body */
    uint8_t uses;         /* NODE_MACRO */
    uint16_t height;      /* of the expression under it */
    int line;
    int symbol;
    struct node *next, *a, *b, *c, *d, *e;
    const struct jinja_row *row;
    struct value value; /* constants and names */
};

struct template
{
    struct arena arena;
    char *name;
    struct node *body;
    struct text **symbols;
    int n_symbols;
    size_t symbols_capacity;
};

struct parser {
    struct lexer lexer;
    struct token token, ahead;
    bool has_ahead;
    int depth;
    int conditional;      /* inside how many ifs: an unknown filter there fails only if reached */
    struct node *unknown; /* the first unknown filter or test that is sure to be reached */
    int loops;            /* inside how many loops of this macro */
    struct jinja *j;      /* memory and messages */
    struct template *tmpl;
    uint32_t *symbol_slots;
    size_t n_symbol_slots;
    struct macro_frame *macros;
    const char *open_tag; /* innermost tag that waits for its end */
    int open_line;
};

struct macro_frame {
    struct macro_frame *outer;
    uint8_t uses;
};

bool parser_start(struct parser *p, struct str source);
bool parser_advance(struct parser *p);
bool parser_look(struct parser *p, struct token **ahead);
bool parser_expect(struct parser *p, enum token_kind kind);
bool parser_expect_name(struct parser *p, struct token *name);
bool parser_fail(struct parser *p, int line, const char *fmt, ...) ATTR_PRINTF(3, 4);
/* One level deeper; false at the limit. Undone by p->depth--. */
bool parser_enter(struct parser *p);
const char *token_describe(const struct token *token, char out[80]);

static inline bool parser_is(const struct parser *p, enum token_kind kind)
{
    return p->token.kind == kind;
}
static inline bool parser_is_name(const struct parser *p, const char *name)
{
    return p->token.kind == T_NAME && str_equal(p->token.text, str_of(name));
}
/* Takes a token if it is there. */
bool parser_skip(struct parser *p, enum token_kind kind, bool *taken);
bool parser_skip_name(struct parser *p, const char *name, bool *taken);

struct node *parser_node(struct parser *p, enum node_kind kind, int line);
bool parser_symbol(struct parser *p, struct str name, int *out);
bool parser_text(struct parser *p, struct str text, struct value *out);

bool parser_expression(struct parser *p, bool with_cond, struct node **out);
struct tuple_rules {
    bool no_cond, targets, parenthesized;
    const char *end_name; /* a name that ends the tuple too */
};
bool parser_tuple(struct parser *p, struct tuple_rules rules, struct node **out);
bool parser_filter(struct parser *p, struct node *input, bool first, struct node **out);
bool parser_postfix(struct parser *p, struct node **node);
bool parser_body(struct parser *p, const char *const *ends, struct node **out);

#endif
