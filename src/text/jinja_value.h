/*
 * jinja_value.h — the values of a template: Python's, as far as Jinja shows them.
 *
 * Owns the value model and the state of one render. Every value lives in the render's arena (or in
 * the template or the JSON context, which outlive it); nothing is freed before the render ends.
 * Functions that can fail return false after logging why; the status is in `struct jinja`. One
 * thread per render.
 */
#ifndef TEXT_JINJA_VALUE_H
#define TEXT_JINJA_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rng.h"
#include "base/str.h"
#include "text/template.h"

struct jinja;
struct jinja_row;

enum value_kind {
    VALUE_ABSENT, /* an optional argument that was not given; never visible to a template */
    VALUE_UNDEFINED,
    VALUE_NONE,
    VALUE_BOOL,
    VALUE_INT,
    VALUE_FLOAT,
    VALUE_STRING,
    VALUE_LIST,
    VALUE_TUPLE,
    VALUE_DICT,
    VALUE_RANGE,
    VALUE_ITER, /* a generator: passed over once, without a length */
    VALUE_VIEW, /* dict.keys(), .values(), .items() */
    VALUE_NAMESPACE,
    VALUE_MACRO,
    VALUE_FUNCTION, /* a global of the engine */
    VALUE_METHOD,   /* a method together with its object */
    VALUE_LOOP,
    VALUE_CYCLER,
    VALUE_JOINER,
};

struct text {
    const char *ptr; /* valid UTF-8, zero bytes allowed */
    size_t len;      /* bytes */
    size_t points;   /* code points, SIZE_MAX until counted */
};

struct value {
    uint8_t kind;
    bool markup; /* strings: marked safe, what is added to it is escaped; tuples: from groupby, with
                  * .grouper and .list */
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct text *text;
        struct list *list; /* tuples too */
        struct dict *dict; /* namespaces too */
        struct range *range;
        struct iter *iter;
        struct view *view;
        struct macro *macro;
        struct loop *loop;
        struct cycler *cycler;
        struct undefined *undefined;
        struct method *method;
        const struct jinja_row *function;
        const void *identity;
    };
};

struct list {
    struct value *items;
    size_t count, capacity;
};

struct dict_entry {
    struct value key, value;
    uint64_t hash;
};

/* Insertion order; `slots` (0 empty, else index + 1) only once there are more than a few. */
struct dict {
    struct dict_entry *entries;
    size_t count, capacity;
    uint32_t *slots;
    size_t n_slots;
};

struct range {
    int64_t start, stop, step;
    int64_t count;
};

struct iter {
    struct list *list;
    size_t at;
    const char *type_name;
};

enum view_kind { VIEW_KEYS, VIEW_VALUES, VIEW_ITEMS };

struct view {
    enum view_kind kind;
    struct dict *dict;
};

struct cycler {
    struct list *list;
    size_t at;
};

struct undefined {
    const char *hint; /* the whole message, or NULL */
    bool has_object;  /* else a variable */
    struct value object, name;
};

struct method {
    const struct jinja_row *row;
    struct value self;
};

struct keyword {
    struct text *name;
    struct value value;
};

/* Arguments of a call. Rows that name their parameters get them in `slots`, VALUE_ABSENT where not
 * given; the others read positional and keyword arguments as they came. */
enum { JINJA_MAX_PARAMS = 6 };
struct args {
    struct value *items;
    size_t count;
    struct keyword *keywords;
    size_t n_keywords;
    struct value slots[JINJA_MAX_PARAMS];
};

typedef bool jinja_fn(struct jinja *j, struct value self, struct args *args, struct value *out);

/* One filter, test, function or method. `params` are names separated by spaces, "*" takes anything;
 * a NULL `fn` is known to Python but lacking here. */
struct jinja_row {
    const char *name;
    jinja_fn *fn;
    const char *params;
    int required;
};

/* The state of one render. */
struct jinja {
    const struct log *log;
    const char *name; /* of the template, for messages */
    int line;
    enum hth_status status;
    struct arena arena;
    struct template_limits limits;
    struct template_clock clock;
    uint64_t steps, next_check, deadline_ns;
    int depth;      /* frames of the evaluator on the C stack */
    int call_depth; /* nested macros and values */
    struct strbuf *out;
    size_t out_start;
    const struct template *tmpl;
    struct value *root; /* variables of the outermost scope, by symbol */
    int symbol_loop, symbol_caller, symbol_kwargs, symbol_varargs; /* -1: never named */
    struct rng rng;
};

