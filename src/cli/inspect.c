#include <inttypes.h>
#include <math.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/json_out.h"
#include "cli/options.h"
#include "cli/talk.h"
#include "gguf/gguf.h"
#include "sample/advice.h"

enum { SHOWN_ITEMS = 8, SHOWN_BYTES = 120 };

/* clang-format off */
static const struct option options[] = {
    {.name = "json", .type = OPTION_FLAG, .help = "all of it as a JSON object"},
    {.name = "tensor", .type = OPTION_TEXT, .metavar = "NAME", .help = "only this tensor, with a summary of its values"},
    {.name = "raw-f32", .type = OPTION_FLAG, .help = "its values to stdout: float32, little-endian, no more"},
    {0},
};
/* clang-format on */
static const struct option_group inspect_options = {"What to show", options};

static int n_parts(const struct gguf *gguf)
{
    uint64_t n = 1;
    gguf_get_u64(gguf_key_find(gguf, "split.count"), 0, &n);
    return n > 1 && n < 100000 ? (int)n : 1;
}

/* --- keys ------------------------------------------------------------------------------------- */

static json_t *json_value(const struct gguf_key *key, uint64_t index)
{
    int64_t integer;
    uint64_t count;
    double real;
    bool boolean;
    if (gguf_get_bool(key, index, &boolean))
        return json_boolean(boolean);
    if (gguf_get_i64(key, index, &integer))
        return json_integer(integer);
    if (gguf_get_u64(key, index, &count))
        return json_count(count);
    return gguf_get_f64(key, index, &real) ? json_number(real) : json_null();
}

/* Up to `max` elements; strings have to be walked. */
static json_t *json_items(const struct gguf_key *key, uint64_t max)
{
    json_t *list = json_array();
    struct gguf_strings cursor = {0};
    struct str text;
    for (uint64_t i = 0; i < key->count && i < max; i++) {
        if (key->elem != GGUF_STRING)
            json_push(list, json_value(key, i));
        else if (gguf_next_str(key, &cursor, &text))
            json_push(list, json_text(text));
    }
    return list;
}

static json_t *json_key(const struct gguf_key *key)
{
    struct str text;
    if (key->type == GGUF_ARRAY && key->count > SHOWN_ITEMS)
        return json_pack("{s:s, s:o, s:o}", "array", gguf_type_name(key->elem), "count",
                         json_count(key->count), "first", json_items(key, SHOWN_ITEMS));
    if (key->type == GGUF_ARRAY)
        return json_items(key, SHOWN_ITEMS);
    return gguf_get_str(key, &text) ? json_text(text) : json_value(key, 0);
}

static void print_value(const struct gguf_key *key, uint64_t index)
{
    int64_t integer;
    uint64_t count;
    double real;
    bool boolean;
    if (gguf_get_bool(key, index, &boolean))
        out_printf("%s", boolean ? "true" : "false");
    else if (gguf_get_i64(key, index, &integer))
        out_printf("%" PRId64, integer);
    else if (gguf_get_u64(key, index, &count))
        out_printf("%" PRIu64, count);
    else if (gguf_get_f64(key, index, &real))
        out_printf("%.9g", real);
}

static void print_key(const struct gguf_key *key)
{
    struct gguf_strings cursor = {0};
    struct str text;
    out_printf("  ");
    out_text(key->name);
    out_printf(" = ");
    if (key->type == GGUF_STRING && gguf_get_str(key, &text))
        out_quoted(text, SHOWN_BYTES);
    else if (key->type != GGUF_ARRAY)
        print_value(key, 0);
    else
        out_printf("[");
    for (uint64_t i = 0; key->type == GGUF_ARRAY && i < key->count && i < SHOWN_ITEMS; i++) {
        out_printf("%s", i ? ", " : "");
        if (key->elem != GGUF_STRING)
            print_value(key, i);
        else if (gguf_next_str(key, &cursor, &text))
            out_quoted(text, 24);
    }
    if (key->type == GGUF_ARRAY && key->count > SHOWN_ITEMS)
        out_printf(", … %" PRIu64 " in all]", key->count);
    else if (key->type == GGUF_ARRAY)
        out_printf("]");
    out_printf(" (%s%s)\n", key->type == GGUF_ARRAY ? "array of " : "",
               gguf_type_name(key->type == GGUF_ARRAY ? key->elem : key->type));
}

/* --- tensors ---------------------------------------------------------------------------------- */

