#include "text/jinja_value.h"

/* The filter wordwrap: each line of a text cut to a width the way Python's textwrap does it. Where
 * a line may be cut (whitespace, after hyphens inside words, around dashes) follows
 * https://docs.python.org/3/library/textwrap.html#textwrap.TextWrapper */

struct wrap {
    struct str line;
    uint32_t *points; /* of the line */
    size_t *offsets;  /* where each begins; one more for the end */
    size_t n;
    int64_t width;
    bool break_long, break_hyphens;
    struct str glue;
    bool any; /* a line was put */
};

/* A line under construction: the pieces [from, to), the last of which may be dropped. */
struct piece {
    size_t from, to;
};

static bool is_blank(uint32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_letter(const struct wrap *w, size_t at)
{
    uint32_t c = at < w->n ? w->points[at] : 0;
    return jinja_is_word(c) && !(c >= '0' && c <= '9');
}

static bool is_word_end(const struct wrap *w, size_t at)
{
    uint32_t c = w->points[at];
    return jinja_is_word(c) || (c < 0x80 && c && strchr("!\"'&.,?", (int)c));
}

/* The end of two or more dashes between words, or `at`. */
static size_t dashes(const struct wrap *w, size_t at)
{
    size_t end = at;
    while (end < w->n && w->points[end] == '-')
        end++;
    bool between = at > 0 && end - at >= 2 && end < w->n && is_word_end(w, at - 1) &&
                   jinja_is_word(w->points[end]);
    return between ? end : at;
}

/* A hyphen with two letters before it and two after, perhaps with a hyphen between either pair. */
static bool breaks_after(const struct wrap *w, size_t at)
{
    if (w->points[at] != '-' || at < 2 || !is_letter(w, at - 1))
        return false;
    bool before =
        is_letter(w, at - 2) || (at >= 3 && w->points[at - 2] == '-' && is_letter(w, at - 3));
    size_t next = at + 2 + (at + 2 < w->n && w->points[at + 2] == '-');
    return before && is_letter(w, at + 1) && is_letter(w, next);
}

/* The end of the piece that begins at `at`: blanks, dashes, or a word up to where it may be cut. */
static size_t piece_end(const struct wrap *w, size_t at)
{
    size_t end = at + 1;
    bool blank = is_blank(w->points[at]);
    if (blank || !w->break_hyphens) {
        while (end < w->n && is_blank(w->points[end]) == blank)
            end++;
        return end;
    }
    if (dashes(w, at) > at)
        return dashes(w, at);
    for (; end < w->n && !is_blank(w->points[end]); end++) {
        if (breaks_after(w, end))
            return end + 1;
        if (dashes(w, end) > end)
            return end;
    }
    return end;
}

static bool is_space_only(const struct wrap *w, struct piece piece)
{
    while (piece.from < piece.to && jinja_is_space(w->points[piece.from]))
        piece.from++;
    return piece.from == piece.to;
}

/* Where a word too long for any line is cut when `room` code points are left. */
static size_t long_cut(const struct wrap *w, struct piece word, size_t room)
{
    size_t cut = word.from + room, hyphen = cut;
    if (!w->break_hyphens)
        return cut;
    while (hyphen > word.from && w->points[hyphen - 1] != '-')
        hyphen--;
    if (hyphen < word.from + 2)
        return cut;
    for (size_t at = word.from; at + 1 < hyphen; at++)
        if (w->points[at] != '-')
            return hyphen;
    return cut;
}

static bool put_line(struct jinja *j, struct wrap *w, size_t from, size_t to)
{
    size_t start = w->offsets[from];
    if (w->any && !jinja_put(j, w->glue.ptr, w->glue.len))
        return false;
    w->any = true;
    return jinja_put(j, w->line.ptr + start, w->offsets[to] - start);
}

static bool wrap_line(struct jinja *j, struct wrap *w)
{
    bool first = true;
    struct piece next = {0, w->n ? piece_end(w, 0) : 0};
    while (next.from < w->n) {
        struct piece last = {0, 0};
        if (!first && is_space_only(w, next))
            next = (struct piece){next.to, next.to < w->n ? piece_end(w, next.to) : next.to};
        size_t start = next.from;
        bool any = false;
        while (next.from < w->n && (int64_t)(next.to - start) <= w->width) {
            last = next;
            any = true;
            next = (struct piece){next.to, next.to < w->n ? piece_end(w, next.to) : next.to};
        }
        if (next.from < w->n && (int64_t)(next.to - next.from) > w->width &&
            (w->break_long || !any)) {
            size_t room = (size_t)w->width - (next.from - start);
            last = next;
            any = true;
            if (w->break_long) {
                size_t cut = long_cut(w, next, room);
                last.to = cut;
                next.from = cut;
            } else {
                next = (struct piece){next.to, next.to < w->n ? piece_end(w, next.to) : next.to};
            }
        }
        size_t end = any ? (is_space_only(w, last) ? last.from : last.to) : start;
        if (!jinja_charge(j, next.from - start))
            return false;
        if (end > start || (any && last.from > start)) {
            if (!put_line(j, w, start, end))
                return false;
            first = false;
        }
    }
    return true;
}

static bool read_line(struct jinja *j, struct wrap *w, struct str line)
{
    w->line = line;
    w->n = 0;
    w->points = jinja_alloc(j, line.len + 1, sizeof *w->points);
    w->offsets = jinja_alloc(j, line.len + 1, sizeof *w->offsets);
    if (!w->points || !w->offsets)
        return false;
    for (size_t at = 0; at < line.len; w->n++) {
        w->offsets[w->n] = at;
        at += jinja_point(line, at, &w->points[w->n]);
    }
    w->offsets[w->n] = line.len;
    return true;
}

bool jinja_wordwrap(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct wrap w = {.width = 79, .break_long = true, .break_hyphens = true, .glue = STR("\n")};
    struct str text;
    size_t mark = jinja_mark(j);
    if (!jinja_arg_str(j, self, "s", &text) ||
        (args->slots[0].kind != VALUE_ABSENT &&
         !jinja_arg_int(j, args->slots[0], "width", &w.width)) ||
        (value_given(args->slots[2]) && !jinja_arg_str(j, args->slots[2], "wrapstring", &w.glue)))
        return false;
    if (args->slots[1].kind != VALUE_ABSENT)
        w.break_long = value_truth(args->slots[1]);
    if (args->slots[3].kind != VALUE_ABSENT)
        w.break_hyphens = value_truth(args->slots[3]);
    for (size_t at = 0, next; at < text.len; at = next) {
        size_t end = jinja_line_end(text, at, &next);
        if (w.width <= 0 && end > at)
            return jinja_fail(j, "invalid width %lld (must be > 0)", (long long)w.width);
        if (at > 0 && !jinja_put(j, w.glue.ptr, w.glue.len))
            return false;
        w.any = false;
        if (!read_line(j, &w, str_slice(text, at, end)) || !wrap_line(j, &w))
            return false;
    }
    return jinja_take(j, mark, out);
}