/* --- failing and counting ----------------------------------------------------------------------
 */

/* Logs "template NAME, line N: …", remembers HTH_ERROR_FORMAT; false, for `return`. */
bool jinja_fail(struct jinja *j, const char *fmt, ...) ATTR_PRINTF(2, 3);
bool jinja_fail_status(struct jinja *j, enum hth_status status, const char *fmt, ...)
    ATTR_PRINTF(3, 4);

/* For an undefined value: its message ("'x' is undefined"). */
bool jinja_fail_undefined(struct jinja *j, struct value v);

bool jinja_check_limits(struct jinja *j);

/* One more step; false when a limit of steps or time is reached. */
static inline bool jinja_step(struct jinja *j)
{
    return ++j->steps < j->next_check || jinja_check_limits(j);
}

/* The steps that `bytes` bytes of work are worth. */
static inline bool jinja_charge(struct jinja *j, size_t bytes)
{
    j->steps += bytes / 32 + 1;
    return j->steps < j->next_check || jinja_check_limits(j);
}

/* One level deeper into nested values; false at the limit. Undone with jinja_leave. */
bool jinja_enter(struct jinja *j);
static inline void jinja_leave(struct jinja *j)
{
    j->call_depth--;
}

/* Zeroed memory until the end of the render, or NULL after failing. */
ATTR_WARN_UNUSED void *jinja_alloc(struct jinja *j, size_t count, size_t size);

/* --- text under construction --------------------------------------------------------------------
 */

/* Strings are built at the end of the output, then taken from there. */
bool jinja_put(struct jinja *j, const char *ptr, size_t len);
bool jinja_put_str(struct jinja *j, const char *text);
bool jinja_put_point(struct jinja *j, uint32_t codepoint);
bool jinja_put_repeat(struct jinja *j, struct str unit, uint64_t count);
bool jinja_put_printf(struct jinja *j, const char *fmt, ...) ATTR_PRINTF(2, 3);

static inline size_t jinja_mark(const struct jinja *j)
{
    return j->out->len;
}
/* What was put since the mark, as a string value. */
bool jinja_take(struct jinja *j, size_t mark, struct value *out);

/* str() and repr() at the end of the output. */
bool jinja_put_text(struct jinja *j, struct value v);
bool jinja_put_repr(struct jinja *j, struct value v);
bool jinja_put_string_repr(struct jinja *j, struct str text);

/* The string of a value: itself if it is one, else str() of it. */
bool jinja_to_text(struct jinja *j, struct value v, struct value *out);

/* --- making values ------------------------------------------------------------------------------
 */

static inline struct value value_of_kind(enum value_kind kind)
{
    return (struct value){.kind = (uint8_t)kind};
}
static inline struct value value_none(void)
{
    return value_of_kind(VALUE_NONE);
}
static inline struct value value_bool(bool b)
{
    return (struct value){.kind = VALUE_BOOL, .boolean = b};
}
static inline struct value value_int(int64_t i)
{
    return (struct value){.kind = VALUE_INT, .integer = i};
}
static inline struct value value_float(double f)
{
    return (struct value){.kind = VALUE_FLOAT, .real = f};
}
static inline struct value value_list(struct list *list)
{
    return (struct value){.kind = VALUE_LIST, .list = list};
}
static inline struct value value_tuple(struct list *list)
{
    return (struct value){.kind = VALUE_TUPLE, .list = list};
}
static inline struct value value_dict(struct dict *dict)
{
    return (struct value){.kind = VALUE_DICT, .dict = dict};
}

bool jinja_string(struct jinja *j, struct str text, struct value *out); /* copies */
bool jinja_borrow(struct jinja *j, struct str text, struct value *out); /* does not */
bool jinja_undefined(struct jinja *j, const char *hint, struct value *out);
bool jinja_undefined_name(struct jinja *j, struct str name, struct value *out);
bool jinja_undefined_member(struct jinja *j, struct value object, struct value name,
                            struct value *out);
bool jinja_iter(struct jinja *j, struct list *list, const char *type_name, struct value *out);

struct list *jinja_list_new(struct jinja *j, size_t capacity);
bool jinja_list_append(struct jinja *j, struct list *list, struct value v);
bool jinja_pair(struct jinja *j, struct value a, struct value b, struct value *out); /* a tuple */

struct dict *jinja_dict_new(struct jinja *j);
bool value_hashable(struct value v, int depth); /* depth: 0 */
/* NULL in *out when the key is not there. Fails for keys that Python cannot hash. */
bool jinja_dict_find(struct jinja *j, const struct dict *dict, struct value key,
                     struct dict_entry **out);
