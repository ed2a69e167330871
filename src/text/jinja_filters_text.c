#include "text/jinja_value.h"

/* Filters from text to text. Jinja2's own reference says what each does:
 * https://jinja.palletsprojects.com/en/3.1.x/templates/#list-of-builtin-filters */

static bool take_as(struct jinja *j, bool ok, size_t mark, bool markup, struct value *out)
{
    if (!ok || !jinja_take(j, mark, out))
        return false;
    out->markup = markup;
    return true;
}

static bool cased(struct jinja *j, struct value self, enum text_case to, struct value *out)
{
    struct value text;
    if (!jinja_to_text(j, self, &text))
        return false;
    size_t mark = jinja_mark(j);
    return take_as(j, jinja_put_cased_all(j, value_str(text), to), mark, text.markup, out);
}

static bool filter_upper(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)args;
    return cased(j, self, CASE_UPPER, out);
}

static bool filter_lower(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)args;
    return cased(j, self, CASE_LOWER, out);
}

static bool filter_capitalize(struct jinja *j, struct value self, struct args *args,
                              struct value *out)
{
    struct value text;
    return jinja_to_text(j, self, &text) &&
           jinja_call_row(j, jinja_row_find(jinja_string_methods, STR("capitalize")), text, args,
                          out);
}

/* Words begin after whitespace and after any of - ( { [ <. */
static bool filter_title(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct value text;
    uint32_t c;
    bool ok = true, first = true;
    (void)args;
    if (!jinja_to_text(j, self, &text))
        return false;
    struct str s = value_str(text);
    size_t mark = jinja_mark(j);
    for (size_t at = 0, word = 0; ok && at < s.len;) {
        size_t len = jinja_point(s, at, &c);
        bool separator = jinja_is_space(c) || (c < 0x80 && c && strchr("-({[<", (int)c));
        /* What follows the first letter is lowered on its own: a sigma there has no word before. */
        ok = first ? jinja_put_cased(j, s, at, CASE_UPPER)
                   : jinja_put_cased(j, str_slice(s, word, s.len), at - word, CASE_LOWER);
        at += len;
        word = first ? at : word;
        first = separator;
    }
    return take_as(j, ok, mark, false, out);
}

static bool filter_center(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct value text, width = value_int(80);
    if (args->slots[0].kind != VALUE_ABSENT)
        width = args->slots[0];
    struct args inner = {.items = &width, .count = 1};
    return jinja_to_text(j, self, &text) &&
           jinja_call_row(j, jinja_row_find(jinja_string_methods, STR("center")), text, &inner,
                          out);
}

static bool escape(struct jinja *j, struct value self, bool again, struct value *out)
{
    struct value text;
    if (!jinja_to_text(j, self, &text))
        return false;
    size_t mark = jinja_mark(j);
    bool ok =
        text.markup && !again ? jinja_put_text(j, text) : jinja_put_escaped(j, value_str(text));
    return take_as(j, ok, mark, true, out);
}

static bool filter_escape(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)args;
    return escape(j, self, false, out);
}

static bool filter_forceescape(struct jinja *j, struct value self, struct args *args,
                               struct value *out)
{
    (void)args;
    return escape(j, self, true, out);
}

static bool filter_safe(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)args;
    if (!jinja_to_text(j, self, out))
        return false;
    out->markup = true;
    return true;
}

static bool filter_string(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)args;
    return jinja_to_text(j, self, out);
}

static bool filter_trim(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct value text;
    struct str chars;
    bool given = value_given(args->slots[0]);
    if (!jinja_to_text(j, self, &text) ||
        (given && !jinja_arg_str(j, args->slots[0], "chars", &chars)))
        return false;
    struct str s;
    bool ok = jinja_strip_chars(j, value_str(text), given ? &chars : NULL, STRIP_LEFT | STRIP_RIGHT,
                                &s) &&
              jinja_borrow(j, s, out);
    out->markup = text.markup;
    return ok;
}

static bool filter_replace(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct value text, old, new_text;
    int64_t count = -1;
    if (!jinja_to_text(j, self, &text) || !jinja_to_text(j, args->slots[0], &old) ||
        !jinja_to_text(j, args->slots[1], &new_text) ||
        (value_given(args->slots[2]) && !jinja_arg_int(j, args->slots[2], "count", &count)))
        return false;
    size_t mark = jinja_mark(j);
    bool ok = jinja_put_replaced(j, value_str(text), value_str(old), value_str(new_text), count);
    return take_as(j, ok, mark, false, out);
}

