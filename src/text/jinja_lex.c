#include "text/jinja_ast.h"

#include <stdlib.h>

/* Whitespace control follows the template documentation ("Whitespace Control"): trim_blocks drops
 * the newline after a block or comment, lstrip_blocks the blanks before one that begins a line;
 * "-" inside a tag strips all whitespace on its side, "+" switches the two off. */

enum { MAX_OPEN = 1 << 16 };

static size_t skip_space(struct str s, size_t at)
{
    uint32_t point;
    while (at < s.len) {
        size_t len = jinja_point(s, at, &point);
        if (!jinja_is_space(point))
            break;
        at += len;
    }
    return at;
}

static bool at_text(struct str s, size_t at, const char *what)
{
    size_t len = strlen(what);
    return s.len - at >= len && memcmp(s.ptr + at, what, len) == 0;
}

static int count_lines(struct str s, size_t from, size_t to)
{
    int lines = 0;
    for (size_t i = from; i < to; i++)
        lines += s.ptr[i] == '\n';
    return lines;
}

static void move_to(struct lexer *lx, size_t to)
{
    lx->line += count_lines(lx->source, lx->at, to);
    if (to > lx->at)
        lx->line_starting = lx->source.ptr[to - 1] == '\n';
    lx->at = to;
}

/* The end of "{%- WORD" … "-%}" at `at`, or 0; newlines after it as `trim` says. */
static size_t match_word_tag(struct str s, size_t at, const char *word, bool trim, char *sign)
{
    if (!at_text(s, at, "{%"))
        return 0;
    at += 2;
    *sign = 0;
    if (at < s.len && (s.ptr[at] == '-' || s.ptr[at] == '+'))
        *sign = s.ptr[at++];
    at = skip_space(s, at);
    if (!at_text(s, at, word))
        return 0;
    at = skip_space(s, at + strlen(word));
    if (at_text(s, at, "-%}"))
        return skip_space(s, at + 3);
    if (trim && at_text(s, at, "+%}"))
        return at + 3;
    if (!at_text(s, at, "%}"))
        return 0;
    at += 2;
    return at + (trim && at < s.len && s.ptr[at] == '\n');
}

/* The data before a tag, less what its sign and lstrip_blocks take away. */
static struct str trim_data(const struct lexer *lx, struct str data, char sign, bool variable)
{
    if (sign == '-')
        return jinja_strip(data, false, true);
    if (sign == '+' || variable)
        return data;
    size_t line_start = data.len;
    while (line_start > 0 && data.ptr[line_start - 1] != '\n')
        line_start--;
    if ((line_start > 0 || lx->line_starting) && line_start < data.len &&
        skip_space(data, line_start) == data.len)
        data.len = line_start;
    return data;
}

static enum lexer_tag tag_at(struct str s, size_t at)
{
    if (s.ptr[at] != '{' || at + 1 >= s.len)
        return TAG_NONE;
    switch (s.ptr[at + 1]) {
    case '%': return TAG_BLOCK;
    case '{': return TAG_VARIABLE;
    case '#': return TAG_COMMENT;
    default: return TAG_NONE;
    }
}

static bool lex_raw(struct lexer *lx, struct token *token)
{
    struct str s = lx->source;
    for (size_t at = lx->at; at < s.len; at++) {
        char sign;
        size_t end = s.ptr[at] == '{' ? match_word_tag(s, at, "endraw", true, &sign) : 0;
        if (!end)
            continue;
        token->kind = T_DATA;
        token->text = trim_data(lx, str_slice(s, lx->at, at), sign, false);
        move_to(lx, end);
        return true;
    }
    lx->j->line = token->line;
    return jinja_fail(lx->j, "the 'raw' block is never closed, 'endraw' is missing");
}

static bool lex_comment(struct lexer *lx)
{
    struct str s = lx->source;
    for (size_t at = lx->at; at + 1 < s.len; at++) {
        if (at_text(s, at, "-#}")) {
            move_to(lx, skip_space(s, at + 3));
            return true;
        }
        if (at_text(s, at, "+#}")) {
            move_to(lx, at + 3);
            return true;
        }
        if (at_text(s, at, "#}")) {
            at += 2;
            move_to(lx, at + (at < s.len && s.ptr[at] == '\n'));
            return true;
        }
    }
    lx->j->line = lx->line;
    return jinja_fail(lx->j, "the comment is never closed, '#}' is missing");
}

