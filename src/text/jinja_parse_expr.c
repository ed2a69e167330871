#include "text/jinja_ast.h"

/* Expressions. Precedence, lowest first: if-else, or, and, not, comparisons, + -, ~, * / // %, **,
 * unary - +, then members, calls, filters and tests. */

enum level {
    LEVEL_OR,
    LEVEL_AND,
    LEVEL_NOT,
    LEVEL_COMPARE,
    LEVEL_ADD,
    LEVEL_CONCAT,
    LEVEL_MUL,
    LEVEL_POW,
    LEVEL_UNARY,
    LEVEL_NONE = -1
};

enum { MAX_HEIGHT = 300 };

static bool parse_unary(struct parser *p, bool with_filter, struct node **out);
static bool parse_level(struct parser *p, enum level min, struct node **out);

static void raise(uint16_t *height, const struct node *list)
{
    for (; list; list = list->next)
        if (list->height >= *height)
            *height = (uint16_t)(list->height + 1);
}

/* The tree may grow taller than the source is nested (a + b + c …); what evaluates it recurses. */
static bool finish(struct parser *p, struct node *node, struct node **out)
{
    raise(&node->height, node->a);
    raise(&node->height, node->b);
    raise(&node->height, node->c);
    if (node->height > MAX_HEIGHT) {
        p->j->line = node->line;
        return jinja_fail_status(p->j, HTH_ERROR_LIMIT,
                                 "an expression of more than %d steps; split it with 'set'",
                                 MAX_HEIGHT);
    }
    *out = node;
    return true;
}

static bool parse_list_items(struct parser *p, struct node *list)
{
    struct node **tail = &list->a;
    while (!parser_is(p, T_RBRACKET)) {
        if (list->a && !parser_expect(p, T_COMMA))
            return false;
        if (parser_is(p, T_RBRACKET))
            break;
        if (!parser_expression(p, true, tail))
            return false;
        tail = &(*tail)->next;
    }
    return parser_expect(p, T_RBRACKET);
}

static bool parse_dict_items(struct parser *p, struct node *dict)
{
    struct node **tail = &dict->a;
    while (!parser_is(p, T_RBRACE)) {
        if (dict->a && !parser_expect(p, T_COMMA))
            return false;
        if (parser_is(p, T_RBRACE))
            break;
        struct node *pair = parser_node(p, NODE_PAIR, p->token.line);
        if (!pair || !parser_expression(p, true, &pair->a) || !parser_expect(p, T_COLON) ||
            !parser_expression(p, true, &pair->b) || !finish(p, pair, tail))
            return false;
        tail = &pair->next;
    }
    return parser_expect(p, T_RBRACE);
}

/* Remembers for the macros around it that the body uses caller, kwargs or varargs. */
static void note_special(struct parser *p, struct str name)
{
    uint8_t use = str_equal(name, STR("caller"))    ? USES_CALLER
                  : str_equal(name, STR("kwargs"))  ? USES_KWARGS
                  : str_equal(name, STR("varargs")) ? USES_VARARGS
                                                    : 0;
    for (struct macro_frame *frame = p->macros; frame && use; frame = frame->outer)
        frame->uses |= use;
}

static bool parse_name(struct parser *p, bool target, struct node **out)
{
    struct token token = p->token;
    struct str name = token.text;
    struct node *node = parser_node(p, NODE_CONST, token.line);
    if (!node || !parser_advance(p))
        return false;
    *out = node;
    if (str_equal(name, STR("true")) || str_equal(name, STR("True"))) {
        node->value = value_bool(true);
    } else if (str_equal(name, STR("false")) || str_equal(name, STR("False"))) {
        node->value = value_bool(false);
    } else if (str_equal(name, STR("none")) || str_equal(name, STR("None"))) {
        node->value = value_none();
    } else {
        node->kind = NODE_NAME;
        if (!target)
            note_special(p, name);
        if (!parser_symbol(p, name, &node->symbol))
            return false;
        if (target && parser_is(p, T_DOT)) {
            struct token attr;
            node->kind = NODE_NSREF;
            return parser_advance(p) && parser_expect_name(p, &attr) &&
                   parser_text(p, attr.text, &node->value);
        }
    }
    return true;
}

