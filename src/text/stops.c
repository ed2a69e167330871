#include "text/stops.h"

#include "base/mem.h"
#include "text/utf8.h"

static enum hth_status check(const char *const *texts, size_t count, const struct log *log)
{
    if (count > STOPS_MAX)
        return log_fail(log, HTH_ERROR_ARGUMENT, "%zu stop texts are more than the %d possible",
                        count, STOPS_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(texts[i]);
        if (len < 1 || len > NEEDLE_BYTES)
            return log_fail(log, HTH_ERROR_ARGUMENT, "a stop text has 1 to %d bytes, not %zu",
                            NEEDLE_BYTES, len);
        if (!utf8_valid((struct str){texts[i], len}))
            return log_fail(log, HTH_ERROR_ARGUMENT, "the stop text \"%s\" is not UTF-8", texts[i]);
    }
    return HTH_OK;
}

enum hth_status stops_create(struct stops *stops, const char *const *texts, size_t count,
                             const struct log *log)
{
    *stops = (struct stops){0};
    enum hth_status status = check(texts, count, log);
    if (status || count == 0)
        return status;
    stops->items = mem_calloc(count, sizeof *stops->items);
    if (!stops->items)
        return log_fail_memory(log, "stop texts", count * sizeof *stops->items);
    stops->count = count;
    for (size_t i = 0; i < count; i++)
        needle_init(&stops->items[i], str_of(texts[i]));
    return HTH_OK;
}

void stops_destroy(struct stops *stops)
{
    mem_free(stops->items);
    *stops = (struct stops){0};
}

/* The length of the longest stop text that the stream now ends with; 0: of none. */
static size_t step(struct stops *stops, unsigned char byte)
{
    size_t longest = 0;
    for (size_t i = 0; i < stops->count; i++) {
        struct needle *item = &stops->items[i];
        if (needle_push(item, byte) && item->len > longest)
            longest = item->len;
    }
    return longest;
}

/* How much of the stream's end may begin a stop text. */
static size_t begun(const struct stops *stops)
{
    size_t most = 0;
    for (size_t i = 0; i < stops->count; i++)
        most = stops->items[i].at > most ? stops->items[i].at : most;
    return most;
}

/* The first n bytes of what was held back with `text` behind it. */
static void hand_on(const struct stops *stops, struct str text, size_t n, struct strbuf *out)
{
    size_t old = n < stops->n_held ? n : stops->n_held;
    strbuf_append(out, (struct str){stops->held, old});
    strbuf_append(out, str_slice(text, 0, n - old));
}

/* The last n bytes of the same. */
static void hold(struct stops *stops, struct str text, size_t n)
{
    size_t new = n < text.len ? n : text.len, old = n - new;
    memmove(stops->held, stops->held + stops->n_held - old, old);
    if (new)
        memcpy(stops->held + old, text.ptr + text.len - new, new);
    stops->n_held = n;
}

void stops_push(struct stops *stops, struct str text, struct strbuf *out)
{
    for (size_t i = 0; i < text.len && !stops->found; i++) {
        size_t len = step(stops, (unsigned char)text.ptr[i]);
        stops->found = len > 0;
        if (stops->found)
            hand_on(stops, text, stops->n_held + i + 1 - len, out);
    }
    if (stops->found) {
        stops->n_held = 0;
        return;
    }
    size_t n = begun(stops);
    hand_on(stops, text, stops->n_held + text.len - n, out);
    hold(stops, text, n);
}

void stops_halt(struct stops *stops, struct strbuf *out)
{
    strbuf_append(out, (struct str){stops->held, stops->n_held});
    stops->n_held = 0;
    stops->found = true;
}

void stops_end(struct stops *stops, struct strbuf *out)
{
    stops_halt(stops, out);
    stops->found = false;
    for (size_t i = 0; i < stops->count; i++)
        needle_reset(&stops->items[i]);
}