/* Data up to the next tag; the tag waits in `pending`. */
static void lex_data(struct lexer *lx, struct token *token)
{
    struct str s = lx->source;
    size_t at = lx->at;
    enum lexer_tag tag = TAG_NONE;
    while (at < s.len && !(tag = tag_at(s, at)))
        at++;
    token->kind = T_DATA;
    if (tag == TAG_NONE) {
        token->text = str_slice(s, lx->at, s.len);
        move_to(lx, s.len);
        return;
    }
    size_t end = at + 2;
    char sign = 0;
    size_t raw_end = match_word_tag(s, at, "raw", false, &sign);
    if (raw_end) {
        tag = TAG_RAW;
        end = raw_end;
    } else if (end < s.len && (s.ptr[end] == '-' || s.ptr[end] == '+')) {
        sign = s.ptr[end++];
    }
    token->text = trim_data(lx, str_slice(s, lx->at, at), sign, tag == TAG_VARIABLE);
    move_to(lx, end);
    lx->pending = tag;
}

/* The end of the tag at the current place, or 0. */
static size_t match_tag_end(const struct lexer *lx)
{
    struct str s = lx->source;
    size_t at = lx->at;
    if (lx->open.len > 0)
        return 0;
    if (lx->mode == LEX_VARIABLE)
        return at_text(s, at, "-}}") ? skip_space(s, at + 3) : at_text(s, at, "}}") ? at + 2 : 0;
    if (at_text(s, at, "-%}"))
        return skip_space(s, at + 3);
    if (at_text(s, at, "+%}"))
        return at + 3;
    if (!at_text(s, at, "%}"))
        return 0;
    at += 2;
    return at + (at < s.len && s.ptr[at] == '\n');
}

static bool is_digit_in(char c, int base)
{
    if (base == 16)
        return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f');
    return c >= '0' && c < '0' + base;
}

/* Digits with single underscores between them; the end, or `at` if there is none. */
static size_t skip_digits(struct str s, size_t at, int base)
{
    size_t end = at;
    while (at < s.len) {
        if (is_digit_in(s.ptr[at], base))
            end = ++at;
        else if (s.ptr[at] == '_' && at > 0 && s.ptr[at - 1] != '_')
            at++;
        else
            break;
    }
    return end;
}

static size_t match_float(struct str s, size_t at)
{
    if (at > 0 && s.ptr[at - 1] == '.')
        return 0;
    size_t end = skip_digits(s, at, 10);
    bool point = false, exponent = false;
    if (end + 1 < s.len && s.ptr[end] == '.' && is_digit_in(s.ptr[end + 1], 10)) {
        end = skip_digits(s, end + 1, 10);
        point = true;
    }
    if (end < s.len && (s.ptr[end] | 32) == 'e') {
        size_t digits = end + 1;
        if (digits < s.len && (s.ptr[digits] == '+' || s.ptr[digits] == '-'))
            digits++;
        if (digits < s.len && is_digit_in(s.ptr[digits], 10)) {
            end = skip_digits(s, digits, 10);
            exponent = true;
        }
    }
    return point || exponent ? end : 0;
}

static bool lex_number(struct lexer *lx, struct token *token)
{
    struct str s = lx->source;
    size_t end = match_float(s, lx->at);
    if (end) {
        token->kind = T_FLOAT;
        if (!jinja_parse_float(str_slice(s, lx->at, end), &token->real))
            return jinja_fail(lx->j, "a malformed number");
        move_to(lx, end);
        return true;
    }
    int base = 10;
    size_t digits = lx->at;
    if (s.ptr[digits] == '0') {
        char kind = digits + 1 < s.len ? (char)(s.ptr[digits + 1] | 32) : 0;
        base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
        size_t first = digits + 2 + (digits + 2 < s.len && s.ptr[digits + 2] == '_');
        if (base != 10 && first < s.len && is_digit_in(s.ptr[first], base)) {
            end = skip_digits(s, first, base);
            digits = first;
        } else {
            base = 10;
            end = digits + 1;
            while (end < s.len && s.ptr[end] == '0')
                end++;
        }
    } else {
        end = skip_digits(s, digits, 10);
    }
    token->kind = T_INT;
    token->integer = 0;
    for (size_t i = digits; i < end; i++) {
        char c = s.ptr[i];
        if (c == '_')
            continue;
        int digit = c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
        if (__builtin_mul_overflow(token->integer, base, &token->integer) ||
            __builtin_add_overflow(token->integer, digit, &token->integer))
            return jinja_fail(lx->j, "an integer too large for 64 bits");
    }
    move_to(lx, end);
    return true;
}

static bool lex_string(struct lexer *lx, struct token *token)
{
    struct str s = lx->source;
    char quote = s.ptr[lx->at];
    size_t end = lx->at + 1;
    while (end < s.len && s.ptr[end] != quote)
        end += s.ptr[end] == '\\' ? 2 : 1;
    if (end >= s.len)
        return jinja_fail(lx->j, "a string that is never closed");
    token->kind = T_STRING;
    struct str body = str_slice(s, lx->at + 1, end);
    move_to(lx, end + 1);
    return lexer_unescape(lx, body, &token->text);
}