bool jinja_dict_find_str(struct jinja *j, const struct dict *dict, struct str key,
                         struct dict_entry **out);
bool jinja_dict_set(struct jinja *j, struct dict *dict, struct value key, struct value v);
bool jinja_dict_fill(struct jinja *j, struct dict *dict, const struct args *args); /* dict(…) */
bool jinja_dict_remove(struct jinja *j, struct dict *dict, struct dict_entry *entry);

/* --- asking values ------------------------------------------------------------------------------
 */

static inline struct str value_str(struct value v)
{
    return (struct str){v.text->ptr, v.text->len};
}
static inline bool value_is_number(struct value v)
{
    return v.kind == VALUE_INT || v.kind == VALUE_FLOAT || v.kind == VALUE_BOOL;
}
static inline bool value_is_integer(struct value v)
{
    return v.kind == VALUE_INT || v.kind == VALUE_BOOL;
}
static inline int64_t value_to_int(struct value v)
{
    return v.kind == VALUE_BOOL ? v.boolean : v.integer;
}
static inline double value_to_double(struct value v)
{
    return v.kind == VALUE_FLOAT ? v.real : (double)value_to_int(v);
}
/* Was it given, and is it not None? */
static inline bool value_given(struct value v)
{
    return v.kind != VALUE_ABSENT && v.kind != VALUE_NONE;
}

const char *value_type_name(struct value v);
bool value_truth(struct value v);
size_t value_points(struct value v); /* code points of a string */

/* len(); fails for what has none. */
bool jinja_length(struct jinja *j, struct value v, int64_t *out);
bool value_has_length(struct value v);
bool jinja_equal(struct jinja *j, struct value a, struct value b, bool *out);
enum order { ORDER_LESS, ORDER_EQUAL, ORDER_GREATER, ORDER_NONE /* NaN */ };
/* Order for `op` ("<"), which is named when the types cannot be ordered. */
bool jinja_order(struct jinja *j, const char *op, struct value a, struct value b, enum order *out);
bool jinja_contains(struct jinja *j, struct value container, struct value item, bool *out);

/* Sorts `items` by `keys` (both of n), stable, as Python's sorted(). */
bool jinja_sort(struct jinja *j, struct value *items, struct value *keys, size_t n, bool reverse);

/* --- passing over values ------------------------------------------------------------------------
 */

struct cursor {
    struct value v;
    size_t at;
    size_t size_at_start; /* dicts: changing the size while iterating fails */
};

bool value_is_iterable(struct value v);
bool jinja_cursor(struct jinja *j, struct value v, struct cursor *cursor);
/* *more is false at the end. */
bool jinja_next(struct jinja *j, struct cursor *cursor, struct value *out, bool *more);
/* list(v): always a fresh list. */
bool jinja_to_list(struct jinja *j, struct value v, struct list **out);

/* --- numbers ------------------------------------------------------------------------------------
 */

enum binary_op { OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_FLOORDIV, OP_MOD, OP_POW };
bool jinja_binary(struct jinja *j, enum binary_op op, struct value a, struct value b,
                  struct value *out);
bool jinja_negate(struct jinja *j, bool minus, struct value a, struct value *out);
/* Python's repr of a float, at most 32 bytes with its zero. */
void jinja_float_repr(double value, char out[32]);
/* float(text) of Python; false if it is none. */
bool jinja_parse_float(struct str text, double *out);
enum parsed_int { PARSED_INT, PARSED_NOT, PARSED_TOO_BIG };
enum parsed_int jinja_parse_int(struct str text, int base, int64_t *out);
/* A float cut to an integer; fails when it does not fit. */
bool jinja_float_to_int(struct jinja *j, double value, int64_t *out);

/* --- members ------------------------------------------------------------------------------------
 */

bool jinja_get_attr(struct jinja *j, struct value object, struct value name, struct value *out);
bool jinja_get_item(struct jinja *j, struct value object, struct value key, struct value *out);
/* object[start:stop:step]; VALUE_ABSENT or None where not given. */
bool jinja_slice(struct jinja *j, struct value object, const struct value bounds[3],
                 struct value *out);
/* start, stop and step as range(*slice.indices(n)) has them; count of items. */
bool jinja_slice_range(struct jinja *j, const struct value bounds[3], int64_t n, struct range *out);

/* --- calling ------------------------------------------------------------------------------------
 */