static bool parse_strings(struct parser *p, struct node *node)
{
    struct str first = p->token.text;
    size_t mark = jinja_mark(p->j);
    int n = 0;
    for (; parser_is(p, T_STRING); n++)
        if (!jinja_put(p->j, p->token.text.ptr, p->token.text.len) || !parser_advance(p))
            return false;
    struct value joined;
    if (!jinja_take(p->j, mark, &joined))
        return false;
    return parser_text(p, n == 1 ? first : value_str(joined), &node->value);
}

static bool parse_primary(struct parser *p, bool target, struct node **out)
{
    struct token token = p->token;
    char got[80];
    struct tuple_rules in_parens = {.parenthesized = true};
    struct node *node;
    switch (token.kind) {
    case T_NAME: return parse_name(p, target, out);
    case T_STRING:
        node = parser_node(p, NODE_CONST, token.line);
        *out = node;
        return node && parse_strings(p, node);
    case T_INT:
    case T_FLOAT:
        node = parser_node(p, NODE_CONST, token.line);
        if (!node)
            return false;
        node->value = token.kind == T_INT ? value_int(token.integer) : value_float(token.real);
        *out = node;
        return parser_advance(p);
    case T_LPAREN:
        return parser_advance(p) && parser_tuple(p, in_parens, out) && parser_expect(p, T_RPAREN);
    case T_LBRACKET:
        node = parser_node(p, NODE_LIST, token.line);
        return node && parser_advance(p) && parse_list_items(p, node) && finish(p, node, out);
    case T_LBRACE:
        node = parser_node(p, NODE_DICT, token.line);
        return node && parser_advance(p) && parse_dict_items(p, node) && finish(p, node, out);
    default:
        return parser_fail(p, token.line, "expected an expression, got %s",
                           token_describe(&token, got));
    }
}

static bool parse_keyword(struct parser *p, struct node **out)
{
    struct node *node = parser_node(p, NODE_KEYWORD, p->token.line);
    *out = node;
    return node && parser_text(p, p->token.text, &node->value) && parser_advance(p) &&
           parser_advance(p) && parser_expression(p, true, &node->a) && finish(p, node, out);
}

static bool parse_argument(struct parser *p, enum node_kind *last, struct node **out)
{
    int line = p->token.line;
    enum node_kind kind = parser_is(p, T_MUL)   ? NODE_STAR
                          : parser_is(p, T_POW) ? NODE_STARSTAR
                                                : NODE_CONST;
    struct token *ahead = NULL;
    if (parser_is(p, T_NAME)) {
        if (!parser_look(p, &ahead))
            return false;
        if (ahead->kind == T_ASSIGN)
            kind = NODE_KEYWORD;
    }
    bool in_order = *last == NODE_CONST || (*last == NODE_KEYWORD && kind != NODE_CONST) ||
                    (*last == NODE_STAR && (kind == NODE_STARSTAR || kind == NODE_KEYWORD));
    if (!in_order)
        return parser_fail(p, line, "arguments in the wrong order: positional ones come first");
    if (!(*last == NODE_STAR && kind == NODE_KEYWORD))
        *last = kind;
    if (kind == NODE_CONST)
        return parser_expression(p, true, out);
    if (kind == NODE_KEYWORD)
        return parse_keyword(p, out);
    struct node *node = parser_node(p, kind, line);
    return node && parser_advance(p) && parser_expression(p, true, &node->a) &&
           finish(p, node, out);
}

static bool parse_arguments(struct parser *p, struct node **out)
{
    struct node **tail = out;
    enum node_kind last = NODE_CONST;
    if (!parser_expect(p, T_LPAREN))
        return false;
    while (!parser_is(p, T_RPAREN)) {
        if (*out && !parser_expect(p, T_COMMA))
            return false;
        if (*out && parser_is(p, T_RPAREN))
            break;
        if (!parse_argument(p, &last, tail))
            return false;
        tail = &(*tail)->next;
    }
    return parser_expect(p, T_RPAREN);
}

static bool parse_subscript(struct parser *p, struct node **out)
{
    int line = p->token.line;
    struct node *slice = parser_node(p, NODE_SLICE, line), *first = NULL;
    if (!slice)
        return false;
    if (!parser_is(p, T_COLON)) {
        if (!parser_expression(p, true, &first))
            return false;
        if (!parser_is(p, T_COLON)) {
            *out = first;
            return true;
        }
    }
    slice->a = first;
    bool second_colon;
    if (!parser_advance(p))
        return false;
    if (!parser_is(p, T_COLON) && !parser_is(p, T_RBRACKET) && !parser_is(p, T_COMMA) &&
        !parser_expression(p, true, &slice->b))
        return false;
    if (!parser_skip(p, T_COLON, &second_colon))
        return false;
    if (second_colon && !parser_is(p, T_RBRACKET) && !parser_is(p, T_COMMA) &&
        !parser_expression(p, true, &slice->c))
        return false;
    return finish(p, slice, out);
}

