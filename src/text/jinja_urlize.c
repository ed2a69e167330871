#include "text/jinja_value.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/mem.h"

/* The filter urlize: words that are addresses become links, as
 * https://jinja.palletsprojects.com/en/stable/templates/#jinja-filters.urlize tells. */

/* Enough for any address that is meant; a word made to match slowly is a limit's matter. */
enum { MATCH_LIMIT = 20000 };

/* What may be an address of the web, of mail, and a scheme to add. */
static const char web_pattern[] =
    "^(?:"
    "(?:https?://|www\\.)(?:(?:[\\w%-]+\\.)+)?(?:[a-z]{2,63}|xn--[\\w%]{2,59})"
    "|(?:[\\w%-]{2,63}\\.)+(?:com|net|int|edu|gov|org|info|mil)"
    "|https?://(?:\\d{1,3}(?:\\.\\d{1,3}){3}"
    "|\\[(?:[\\da-f]{0,4}:){2}(?:[\\da-f]{0,4}:?){1,6}\\])"
    ")(?::\\d{1,5})?(?:[/?#]\\S*)?$";
static const char mail_pattern[] = "^\\S+@\\w[\\w.-]*\\.\\w+$";
static const char scheme_pattern[] = "^[\\w.+-]{2,}:/{0,2}$";

struct urlize {
    struct jinja *j;
    pcre2_general_context *memory;
    pcre2_match_context *limits;
    pcre2_match_data *data;
    pcre2_code *web, *mail, *scheme;
    int64_t trim;         /* code points of an address that is shown; negative: all */
    struct value links;   /* attributes of links, escaped: ` rel="…" target="…"` */
    struct list *schemes; /* more that make a word a link */
};

static void *allocate(PCRE2_SIZE size, void *user)
{
    (void)user;
    return mem_alloc(size);
}

static void release(void *ptr, void *user)
{
    (void)user;
    mem_free(ptr);
}

static pcre2_code *compile(pcre2_compile_context *context, const char *pattern)
{
    int error;
    PCRE2_SIZE offset;
    return pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                         PCRE2_UTF | PCRE2_UCP | PCRE2_CASELESS | PCRE2_NO_UTF_CHECK |
                             PCRE2_DOLLAR_ENDONLY,
                         &error, &offset, context);
}

static bool open_patterns(struct urlize *u)
{
    pcre2_compile_context *context = NULL;
    u->memory = pcre2_general_context_create(allocate, release, NULL);
    if (u->memory) {
        context = pcre2_compile_context_create(u->memory);
        u->limits = pcre2_match_context_create(u->memory);
        u->data = pcre2_match_data_create(1, u->memory);
    }
    if (context && u->limits && u->data) {
        pcre2_set_match_limit(u->limits, MATCH_LIMIT);
        u->web = compile(context, web_pattern);
        u->mail = compile(context, mail_pattern);
        u->scheme = compile(context, scheme_pattern);
    }
    pcre2_compile_context_free(context);
    return (u->web && u->mail && u->scheme) ||
           jinja_fail_status(u->j, HTH_ERROR_MEMORY, "no memory for urlize");
}

static void close_patterns(struct urlize *u)
{
    pcre2_code_free(u->web);
    pcre2_code_free(u->mail);
    pcre2_code_free(u->scheme);
    pcre2_match_data_free(u->data);
    pcre2_match_context_free(u->limits);
    pcre2_general_context_free(u->memory);
}

static bool matches(struct urlize *u, const pcre2_code *pattern, struct str text, bool *out)
{
    int found = pcre2_match(pattern, (PCRE2_SPTR)text.ptr, text.len, 0, PCRE2_NO_UTF_CHECK, u->data,
                            u->limits);
    *out = found >= 0;
    if (found >= 0 || found == PCRE2_ERROR_NOMATCH)
        return jinja_check_limits(u->j);
    if (found == PCRE2_ERROR_NOMEMORY)
        return jinja_fail_status(u->j, HTH_ERROR_MEMORY, "no memory for urlize");
    return jinja_fail_status(u->j, HTH_ERROR_LIMIT, "urlize: a word of %zu bytes takes too long",
                             text.len);
}

/* --- a word ----------------------------------------------------------------------------------- */

static const struct str less = {"&lt;", 4}, greater = {"&gt;", 4};

/* How much punctuation stands before, and behind, what may be an address. */
static size_t head_length(struct str word)
{
    size_t at = 0;
    for (;;) {
        if (at < word.len && (word.ptr[at] == '(' || word.ptr[at] == '<'))
            at++;
        else if (str_starts_with(str_slice(word, at, word.len), less))
            at += less.len;
        else
            return at;
    }
}