static const struct {
    char text[3];
    enum token_kind kind;
} operators[] = {
    {"//", T_FLOORDIV}, {"**", T_POW},   {"==", T_EQ},      {"!=", T_NE},      {">=", T_GE},
    {"<=", T_LE},       {"+", T_ADD},    {"-", T_SUB},      {"/", T_DIV},      {"*", T_MUL},
    {"%", T_MOD},       {"~", T_TILDE},  {"[", T_LBRACKET}, {"]", T_RBRACKET}, {"(", T_LPAREN},
    {")", T_RPAREN},    {"{", T_LBRACE}, {"}", T_RBRACE},   {">", T_GT},       {"<", T_LT},
    {"=", T_ASSIGN},    {".", T_DOT},    {":", T_COLON},    {"|", T_PIPE},     {",", T_COMMA},
    {";", T_SEMICOLON},
};

static bool balance(struct lexer *lx, enum token_kind kind, char c)
{
    if (kind == T_LPAREN || kind == T_LBRACKET || kind == T_LBRACE) {
        if (lx->open.len >= MAX_OPEN)
            return jinja_fail_status(lx->j, HTH_ERROR_LIMIT, "brackets nested too deeply");
        strbuf_append_char(&lx->open, kind == T_LPAREN ? ')' : kind == T_LBRACKET ? ']' : '}');
        if (lx->open.failed)
            return jinja_fail_status(lx->j, HTH_ERROR_MEMORY, "out of memory");
    } else if (kind == T_RPAREN || kind == T_RBRACKET || kind == T_RBRACE) {
        if (lx->open.len == 0)
            return jinja_fail(lx->j, "unexpected '%c'", c);
        char expected = lx->open.ptr[--lx->open.len];
        if (c != expected)
            return jinja_fail(lx->j, "unexpected '%c', expected '%c'", c, expected);
    }
    return true;
}

static bool lex_operator(struct lexer *lx, struct token *token)
{
    for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
        if (!at_text(lx->source, lx->at, operators[i].text))
            continue;
        token->kind = operators[i].kind;
        token->text = str_of(operators[i].text);
        if (!balance(lx, token->kind, lx->source.ptr[lx->at]))
            return false;
        move_to(lx, lx->at + token->text.len);
        return true;
    }
    uint32_t point;
    size_t len = jinja_point(lx->source, lx->at, &point);
    return jinja_fail(lx->j, "unexpected character '%.*s'", (int)len, lx->source.ptr + lx->at);
}

static bool lex_code(struct lexer *lx, struct token *token)
{
    struct str s = lx->source;
    size_t end = match_tag_end(lx);
    if (!end) {
        move_to(lx, skip_space(s, lx->at));
        end = match_tag_end(lx);
    }
    lx->j->line = token->line = lx->line;
    if (end) {
        token->kind = lx->mode == LEX_BLOCK ? T_BLOCK_END : T_VARIABLE_END;
        move_to(lx, end);
        lx->mode = LEX_DATA;
        return true;
    }
    if (lx->at >= s.len) {
        token->kind = T_EOF;
        return true;
    }
    char c = s.ptr[lx->at];
    if (c >= '0' && c <= '9')
        return lex_number(lx, token);
    if (c == '"' || c == '\'')
        return lex_string(lx, token);
    uint32_t point;
    size_t name_end = lx->at;
    while (name_end < s.len) {
        size_t len = jinja_point(s, name_end, &point);
        if (!jinja_is_word(point))
            break;
        name_end += len;
    }
    if (name_end == lx->at)
        return lex_operator(lx, token);
    token->kind = T_NAME;
    token->text = str_slice(s, lx->at, name_end);
    move_to(lx, name_end);
    return true;
}

bool lexer_next(struct lexer *lx, struct token *token)
{
    for (;;) {
        *token = (struct token){.kind = T_EOF, .line = lx->line};
        lx->j->line = lx->line;
        enum lexer_tag tag = lx->pending;
        lx->pending = TAG_NONE;
        if (tag == TAG_COMMENT) {
            if (!lex_comment(lx))
                return false;
            continue;
        }
        if (tag == TAG_BLOCK || tag == TAG_VARIABLE) {
            token->kind = tag == TAG_BLOCK ? T_BLOCK_BEGIN : T_VARIABLE_BEGIN;
            lx->mode = tag == TAG_BLOCK ? LEX_BLOCK : LEX_VARIABLE;
            return true;
        }
        if (tag == TAG_RAW) {
            if (!lex_raw(lx, token))
                return false;
        } else if (lx->mode != LEX_DATA) {
            return lex_code(lx, token);
        } else if (lx->at < lx->source.len) {
            lex_data(lx, token);
        } else {
            return true;
        }
        if (token->text.len > 0)
            return true;
    }
}