static bool filter_format(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct value text, values;
    if (args->count && args->n_keywords)
        return jinja_fail(j, "can't handle positional and keyword arguments at the same time");
    if (!jinja_to_text(j, self, &text))
        return false;
    if (args->n_keywords) {
        struct dict *dict = jinja_dict_new(j);
        for (size_t i = 0; dict && i < args->n_keywords; i++) {
            struct value key = {.kind = VALUE_STRING, .text = args->keywords[i].name};
            if (!jinja_dict_set(j, dict, key, args->keywords[i].value))
                return false;
        }
        if (!dict)
            return false;
        values = value_dict(dict);
    } else {
        struct list *list = jinja_list_new(j, 0);
        if (!list)
            return false;
        *list = (struct list){args->items, args->count, args->count};
        values = value_tuple(list);
    }
    return jinja_percent(j, text, values, out);
}

static bool filter_indent(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct str text, unit = STR(" ");
    int64_t count = 4;
    bool first = value_truth(args->slots[1]), blank = value_truth(args->slots[2]);
    if (!jinja_arg_str(j, self, "s", &text))
        return false;
    if (args->slots[0].kind == VALUE_STRING) {
        unit = value_str(args->slots[0]);
        count = 1;
    } else if (args->slots[0].kind != VALUE_ABSENT &&
               !jinja_arg_int(j, args->slots[0], "width", &count)) {
        return false;
    }
    uint64_t times = count > 0 ? (uint64_t)count : 0;
    size_t mark = jinja_mark(j), next;
    struct value lines;
    /* A newline is thought to follow, so a text that ends in one has an empty last line. */
    if (!jinja_put(j, text.ptr, text.len) || !jinja_put(j, "\n", 1) || !jinja_take(j, mark, &lines))
        return false;
    text = value_str(lines);
    bool ok = !first || jinja_put_repeat(j, unit, times);
    for (size_t at = 0; ok && at < text.len; at = next) {
        size_t end = jinja_line_end(text, at, &next);
        bool indented = at > 0 && (end > at || blank);
        ok = (at == 0 || jinja_put(j, "\n", 1)) &&
             (!indented || jinja_put_repeat(j, unit, times)) &&
             jinja_put(j, text.ptr + at, end - at);
    }
    return take_as(j, ok, mark, self.markup, out);
}

static bool filter_truncate(struct jinja *j, struct value self, struct args *args,
                            struct value *out)
{
    struct str text, end = STR("...");
    int64_t length = 255, leeway = 5;
    bool kill = value_truth(args->slots[1]);
    int64_t points;
    if (!jinja_length(j, self, &points) ||
        (args->slots[0].kind != VALUE_ABSENT &&
         !jinja_arg_int(j, args->slots[0], "length", &length)) ||
        (args->slots[2].kind != VALUE_ABSENT && !jinja_arg_str(j, args->slots[2], "end", &end)) ||
        (value_given(args->slots[3]) && !jinja_arg_int(j, args->slots[3], "leeway", &leeway)))
        return false;
    struct value end_value;
    if (!jinja_borrow(j, end, &end_value))
        return false;
    int64_t end_points = (int64_t)value_points(end_value);
    if (length < end_points)
        return jinja_fail(j, "expected length >= %lld, got %lld", (long long)end_points,
                          (long long)length);
    if (leeway < 0)
        return jinja_fail(j, "expected leeway >= 0, got %lld", (long long)leeway);
    *out = self;
    if (leeway > INT64_MAX - length || points <= length + leeway)
        return true;
    if (!jinja_arg_str(j, self, "s", &text))
        return false;
    text = str_slice(text, 0, jinja_point_offset(self, (size_t)(length - end_points)));
    size_t space = text.len;
    while (!kill && space > 0 && text.ptr[space - 1] != ' ')
        space--;
    if (!kill && space > 0)
        text.len = space - 1;
    size_t mark = jinja_mark(j);
    bool ok = jinja_put(j, text.ptr, text.len) && jinja_put(j, end.ptr, end.len);
    return take_as(j, ok, mark, self.markup, out);
}

static bool filter_wordcount(struct jinja *j, struct value self, struct args *args,
                             struct value *out)
{
    struct value text;
    uint32_t c;
    int64_t words = 0;
    bool inside = false;
    (void)args;
    if (!jinja_to_text(j, self, &text))
        return false;
    struct str s = value_str(text);
    for (size_t at = 0; at < s.len;) {
        at += jinja_point(s, at, &c);
        bool word = jinja_is_word(c);
        words += word && !inside;
        inside = word;
    }
    *out = value_int(words);
    return jinja_charge(j, s.len);
}