static size_t tail_start(struct str word)
{
    size_t end = word.len;
    for (;;) {
        if (end > 0 && strchr(")>.,\n", word.ptr[end - 1]) && word.ptr[end - 1])
            end--;
        else if (str_ends_with(str_slice(word, 0, end), greater))
            end -= greater.len;
        else
            return end;
    }
}

static size_t count(struct str text, struct str part)
{
    size_t n = 0;
    for (size_t at = 0; at + part.len <= text.len; at++) {
        if (memcmp(text.ptr + at, part.ptr, part.len) == 0) {
            n++;
            at += part.len - 1;
        }
    }
    return n;
}

/* Where what may be an address ends: closing brackets that opened inside it belong to it. */
static size_t balanced_end(struct str word, size_t from, size_t to)
{
    static const struct str pairs[][2] = {
        {{"(", 1}, {")", 1}}, {{"<", 1}, {">", 1}}, {{"&lt;", 4}, {"&gt;", 4}}};
    for (size_t p = 0; p < ARRAY_LEN(pairs); p++) {
        struct str middle = str_slice(word, from, to), close = pairs[p][1];
        size_t opened = count(middle, pairs[p][0]);
        if (opened <= count(middle, close))
            continue;
        for (; opened > 0 && count(str_slice(word, to, word.len), close) > 0; opened--) {
            while (!str_starts_with(str_slice(word, to, word.len), close))
                to++;
            to += close.len;
        }
    }
    return to;
}

static bool put_text(struct urlize *u, struct str text)
{
    return jinja_put(u->j, text.ptr, text.len);
}

/* `<a href="PREFIX ADDRESS" …>SHOWN</a>` */
static bool put_link(struct urlize *u, const char *prefix, struct str address,
                     struct str attributes, struct str shown)
{
    return jinja_put_str(u->j, "<a href=\"") && jinja_put_str(u->j, prefix) &&
           put_text(u, address) && jinja_put_str(u->j, "\"") && put_text(u, attributes) &&
           jinja_put_str(u->j, ">") && put_text(u, shown) && jinja_put_str(u->j, "</a>");
}

static bool put_web(struct urlize *u, struct str address)
{
    bool has_scheme =
        str_starts_with(address, STR("https://")) || str_starts_with(address, STR("http://"));
    struct str shown = address;
    struct value v;
    if (!jinja_borrow(u->j, address, &v))
        return false;
    bool cut = u->trim >= 0 && (uint64_t)u->trim < value_points(v);
    if (cut) {
        size_t mark = jinja_mark(u->j);
        size_t n = jinja_point_offset(v, (size_t)u->trim);
        if (!put_text(u, str_slice(address, 0, n)) || !jinja_put_str(u->j, "...") ||
            !jinja_take(u->j, mark, &v))
            return false;
        shown = value_str(v);
    }
    return put_link(u, has_scheme ? "" : "https://", address, value_str(u->links), shown);
}

static bool put_other(struct urlize *u, struct str address)
{
    static const struct str mailto = {"mailto:", 7};
    bool is_mail = false, has_scheme = str_starts_with(address, mailto);
    struct str mail = has_scheme ? str_slice(address, mailto.len, address.len) : address;
    bool may = has_scheme || (!str_starts_with(address, STR("www.")) && address.len > 0 &&
                              address.ptr[0] != '@' && !memchr(address.ptr, ':', address.len));
    if (may && memchr(mail.ptr, '@', mail.len) && !matches(u, u->mail, mail, &is_mail))
        return false;
    if (is_mail)
        return put_link(u, "mailto:", mail, STR(""), mail);
    for (size_t i = 0; u->schemes && i < u->schemes->count; i++) {
        struct str scheme = value_str(u->schemes->items[i]);
        if (address.len > scheme.len && str_starts_with(address, scheme))
            return put_link(u, "", address, value_str(u->links), address);
    }
    return put_text(u, address);
}

static bool put_word(struct urlize *u, struct str word)
{
    size_t from = head_length(word);
    size_t to = from + tail_start(str_slice(word, from, word.len));
    to = balanced_end(word, from, to);
    struct str middle = str_slice(word, from, to);
    bool is_web = false;
    if (!jinja_charge(u->j, word.len) || !put_text(u, str_slice(word, 0, from)))
        return false;
    if (middle.len > 0 && !matches(u, u->web, middle, &is_web))
        return false;
    if (middle.len > 0 && !(is_web ? put_web(u, middle) : put_other(u, middle)))
        return false;
    return put_text(u, str_slice(word, to, word.len));
}