static bool parse_subscripts(struct parser *p, struct node *item)
{
    struct node *list = NULL, **tail = &list;
    int n = 0;
    while (!parser_is(p, T_RBRACKET)) {
        if ((n > 0 && !parser_expect(p, T_COMMA)) || !parse_subscript(p, tail))
            return false;
        tail = &(*tail)->next;
        n++;
    }
    if (n == 1) {
        item->b = list;
    } else {
        item->b = parser_node(p, NODE_TUPLE, item->line);
        if (!item->b)
            return false;
        item->b->a = list;
        if (!finish(p, item->b, &item->b))
            return false;
    }
    return parser_expect(p, T_RBRACKET);
}

static bool parse_member(struct parser *p, struct node **node)
{
    struct token token = p->token;
    struct node *member = parser_node(p, token.kind == T_DOT ? NODE_ATTR : NODE_ITEM, token.line);
    if (!member || !parser_advance(p))
        return false;
    member->a = *node;
    if (token.kind == T_LBRACKET)
        return parse_subscripts(p, member) && finish(p, member, node);
    if (parser_is(p, T_INT)) {
        member->kind = NODE_ITEM;
        member->b = parser_node(p, NODE_CONST, token.line);
        if (!member->b)
            return false;
        member->b->value = value_int(p->token.integer);
    } else if (!parser_is(p, T_NAME)) {
        return parser_fail(p, p->token.line, "expected a name or a number after '.'");
    } else if (!parser_text(p, p->token.text, &member->value)) {
        return false;
    }
    return parser_advance(p) && finish(p, member, node);
}

static bool parse_call(struct parser *p, struct node **node)
{
    struct node *call = parser_node(p, NODE_CALL, p->token.line);
    if (!call)
        return false;
    call->a = *node;
    return parse_arguments(p, &call->b) && finish(p, call, node);
}

bool parser_postfix(struct parser *p, struct node **node)
{
    for (;;) {
        bool ok = true;
        if (parser_is(p, T_DOT) || parser_is(p, T_LBRACKET))
            ok = parse_member(p, node);
        else if (parser_is(p, T_LPAREN))
            ok = parse_call(p, node);
        else
            return true;
        if (!ok)
            return false;
    }
}

/* The name after "|" or "is"; dotted names are one. */
static bool parse_row_name(struct parser *p, struct node *node)
{
    struct token name;
    if (!parser_expect_name(p, &name))
        return false;
    while (parser_is(p, T_DOT)) {
        struct token part;
        if (!parser_advance(p) || !parser_expect_name(p, &part))
            return false;
        name.text.len = (size_t)(part.text.ptr + part.text.len - name.text.ptr);
    }
    node->row =
        node->kind == NODE_FILTER ? jinja_filter_find(name.text) : jinja_test_find(name.text);
    if (!parser_text(p, name.text, &node->value))
        return false;
    if (!node->row && p->conditional == 0 && !p->unknown)
        p->unknown = node;
    return true;
}

bool parser_filter(struct parser *p, struct node *input, bool first, struct node **out)
{
    *out = input;
    while (first || parser_is(p, T_PIPE)) {
        if (!first && !parser_advance(p))
            return false;
        first = false;
        struct node *node = parser_node(p, NODE_FILTER, p->token.line);
        if (!node)
            return false;
        node->a = *out;
        if (!parse_row_name(p, node))
            return false;
        if (parser_is(p, T_LPAREN) && !parse_arguments(p, &node->b))
            return false;
        if (!finish(p, node, out))
            return false;
    }
    return true;
}

static bool starts_test_argument(const struct parser *p)
{
    switch (p->token.kind) {
    case T_NAME:
        return !parser_is_name(p, "else") && !parser_is_name(p, "or") && !parser_is_name(p, "and");
    case T_STRING:
    case T_INT:
    case T_FLOAT:
    case T_LBRACKET:
    case T_LBRACE: return true;
    default: return false;
    }
}