static const struct {
    const char *name;
    uint32_t codepoint;
} entities[] = {
    {"amp", '&'},      {"lt", '<'},       {"gt", '>'},        {"quot", '"'},     {"apos", '\''},
    {"nbsp", 0xa0},    {"copy", 0xa9},    {"reg", 0xae},      {"laquo", 0xab},   {"raquo", 0xbb},
    {"ndash", 0x2013}, {"mdash", 0x2014}, {"hellip", 0x2026}, {"lsquo", 0x2018}, {"rsquo", 0x2019},
    {"ldquo", 0x201c}, {"rdquo", 0x201d},
};

/* Puts the character of an entity at `at` ("&…;"); its length, or 0 if it is none known. */
static size_t put_entity(struct jinja *j, struct str s, size_t at, bool *ok)
{
    size_t end = at + 1;
    while (end < s.len && s.ptr[end] != ';' && end - at < 12)
        end++;
    if (end >= s.len || s.ptr[end] != ';')
        return 0;
    struct str name = str_slice(s, at + 1, end);
    int64_t number;
    if (name.len > 1 && name.ptr[0] == '#') {
        bool hex = (name.ptr[1] | 32) == 'x';
        if (jinja_parse_int(str_slice(name, hex ? 2 : 1, name.len), hex ? 16 : 10, &number) !=
                PARSED_INT ||
            number <= 0 || number > 0x10ffff || (number >= 0xd800 && number < 0xe000))
            return 0;
        *ok = jinja_put_point(j, (uint32_t)number);
        return end + 1 - at;
    }
    for (size_t i = 0; i < ARRAY_LEN(entities); i++)
        if (str_equal(name, str_of(entities[i].name))) {
            *ok = jinja_put_point(j, entities[i].codepoint);
            return end + 1 - at;
        }
    return 0;
}

/* Where the tag or comment at `at` ends, or 0 if it is never closed. */
static bool tag_end(struct jinja *j, struct str s, size_t at, size_t *end)
{
    bool comment = str_starts_with(str_slice(s, at, s.len), STR("<!--"));
    struct str close = comment ? STR("-->") : STR(">");
    if (!jinja_find(j, s, close, comment ? at + 4 : at, end))
        return false;
    *end = *end == SIZE_MAX ? 0 : *end + close.len;
    return true;
}

static bool without_tags(struct jinja *j, struct str s, struct value *out)
{
    size_t mark = jinja_mark(j), at = 0, end = 1;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '<')
            continue;
        if (!tag_end(j, s, i, &end))
            return false;
        if (!end)
            break;
        if (!jinja_put(j, s.ptr + at, i - at))
            return false;
        at = end;
        i = end - 1;
    }
    return jinja_put(j, s.ptr + at, s.len - at) && jinja_take(j, mark, out);
}

static bool filter_striptags(struct jinja *j, struct value self, struct args *args,
                             struct value *out)
{
    struct value text;
    uint32_t c;
    (void)args;
    if (!jinja_to_text(j, self, &text) || !without_tags(j, value_str(text), &text))
        return false;
    struct str s = jinja_strip(value_str(text), true, true);
    size_t mark = jinja_mark(j);
    bool ok = true, space = false;
    for (size_t at = 0; ok && at < s.len;) {
        size_t len = jinja_point(s, at, &c);
        bool now = jinja_is_space(c);
        size_t entity = c == '&' ? put_entity(j, s, at, &ok) : 0;
        if (now && !space)
            ok = jinja_put(j, " ", 1);
        else if (!now && !entity)
            ok = jinja_put(j, s.ptr + at, len);
        space = now;
        at += entity ? entity : len;
    }
    return take_as(j, ok, mark, false, out);
}

const struct jinja_row jinja_text_filters[] = {
    {"capitalize", filter_capitalize, "", 0},
    {"center", filter_center, "width", 0},
    {"e", filter_escape, "", 0},
    {"escape", filter_escape, "", 0},
    {"forceescape", filter_forceescape, "", 0},
    {"format", filter_format, "*", 0},
    {"indent", filter_indent, "width first blank", 0},
    {"lower", filter_lower, "", 0},
    {"replace", filter_replace, "old new count", 2},
    {"safe", filter_safe, "", 0},
    {"string", filter_string, "", 0},
    {"striptags", filter_striptags, "", 0},
    {"title", filter_title, "", 0},
    {"trim", filter_trim, "chars", 0},
    {"truncate", filter_truncate, "length killwords end leeway", 0},
    {"upper", filter_upper, "", 0},
    {"wordcount", filter_wordcount, "", 0},
    {0},
};