static bool put_words(struct urlize *u, struct str text)
{
    for (size_t at = 0; at < text.len;) {
        size_t end = at;
        uint32_t point = 0;
        for (size_t n; end < text.len; end += n) {
            n = jinja_point(text, end, &point);
            if (jinja_is_space(point))
                break;
        }
        if (!put_word(u, str_slice(text, at, end)))
            return false;
        for (at = end; at < text.len;) {
            size_t n = jinja_point(text, at, &point);
            if (!jinja_is_space(point))
                break;
            at += n;
        }
        if (!put_text(u, str_slice(text, end, at)))
            return false;
    }
    return true;
}

/* --- options ---------------------------------------------------------------------------------- */

enum { TRIM, NOFOLLOW, TARGET, REL, SCHEMES };

/* The words of `rel`, "noopener", and "nofollow" if asked for, each once and in order. */
static bool put_rel(struct urlize *u, struct args *args)
{
    struct value rel = value_none(), part;
    struct list *parts = jinja_list_new(u->j, 4);
    struct dict *seen = jinja_dict_new(u->j);
    struct dict_entry *found;
    struct args none = {0};
    if (!parts || !seen)
        return false;
    if (value_given(args->slots[REL]) && value_truth(args->slots[REL])) {
        struct str text;
        struct value words;
        if (!jinja_arg_str(u->j, args->slots[REL], "rel", &text) ||
            !jinja_call_row(u->j, jinja_row_find(jinja_split_methods, STR("split")),
                            args->slots[REL], &none, &words) ||
            !jinja_to_list(u->j, words, &parts))
            return false;
    }
    static const char *const more[] = {"noopener", "nofollow"};
    bool nofollow = value_given(args->slots[NOFOLLOW]) && value_truth(args->slots[NOFOLLOW]);
    for (size_t i = 0; i < (nofollow ? 2u : 1u); i++)
        if (!jinja_borrow(u->j, str_of(more[i]), &part) || !jinja_list_append(u->j, parts, part))
            return false;
    if (!jinja_sort(u->j, parts->items, parts->items, parts->count, false))
        return false;
    size_t mark = jinja_mark(u->j);
    for (size_t i = 0; i < parts->count; i++) {
        if (!jinja_dict_find(u->j, seen, parts->items[i], &found))
            return false;
        if (found)
            continue;
        if (!jinja_dict_set(u->j, seen, parts->items[i], rel) ||
            (jinja_mark(u->j) > mark && !jinja_put_str(u->j, " ")) ||
            !jinja_put_text(u->j, parts->items[i]))
            return false;
    }
    if (!jinja_take(u->j, mark, &rel))
        return false;
    return jinja_put_str(u->j, " rel=\"") && jinja_put_escaped(u->j, value_str(rel)) &&
           jinja_put_str(u->j, "\"");
}

static bool read_options(struct urlize *u, struct args *args)
{
    size_t mark = jinja_mark(u->j);
    struct value target;
    u->trim = -1;
    if (value_given(args->slots[TRIM]) &&
        !jinja_arg_int(u->j, args->slots[TRIM], "trim_url_limit", &u->trim))
        return false;
    if (!put_rel(u, args))
        return false;
    if (value_given(args->slots[TARGET]) && value_truth(args->slots[TARGET]) &&
        (!jinja_to_text(u->j, args->slots[TARGET], &target) || !jinja_put_str(u->j, " target=\"") ||
         !jinja_put_escaped(u->j, value_str(target)) || !jinja_put_str(u->j, "\"")))
        return false;
    if (!jinja_take(u->j, mark, &u->links))
        return false;
    if (!value_given(args->slots[SCHEMES]))
        return true;
    if (!jinja_to_list(u->j, args->slots[SCHEMES], &u->schemes))
        return false;
    for (size_t i = 0; i < u->schemes->count; i++) {
        struct str scheme;
        bool good = false;
        if (!jinja_arg_str(u->j, u->schemes->items[i], "a scheme", &scheme) ||
            !matches(u, u->scheme, scheme, &good))
            return false;
        if (!good)
            return jinja_fail(u->j, "'%.*s' is not a valid URI scheme prefix",
                              (int)(scheme.len < 100 ? scheme.len : 100), scheme.ptr);
    }
    return true;
}

bool jinja_urlize(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct urlize u = {.j = j};
    struct value text;
    size_t mark = jinja_mark(j);
    bool done = jinja_to_text(j, self, &text);
    if (done && !text.markup)
        done = jinja_put_escaped(j, value_str(text)) && jinja_take(j, mark, &text);
    done = done && open_patterns(&u) && read_options(&u, args) && put_words(&u, value_str(text)) &&
           jinja_take(j, mark, out);
    close_patterns(&u);
    return done;
}