static json_t *json_tensor(const struct gguf_tensor *tensor)
{
    json_t *shape = json_array();
    for (uint32_t i = 0; i < tensor->n_dims; i++)
        json_push(shape, json_integer(tensor->ne[i]));
    return json_pack("{s:o, s:s, s:o, s:o, s:i}", "name", json_text(tensor->name), "type",
                     tensor->dtype->name, "shape", shape, "bytes", json_count(tensor->size_bytes),
                     "part", (int)tensor->part);
}

static void print_tensor(const struct gguf_tensor *tensor)
{
    char shape[96] = "";
    for (uint32_t i = 0, n = 0; i < tensor->n_dims && n < sizeof shape; i++)
        n += (uint32_t)snprintf(shape + n, sizeof shape - n, "%s%" PRId64, i ? " × " : "",
                                tensor->ne[i]);
    out_printf("  %-8s %-24s %12" PRIu64 "  ", tensor->dtype->name, shape, tensor->size_bytes);
    out_text(tensor->name);
    out_printf("\n");
}

/* Elements [at, at + n) of a row's worth of blocks as floats. */
static void decode(const struct gguf_tensor *tensor, const void *blocks, float *out, size_t n)
{
    const struct dtype *type = tensor->dtype;
    if (!type->is_integer) {
        type->decode(blocks, out, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        union {
            int8_t i8;
            int16_t i16;
            int32_t i32;
            int64_t i64;
        } value = {0};
        memcpy(&value, (const char *)blocks + i * type->block_bytes, type->block_bytes);
        out[i] = type->block_bytes == 1   ? value.i8
                 : type->block_bytes == 2 ? value.i16
                 : type->block_bytes == 4 ? (float)value.i32
                                          : (float)value.i64;
    }
}

/* Calls fn for all values in order, some thousands at a time. */
static int walk_values(const struct gguf_tensor *tensor,
                       void (*fn)(void *user, const float *values, size_t n), void *user)
{
    enum { PIECE = 8192 }; /* a multiple of every block */
    const struct dtype *type = tensor->dtype;
    if (!type->is_integer && !type->decode)
        return talk_error("values of type %s cannot be shown", type->name);
    float *values = mem_alloc(PIECE * sizeof *values);
    if (!values)
        return talk_error("out of memory: a piece of a tensor");
    uint64_t left = tensor->size_bytes / type->block_bytes * type->block_elems;
    const char *at = tensor->data;
    while (left > 0 && out_flush()) {
        size_t n = left < PIECE ? (size_t)left : PIECE;
        decode(tensor, at, values, n);
        fn(user, values, n);
        at += dtype_row_bytes(type, n);
        left -= n;
    }
    mem_free(values);
    return EXIT_OK;
}

static void put_values(void *user, const float *values, size_t n)
{
    (void)user;
    unsigned char bytes[4];
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        for (int b = 0; b < 4; b++)
            bytes[b] = (unsigned char)(bits >> 8 * b);
        out_put(bytes, sizeof bytes);
    }
}

struct summary {
    double sum, squares, min, max;
    uint64_t n, n_odd; /* NaN or infinite */
    float first[SHOWN_ITEMS];
};

static void add_values(void *user, const float *values, size_t n)
{
    struct summary *s = user;
    for (size_t i = 0; i < n; i++) {
        double v = values[i];
        if (s->n < SHOWN_ITEMS)
            s->first[s->n] = values[i];
        s->n++;
        if (!isfinite(v)) {
            s->n_odd++;
            continue;
        }
        s->sum += v;
        s->squares += v * v;
        s->min = v < s->min ? v : s->min;
        s->max = v > s->max ? v : s->max;
    }
}

static int show_tensor(const struct args *args, const struct gguf_tensor *tensor)
{
    struct summary s = {.min = INFINITY, .max = -INFINITY};
    if (args_flag(args, "raw-f32"))
        return walk_values(tensor, put_values, NULL);
    int code = walk_values(tensor, add_values, &s);
    if (code)
        return code;
    uint64_t n = s.n - s.n_odd, n_first = s.n < SHOWN_ITEMS ? s.n : SHOWN_ITEMS;
    double mean = n ? s.sum / (double)n : 0, rms = n ? sqrt(s.squares / (double)n) : 0;
    if (args_flag(args, "json")) {
        json_t *json = json_tensor(tensor), *first = json_array();
        for (uint64_t i = 0; i < n_first; i++)
            json_push(first, json_number((double)s.first[i]));
        json_t *values =
            json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "min", json_number(s.min), "max",
                      json_number(s.max), "mean", json_number(mean), "rms", json_number(rms),
                      "not_finite", json_count(s.n_odd), "first", first);
        json_set(json, "values", values);
        return json_print(json);
    }
    print_tensor(tensor);
    out_printf("  %" PRIu64 " values from %.6g to %.6g, mean %.6g, rms %.6g, %" PRIu64
               " not finite\n  first:",
               s.n, s.min, s.max, mean, rms, s.n_odd);
    for (uint64_t i = 0; i < n_first; i++)
        out_printf(" %.6g", (double)s.first[i]);
    out_printf("\n");
    return EXIT_OK;
}