static bool parse_test(struct parser *p, struct node **node)
{
    struct node *test = parser_node(p, NODE_TEST, p->token.line);
    bool negated;
    if (!test || !parser_advance(p) || !parser_skip_name(p, "not", &negated))
        return false;
    test->a = *node;
    if (!parse_row_name(p, test))
        return false;
    if (parser_is(p, T_LPAREN)) {
        if (!parse_arguments(p, &test->b))
            return false;
    } else if (starts_test_argument(p)) {
        if (parser_is_name(p, "is"))
            return parser_fail(p, p->token.line, "tests cannot be chained with 'is'");
        if (!parse_primary(p, false, &test->b) || !parser_postfix(p, &test->b))
            return false;
    }
    if (!negated)
        return finish(p, test, node);
    struct node *not = parser_node(p, NODE_NOT, test->line);
    if (!not )
        return false;
    not ->a = test;
    return finish(p, test, node) && finish(p, not, node);
}

static bool parse_unary(struct parser *p, bool with_filter, struct node **out)
{
    if (parser_is(p, T_SUB) || parser_is(p, T_ADD)) {
        struct node *sign =
            parser_node(p, parser_is(p, T_SUB) ? NODE_NEGATIVE : NODE_POSITIVE, p->token.line);
        if (!sign || !parser_enter(p) || !parser_advance(p) || !parse_unary(p, false, &sign->a) ||
            !finish(p, sign, out))
            return false;
        p->depth--;
    } else if (!parse_primary(p, false, out)) {
        return false;
    }
    if (!parser_postfix(p, out))
        return false;
    while (with_filter) {
        bool ok;
        if (parser_is(p, T_PIPE))
            ok = parser_filter(p, *out, false, out);
        else if (parser_is_name(p, "is"))
            ok = parse_test(p, out);
        else if (parser_is(p, T_LPAREN))
            ok = parse_call(p, out);
        else
            break;
        if (!ok)
            return false;
    }
    return true;
}

/* The level of the operator at hand; `in` and `not in` are comparisons. */
static bool operator_level(struct parser *p, enum level *level)
{
    struct token *ahead;
    *level = LEVEL_NONE;
    switch (p->token.kind) {
    case T_ADD:
    case T_SUB: *level = LEVEL_ADD; break;
    case T_TILDE: *level = LEVEL_CONCAT; break;
    case T_MUL:
    case T_DIV:
    case T_FLOORDIV:
    case T_MOD: *level = LEVEL_MUL; break;
    case T_POW: *level = LEVEL_POW; break;
    case T_EQ:
    case T_NE:
    case T_GT:
    case T_GE:
    case T_LT:
    case T_LE: *level = LEVEL_COMPARE; break;
    case T_NAME:
        if (parser_is_name(p, "or")) {
            *level = LEVEL_OR;
        } else if (parser_is_name(p, "and")) {
            *level = LEVEL_AND;
        } else if (parser_is_name(p, "in")) {
            *level = LEVEL_COMPARE;
        } else if (parser_is_name(p, "not")) {
            if (!parser_look(p, &ahead))
                return false;
            if (ahead->kind == T_NAME && str_equal(ahead->text, STR("in")))
                *level = LEVEL_COMPARE;
        }
        break;
    default: break;
    }
    return true;
}

static bool parse_comparisons(struct parser *p, struct node **out)
{
    struct node *compare = parser_node(p, NODE_COMPARE, p->token.line);
    if (!compare)
        return false;
    compare->a = *out;
    struct node **tail = &compare->b;
    for (enum level level = LEVEL_COMPARE; level == LEVEL_COMPARE;) {
        struct node *operand = parser_node(p, NODE_OPERAND, p->token.line);
        if (!operand)
            return false;
        operand->op = (uint8_t)p->token.kind;
        operand->flag = parser_is_name(p, "not");
        if ((operand->flag && !parser_advance(p)) || !parser_advance(p) ||
            !parse_level(p, LEVEL_ADD, &operand->a) || !finish(p, operand, tail) ||
            !operator_level(p, &level))
            return false;
        tail = &operand->next;
    }
    return finish(p, compare, out);
}

