#include "text/jinja_run.h"

/* Tests, what follows "is". */

static bool answer(bool yes, struct value *out)
{
    *out = value_bool(yes);
    return true;
}

#define KIND_TEST(name, condition)                                                                 \
    static bool test_##name(struct jinja *j, struct value v, struct args *args, struct value *out) \
    {                                                                                              \
        (void)j;                                                                                   \
        (void)args;                                                                                \
        return answer((condition), out);                                                           \
    }

KIND_TEST(defined, v.kind != VALUE_UNDEFINED)
KIND_TEST(undefined, v.kind == VALUE_UNDEFINED)
KIND_TEST(none, v.kind == VALUE_NONE)
KIND_TEST(boolean, v.kind == VALUE_BOOL)
KIND_TEST(true, v.kind == VALUE_BOOL && v.boolean)
KIND_TEST(false, v.kind == VALUE_BOOL && !v.boolean)
KIND_TEST(integer, v.kind == VALUE_INT)
KIND_TEST(float, v.kind == VALUE_FLOAT)
KIND_TEST(number, value_is_number(v))
KIND_TEST(string, v.kind == VALUE_STRING)
KIND_TEST(mapping, v.kind == VALUE_DICT)
KIND_TEST(iterable, value_is_iterable(v) || v.kind == VALUE_LOOP)
KIND_TEST(sequence, value_has_length(v) && v.kind != VALUE_VIEW)
KIND_TEST(escaped, v.kind == VALUE_STRING && v.markup)
KIND_TEST(callable, v.kind == VALUE_UNDEFINED || v.kind == VALUE_MACRO ||
                        v.kind == VALUE_FUNCTION || v.kind == VALUE_METHOD ||
                        v.kind == VALUE_LOOP || v.kind == VALUE_JOINER)

static bool remainder_is(struct jinja *j, struct value v, struct value by, int64_t wanted,
                         struct value *out)
{
    bool same;
    struct value rest;
    if (!jinja_binary(j, OP_MOD, v, by, &rest) || !jinja_equal(j, rest, value_int(wanted), &same))
        return false;
    return answer(same, out);
}

static bool test_odd(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    (void)args;
    return remainder_is(j, v, value_int(2), 1, out);
}

static bool test_even(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    (void)args;
    return remainder_is(j, v, value_int(2), 0, out);
}

static bool test_divisibleby(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    return remainder_is(j, v, args->slots[0], 0, out);
}

/* Names are looked up in a dict, in Jinja2 as here: what has no hash fails. */
static bool is_name(struct jinja *j, struct value v)
{
    return value_hashable(v, 0) || jinja_fail(j, "unhashable type: '%s'", value_type_name(v));
}

static bool test_filter(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    (void)args;
    const struct jinja_row *row = v.kind == VALUE_STRING ? jinja_filter_find(value_str(v)) : NULL;
    return is_name(j, v) && answer(row && row->fn, out);
}

static bool test_test(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    (void)args;
    return is_name(j, v) && answer(v.kind == VALUE_STRING && jinja_test_find(value_str(v)), out);
}

static bool has_case(struct jinja *j, struct value v, const char *method, struct value *out)
{
    struct args none = {0};
    struct value text;
    return jinja_to_text(j, v, &text) &&
           jinja_call_row(j, jinja_row_find(jinja_string_tests, str_of(method)), text, &none, out);
}

static bool test_lower(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    (void)args;
    return has_case(j, v, "islower", out);
}

static bool test_upper(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    (void)args;
    return has_case(j, v, "isupper", out);
}

/* One object in memory; small values count as one wherever they are equal, as in CPython. */
static bool test_sameas(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    struct value other = args->slots[0];
    bool same = v.kind == other.kind;
    if (same && (v.kind <= VALUE_INT || v.kind == VALUE_STRING || v.kind == VALUE_FLOAT)) {
        if (!jinja_equal(j, v, other, &same))
            return false;
    } else if (same) {
        same = v.identity == other.identity;
    }
    return answer(same, out);
}

static bool test_in(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    bool found;
    return jinja_contains(j, args->slots[0], v, &found) && answer(found, out);
}

static bool test_eq(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    bool same;
    return jinja_equal(j, v, args->slots[0], &same) && answer(same, out);
}

static bool test_ne(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    bool same;
    return jinja_equal(j, v, args->slots[0], &same) && answer(!same, out);
}

static bool ordered(struct jinja *j, const char *op, struct value v, struct args *args,
                    struct value *out)
{
    enum order order;
    if (!jinja_order(j, op, v, args->slots[0], &order))
        return false;
    return answer(order == (op[0] == '<' ? ORDER_LESS : ORDER_GREATER) ||
                      (op[1] == '=' && order == ORDER_EQUAL),
                  out);
}

static bool test_lt(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    return ordered(j, "<", v, args, out);
}

static bool test_le(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    return ordered(j, "<=", v, args, out);
}

static bool test_gt(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    return ordered(j, ">", v, args, out);
}

static bool test_ge(struct jinja *j, struct value v, struct args *args, struct value *out)
{
    return ordered(j, ">=", v, args, out);
}

const struct jinja_row jinja_tests[] = {
    {"!=", test_ne, "b", 1},
    {"<", test_lt, "b", 1},
    {"<=", test_le, "b", 1},
    {"==", test_eq, "b", 1},
    {">", test_gt, "b", 1},
    {">=", test_ge, "b", 1},
    {"boolean", test_boolean, "", 0},
    {"callable", test_callable, "", 0},
    {"defined", test_defined, "", 0},
    {"divisibleby", test_divisibleby, "num", 1},
    {"eq", test_eq, "b", 1},
    {"equalto", test_eq, "b", 1},
    {"escaped", test_escaped, "", 0},
    {"even", test_even, "", 0},
    {"false", test_false, "", 0},
    {"filter", test_filter, "", 0},
    {"float", test_float, "", 0},
    {"ge", test_ge, "b", 1},
    {"greaterthan", test_gt, "b", 1},
    {"gt", test_gt, "b", 1},
    {"in", test_in, "seq", 1},
    {"integer", test_integer, "", 0},
    {"iterable", test_iterable, "", 0},
    {"le", test_le, "b", 1},
    {"lessthan", test_lt, "b", 1},
    {"lower", test_lower, "", 0},
    {"lt", test_lt, "b", 1},
    {"mapping", test_mapping, "", 0},
    {"ne", test_ne, "b", 1},
    {"none", test_none, "", 0},
    {"number", test_number, "", 0},
    {"odd", test_odd, "", 0},
    {"sameas", test_sameas, "other", 1},
    {"sequence", test_sequence, "", 0},
    {"string", test_string, "", 0},
    {"test", test_test, "", 0},
    {"true", test_true, "", 0},
    {"undefined", test_undefined, "", 0},
    {"upper", test_upper, "", 0},
    {0},
};