bool jinja_call(struct jinja *j, struct value callee, struct args *args, struct value *out);
bool jinja_call_row(struct jinja *j, const struct jinja_row *row, struct value self,
                    struct args *args, struct value *out);
const struct jinja_row *jinja_row_find(const struct jinja_row *rows, struct str name);

extern const struct jinja_row jinja_text_filters[], jinja_list_filters[], jinja_pick_filters[],
    jinja_misc_filters[], jinja_tests[], jinja_functions[], jinja_string_methods[],
    jinja_string_tests[], jinja_split_methods[], jinja_list_methods[], jinja_tuple_methods[],
    jinja_dict_methods[], jinja_object_methods[];
const struct jinja_row *jinja_filter_find(struct str name);
const struct jinja_row *jinja_test_find(struct str name);
const struct jinja_row *jinja_method_find(struct value self, struct str name);

/* --- text, numbers and JSON shared by filters and methods ----------------------------------------
 */

/* One code point of valid UTF-8 at `at`; returns its length. */
size_t jinja_point(struct str text, size_t at, uint32_t *codepoint);
/* Where the `index`-th code point begins. */
size_t jinja_point_offset(struct value v, size_t index);
bool jinja_is_space(uint32_t codepoint);
bool jinja_is_printable(uint32_t codepoint);
bool jinja_is_word(uint32_t codepoint); /* \w of a regular expression */
/* Where the code point before `to` (> 0) begins. */
size_t jinja_point_before(struct str text, size_t to);
struct str jinja_strip(struct str text, bool left, bool right); /* whitespace */
enum { STRIP_LEFT = 1, STRIP_RIGHT = 2 };
/* The same for any characters; whitespace when `chars` is NULL. */
bool jinja_strip_chars(struct jinja *j, struct str text, const struct str *chars, int sides,
                       struct str *out);
/* First (last) place of needle in text[from:], or SIZE_MAX in *out. */
bool jinja_find(struct jinja *j, struct str text, struct str needle, size_t from, size_t *out);
bool jinja_find_last(struct jinja *j, struct str text, struct str needle, size_t *out);
/* text with at most `max` (< 0: all) of old replaced by new, put at the end of the output. */
bool jinja_put_replaced(struct jinja *j, struct str text, struct str old, struct str new_text,
                        int64_t max);
/* The end of the line that starts at `from`; *next is where the following one starts. */
size_t jinja_line_end(struct str text, size_t from, size_t *next);
bool jinja_put_escaped(struct jinja *j, struct str text); /* & < > ' " for HTML */
enum text_case { CASE_LOWER, CASE_UPPER, CASE_TITLE, CASE_FOLD };
bool jinja_put_cased(struct jinja *j, struct str text, size_t at, enum text_case to);
bool jinja_put_cased_all(struct jinja *j, struct str text, enum text_case to);
bool jinja_is_cased(uint32_t codepoint, bool *lower, bool *upper, bool *title);

/* "format" % args, and format.format(args). */
bool jinja_percent(struct jinja *j, struct value format, struct value args, struct value *out);
bool jinja_percent_put(struct jinja *j, struct str format, struct value args);
bool jinja_format(struct jinja *j, struct value format, struct args *args, struct value *out);
/* One value by a format specification (">10.2f"), put at the end of the output. */
bool jinja_put_formatted(struct jinja *j, struct value v, struct str spec);

jinja_fn jinja_wordwrap, jinja_urlize, jinja_pprint; /* the filters */

struct json_style {
    struct str item_separator, key_separator;
    struct str indent;
    bool indented, ascii, sorted;
};
bool jinja_put_json(struct jinja *j, struct value v, const struct json_style *style, int level);
bool jinja_from_json(struct jinja *j, const struct json_t *json, struct value *out);
bool jinja_strftime(struct jinja *j, struct str format, struct value *out);

/* item["a"]["b"] for the attribute "a.b", as filters take it; `missing` stands for what is
 * undefined unless it is absent or None. */
bool jinja_path(struct jinja *j, struct value item, struct value attribute, struct value missing,
                struct value *out);
/* A string in lower case, anything else as it is: what sorting compares by default. */
bool jinja_ignore_case(struct jinja *j, struct value v, bool case_sensitive, struct value *out);

/* An argument as an integer; fails naming the parameter. */
bool jinja_arg_int(struct jinja *j, struct value v, const char *name, int64_t *out);
bool jinja_arg_str(struct jinja *j, struct value v, const char *name, struct str *out);

#endif