static bool parse_concat(struct parser *p, struct node **out)
{
    struct node *concat = parser_node(p, NODE_CONCAT, p->token.line);
    if (!concat)
        return false;
    concat->a = *out;
    struct node **tail = &concat->a->next;
    while (parser_is(p, T_TILDE)) {
        if (!parser_advance(p) || !parse_level(p, LEVEL_MUL, tail))
            return false;
        tail = &(*tail)->next;
    }
    return finish(p, concat, out);
}

static bool parse_binary(struct parser *p, enum level level, struct node **out)
{
    static const uint8_t ops[] = {
        [T_ADD] = OP_ADD, [T_SUB] = OP_SUB,           [T_MUL] = OP_MUL, [T_DIV] = OP_DIV,
        [T_MOD] = OP_MOD, [T_FLOORDIV] = OP_FLOORDIV, [T_POW] = OP_POW,
    };
    enum node_kind kind = level == LEVEL_OR ? NODE_OR : level == LEVEL_AND ? NODE_AND : NODE_BINARY;
    struct node *node = parser_node(p, kind, p->token.line);
    if (!node)
        return false;
    node->a = *out;
    if (kind == NODE_BINARY)
        node->op = ops[p->token.kind];
    return parser_advance(p) && parse_level(p, level + 1, &node->b) && finish(p, node, out);
}

static bool parse_level(struct parser *p, enum level min, struct node **out)
{
    if (min <= LEVEL_NOT && parser_is_name(p, "not")) {
        struct node *node = parser_node(p, NODE_NOT, p->token.line);
        if (!node || !parser_enter(p) || !parser_advance(p) ||
            !parse_level(p, LEVEL_NOT, &node->a) || !finish(p, node, out))
            return false;
        p->depth--;
    } else if (!parse_unary(p, true, out)) {
        return false;
    }
    for (;;) {
        enum level level;
        if (!operator_level(p, &level))
            return false;
        if (level == LEVEL_NONE || level < min)
            return true;
        bool ok = level == LEVEL_COMPARE  ? parse_comparisons(p, out)
                  : level == LEVEL_CONCAT ? parse_concat(p, out)
                                          : parse_binary(p, level, out);
        if (!ok)
            return false;
    }
}

bool parser_expression(struct parser *p, bool with_cond, struct node **out)
{
    if (!parser_enter(p))
        return false;
    const struct node *unknown_before = p->unknown;
    if (!parse_level(p, LEVEL_OR, out))
        return false;
    while (with_cond && parser_is_name(p, "if")) {
        struct node *cond = parser_node(p, NODE_COND, p->token.line);
        bool has_else;
        if (!cond || !parser_advance(p))
            return false;
        cond->a = *out;
        if (!unknown_before)
            p->unknown = NULL; /* it was in a branch that may never run */
        p->conditional++;
        if (!parse_level(p, LEVEL_OR, &cond->b) || !parser_skip_name(p, "else", &has_else))
            return false;
        if (has_else && !parser_expression(p, true, &cond->c))
            return false;
        p->conditional--;
        if (!finish(p, cond, out))
            return false;
    }
    p->depth--;
    return true;
}

static bool at_tuple_end(const struct parser *p, struct tuple_rules rules)
{
    return parser_is(p, T_VARIABLE_END) || parser_is(p, T_BLOCK_END) || parser_is(p, T_RPAREN) ||
           (rules.end_name && parser_is_name(p, rules.end_name));
}

bool parser_tuple(struct parser *p, struct tuple_rules rules, struct node **out)
{
    int line = p->token.line, n = 0;
    struct node *first = NULL, **tail = &first;
    bool comma = false;
    char got[80];
    for (;;) {
        if (n > 0 && !parser_expect(p, T_COMMA))
            return false;
        if (at_tuple_end(p, rules))
            break;
        bool ok = rules.targets ? parse_primary(p, true, tail)
                                : parser_expression(p, !rules.no_cond, tail);
        if (!ok)
            return false;
        tail = &(*tail)->next;
        n++;
        if (!parser_is(p, T_COMMA))
            break;
        comma = true;
    }
    if (!comma && n == 1) {
        *out = first;
        return true;
    }
    if (!comma && !rules.parenthesized)
        return parser_fail(p, p->token.line, "expected an expression, got %s",
                           token_describe(&p->token, got));
    struct node *tuple = parser_node(p, NODE_TUPLE, line);
    if (!tuple)
        return false;
    tuple->a = first;
    return finish(p, tuple, out);
}