/* --- the file --------------------------------------------------------------------------------- */

static int show_json(const struct gguf *gguf)
{
    json_t *keys = json_object(), *tensors = json_array();
    for (size_t i = 0; i < gguf_n_keys(gguf); i++) {
        const struct gguf_key *key = gguf_key_at(gguf, i);
        struct strbuf name = {0};
        strbuf_append(&name, key->name);
        json_t *clean = name.failed ? NULL : json_text(strbuf_str(&name));
        json_set(keys, json_string_value(clean), json_key(key));
        json_decref(clean);
        strbuf_free(&name);
    }
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++)
        json_push(tensors, json_tensor(gguf_tensor_at(gguf, i)));
    return json_print(json_pack(
        "{s:o, s:i, s:o, s:i, s:i, s:o, s:o}", "file", json_text(str_of(gguf_path(gguf))),
        "version", (int)gguf_version(gguf), "bytes", json_count(gguf_file_bytes(gguf)), "alignment",
        (int)gguf_alignment(gguf), "parts", n_parts(gguf), "keys", keys, "tensors", tensors));
}

static void put_option(void *user, const char *name, const char *text)
{
    bool *begun = user;
    out_printf("%s --%s ",
               *begun ? "" : "\nsampling, if run and chat are told nothing else:", name);
    out_text(str_of(text));
    *begun = true;
}

static int show_sampling(const struct gguf *gguf)
{
    struct advice advice;
    bool begun = false;
    if (advice_read(&advice, gguf, talk_log()))
        return EXIT_FAILED;
    each_advised_option(&advice.options, put_option, &begun);
    if (begun)
        out_printf("\n");
    advice_free(&advice);
    return EXIT_OK;
}

static int show_text(const struct gguf *gguf)
{
    uint64_t n_values = 0;
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const int64_t *ne = gguf_tensor_at(gguf, i)->ne;
        n_values += (uint64_t)(ne[0] * ne[1] * ne[2] * ne[3]);
    }
    out_text(str_of(gguf_path(gguf)));
    out_printf(": GGUF version %u, %" PRIu64 " bytes in %d part%s, alignment %u, %" PRIu64
               " elements\n\nkeys (%zu):\n",
               gguf_version(gguf), gguf_file_bytes(gguf), n_parts(gguf),
               n_parts(gguf) > 1 ? "s" : "", gguf_alignment(gguf), n_values, gguf_n_keys(gguf));
    for (size_t i = 0; i < gguf_n_keys(gguf); i++)
        print_key(gguf_key_at(gguf, i));
    int code = show_sampling(gguf);
    if (code)
        return code;
    out_printf("\ntensors (%zu; type, shape with the row length first, bytes, name):\n",
               gguf_n_tensors(gguf));
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++)
        print_tensor(gguf_tensor_at(gguf, i));
    return EXIT_OK;
}

static int run(const struct args *args)
{
    const char *name = args_text(args, "tensor");
    if (args_flag(args, "raw-f32") && !name)
        return usage_error(args->command, "--raw-f32 wants --tensor NAME");
    if (args_flag(args, "raw-f32") && args_flag(args, "json"))
        return usage_error(args->command, "--raw-f32 or --json, not both");
    struct gguf *gguf;
    if (gguf_open(&gguf, args_word(args, 0), talk_log()))
        return EXIT_FAILED;
    const struct gguf_tensor *tensor = name ? gguf_tensor_find(gguf, name) : NULL;
    int code;
    if (name && !tensor)
        code = talk_error("%s: has no tensor \"%s\"", gguf_path(gguf), name);
    else if (tensor)
        code = show_tensor(args, tensor);
    else
        code = args_flag(args, "json") ? show_json(gguf) : show_text(gguf);
    gguf_close(gguf);
    return code;
}

static const struct option_group *const groups[] = {&inspect_options, NULL};

const struct command command_inspect = {
    .name = "inspect",
    .summary = "shows what a GGUF file holds",
    .usage = "FILE [--tensor NAME [--raw-f32]] [--json]",
    .groups = groups,
    .min_words = 1,
    .max_words = 1,
    .run = run,
};
