/*
 * opbench.c — how fast kernels read weights: matrices of each format times one or more vectors on a
 * Vulkan device, beside the same in one format (Q4_1). Speeds move while a machine is in use, so
 * format and base run in turn, and the median of the ratios counts.
 */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_text.h"
#include "base/os.h"
#include "engine/engine.h"
#include "engine/roof.h"
#include "trial.h"

enum { MAX_ITEMS = 64, MAX_COLUMNS = 8192, MAX_SIDE = 1 << 20 };
enum { EXIT_BAD = 1, EXIT_USAGE = 2 };

struct settings {
    const char *device;
    const struct dtype *base, *formats[MAX_ITEMS];
    struct trial_shape shapes[MAX_ITEMS]; /* without columns */
    int columns[MAX_ITEMS];
    int n_formats, n_shapes, n_columns;
    struct trial_rows rows;
    struct trial_effort effort;
    const char *roof_path; /* NULL: no shares */
    struct roof roof;
    bool json;
};

struct result {
    const struct dtype *type;
    const struct row *row;
    struct trial_shape shape;
    struct trial_times times; /* the ratio is NAN where the base has no kernel */
    bool first;               /* nothing was printed before */
};

static void write_log(void *user, enum hth_log_level level, const char *line)
{
    (void)user, (void)level;
    fprintf(stderr, "opbench: %s\n", line);
}

static const struct log talk = {.write = write_log, .max_level = HTH_LOG_WARNING};

/* Of what the row's kind of arithmetic can do, or reading. */
static double share_of(const struct settings *settings, const struct result *r, double bytes,
                       double flop, const char **bound)
{
    const struct roof *roof = &settings->roof;
    double rate = roof_row_flop(roof, r->row);
    const struct roof_work work = {bytes, flop, rate, r->times.time_ns / 1e9};
    return roof_share(roof, &work, bound);
}

static void print_result(const struct settings *settings, const struct result *r)
{
    double weights = (double)(r->shape.n * r->shape.k);
    double bytes = (double)dtype_row_bytes(r->type, (uint64_t)r->shape.k) * (double)r->shape.n;
    double giga_weights = weights / r->times.time_ns, gflops = 2 * giga_weights * r->shape.columns;
    char ratio[32];
    snprintf(ratio, sizeof ratio, "%.3f", r->times.ratio);
    if (isnan(r->times.ratio))
        snprintf(ratio, sizeof ratio, "%s", settings->json ? "null" : "-");
    const char *bound = "";
    double share = settings->roof_path
                       ? share_of(settings, r, bytes, 2 * weights * r->shape.columns, &bound)
                       : 0;
    if (!settings->json) {
        printf("%-8s %-14s %6" PRId64 " x %-6" PRId64 " %7d %12.1f %10.4f %8.3f %9.1f %8s",
               r->type->name, r->row->name, r->shape.n, r->shape.k, r->shape.columns,
               r->times.time_ns / 1e3, giga_weights, bytes / r->times.time_ns, gflops, ratio);
        if (settings->roof_path)
            printf(" %7.1f %% of %s", 100 * share, bound);
        printf("\n");
    } else {
        printf("%s\n  {\"format\": \"%s\", \"row\": \"%s\", \"n\": %" PRId64 ", \"k\": %" PRId64,
               r->first ? "" : ",", r->type->name, r->row->name, r->shape.n, r->shape.k);
        printf(", \"columns\": %d, \"time_us\": %.3f, \"weights_per_s\": %.6g, \"gb_per_s\": %.6g",
               r->shape.columns, r->times.time_ns / 1e3, giga_weights * 1e9,
               bytes / r->times.time_ns);
        printf(", \"gflop_per_s\": %.6g, \"rounds\": %d, \"ratio\": %s", gflops, r->times.rounds,
               ratio);
        if (settings->roof_path)
            printf(", \"roof_share\": %.4f, \"roof_bound\": \"%s\"", share, bound);
        printf("}");
    }
    fflush(stdout);
}

static struct trial trial_of(const struct settings *settings, struct vk *vk,
                             const struct dtype *type, const struct result *result)
{
    return (struct trial){
        .log = &talk, .vk = vk, .type = type, .shape = result->shape, .rows = settings->rows};
}

static enum hth_status measure_format(const struct settings *settings, struct trial *base,
                                      struct trial *own, struct result *result)
{
    enum hth_status status = HTH_OK;
    bool is_base = base && own->type == base->type;
    if (!is_base)
        status = trial_open(own);
    if (status == HTH_OK)
        status = trial_measure(is_base ? NULL : base, is_base ? base : own, &settings->effort,
                               &result->times);
    if (!base)
        result->times.ratio = NAN;
    result->row = trial_row(is_base ? base : own);
    trial_close(own);
    return status;
}

/* All formats in one shape and number of columns; those that no kernel takes are passed over. */
static enum hth_status measure_case(const struct settings *settings, struct vk *vk,
                                    struct result *result)
{
    struct trial base = trial_of(settings, vk, settings->base, result);
    bool with_base = trial_row(&base) != NULL;
    enum hth_status status = with_base ? trial_open(&base) : HTH_OK;
    for (int f = 0; status == HTH_OK && f < settings->n_formats; f++) {
        result->type = settings->formats[f];
        struct trial own = trial_of(settings, vk, result->type, result);
        if (!trial_row(&own))
            continue;
        status = measure_format(settings, with_base ? &base : NULL, &own, result);
        if (status)
            break;
        print_result(settings, result);
        result->first = false;
    }
    trial_close(&base);
    return status;
}

static enum hth_status measure_all(const struct settings *settings, struct vk *vk)
{
    const struct vk_caps *caps = vk_get_caps(vk);
    struct result result = {.first = true};
    if (settings->roof_path)
        roof_check_device(&settings->roof, caps->name, &talk);
    enum hth_status status = HTH_OK;
    if (settings->json) {
        printf("{\"device\": ");
        put_json_text(caps->name);
        printf(", \"driver\": ");
        put_json_text(caps->driver);
        printf(", \"base\": \"%s\", \"cases\": [", settings->base->name);
    } else {
        printf("%s, %s\n", caps->name, caps->driver);
        printf("%-8s %-14s %6s   %-6s %7s %12s %10s %8s %9s %8s\n", "format", "row", "n", "k",
               "columns", "time us", "Gweights/s", "GB/s", "GFLOP/s", "ratio");
    }
    for (int s = 0; status == HTH_OK && s < settings->n_shapes; s++)
        for (int c = 0; status == HTH_OK && c < settings->n_columns; c++) {
            result.shape = settings->shapes[s];
            result.shape.columns = settings->columns[c];
            status = measure_case(settings, vk, &result);
        }
    if (settings->json)
        printf("\n]}\n");
    if (status == HTH_OK && result.first)
        status = log_fail(&talk, HTH_ERROR_UNSUPPORTED,
                          "nothing to measure: no kernel of this device takes these formats in "
                          "these shapes");
    return status;
}

/* --- the command line ---------------------------------------------------------------------------
 */

static void usage(FILE *out)
{
    fprintf(out,
            "usage: opbench [--device D] [--formats Q4_1,…] [--shapes NxK,…] [--columns N,…]\n"
            "               [--base FORMAT] [--rows ROW] [--float] [--rounds N] [--seconds S]\n"
            "               [--roof FILE] [--json]\n\n"
            "Times matrices of n rows of k weights with one or more columns on a Vulkan device:\n"
            "weights/s and GB/s of weights, and weights/s over those of the base format, measured "
            "in turn.\n\n"
            "  --device D     vulkan, vulkan:N or vulkan:NAME (hearth devices) [vulkan]\n"
            "  --formats F,…  block formats, F16 … [every block format that has kernels]\n"
            "  --shapes NxK,… [4096x4096,576x1536]\n"
            "  --columns N,…  [1,64,512]\n"
            "  --base FORMAT  [Q4_1]\n"
            "  --rows ROW     only kernels of this name, or that begin with it\n"
            "  --float        no integer activations, no fp16 arithmetic\n"
            "  --rounds N     at most so often [15]\n"
            "  --seconds S    and no new round after so long, from the third on [3]\n"
            "  --roof FILE    with the share of the device's limits, which roof --json printed\n"
            "  --json         one object instead of a table\n");
}

static bool parse_format(struct settings *settings, const char *item, size_t len)
{
    const struct dtype *type = dtype_by_name((struct str){item, len});
    if (!type || !type->decode || !type->shader)
        return false;
    settings->formats[settings->n_formats++] = type;
    return true;
}

/* A whole number of 1 … max at *text, which moves behind it; 0 if there is none. */
static int64_t parse_number(const char **text, int64_t max)
{
    int64_t value = 0;
    const char *at = *text;
    for (; isdigit((unsigned char)*at) && value <= max; at++)
        value = value * 10 + (*at - '0');
    *text = at;
    return value <= max ? value : 0;
}

static bool parse_shape(struct settings *settings, const char *item, size_t len)
{
    const char *at = item;
    struct trial_shape shape = {.n = parse_number(&at, MAX_SIDE)};
    if (*at++ != 'x')
        return false;
    shape.k = parse_number(&at, MAX_SIDE);
    settings->shapes[settings->n_shapes++] = shape;
    return shape.n && shape.k && at == item + len;
}

static bool parse_columns(struct settings *settings, const char *item, size_t len)
{
    const char *at = item;
    int64_t columns = parse_number(&at, MAX_COLUMNS);
    settings->columns[settings->n_columns++] = (int)columns;
    return columns && at == item + len;
}

typedef bool parse_item_fn(struct settings *settings, const char *item, size_t len);

static bool parse_list(struct settings *settings, const char *list, int *n, parse_item_fn *parse)
{
    for (*n = 0;; list++) {
        size_t len = strcspn(list, ",");
        if (*n == MAX_ITEMS || !parse(settings, list, len))
            return false;
        list += len;
        if (!*list)
            return true;
    }
}

static bool parse_option(struct settings *settings, const char *name, const char *value)
{
    char *end = NULL;
    if (strcmp(name, "--device") == 0)
        settings->device = value;
    else if (strcmp(name, "--rows") == 0)
        settings->rows.forced = value;
    else if (strcmp(name, "--roof") == 0)
        settings->roof_path = value;
    else if (strcmp(name, "--formats") == 0)
        return parse_list(settings, value, &settings->n_formats, parse_format);
    else if (strcmp(name, "--shapes") == 0)
        return parse_list(settings, value, &settings->n_shapes, parse_shape);
    else if (strcmp(name, "--columns") == 0)
        return parse_list(settings, value, &settings->n_columns, parse_columns);
    else if (strcmp(name, "--base") == 0)
        return (settings->base = dtype_by_name(str_of(value))) && settings->base->decode;
    else if (strcmp(name, "--rounds") == 0)
        settings->effort.rounds = (int)parse_number(&value, TRIAL_MAX_ROUNDS);
    else if (strcmp(name, "--seconds") == 0)
        return (settings->effort.seconds = strtod(value, &end)) >= 0 && end != value && !*end;
    else
        return false;
    return settings->effort.rounds > 0 && (strcmp(name, "--rounds") != 0 || !*value);
}

/* True to go on; else *code is what to exit with. */
static bool parse(struct settings *settings, int argc, char **argv, int *code)
{
    *code = EXIT_USAGE;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            settings->json = true;
        } else if (strcmp(argv[i], "--float") == 0) {
            settings->rows.float_only = true;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            usage(stdout);
            *code = 0;
            return false;
        } else if (i + 1 < argc && parse_option(settings, argv[i], argv[i + 1])) {
            i++;
        } else {
            fprintf(stderr, "opbench: %s%s%s is not understood (--help)\n", argv[i],
                    i + 1 < argc ? " " : "", i + 1 < argc ? argv[i + 1] : "");
            return false;
        }
    }
    return true;
}

static bool has_shaders(const struct dtype *type)
{
    for (uint32_t i = 0; type->shader && i < n_shader_blobs; i++)
        if (shader_blobs[i].format && strcmp(shader_blobs[i].format, type->shader) == 0)
            return true;
    return false;
}

static void set_defaults(struct settings *settings)
{
    bool all = settings->n_formats == 0;
    for (size_t i = 0; all && dtype_at(i) && settings->n_formats < MAX_ITEMS; i++)
        if (dtype_is_block(dtype_at(i)) && dtype_at(i)->decode && has_shaders(dtype_at(i)))
            settings->formats[settings->n_formats++] = dtype_at(i);
    if (settings->n_shapes == 0)
        (void)parse_list(settings, "4096x4096,576x1536", &settings->n_shapes, parse_shape);
    if (settings->n_columns == 0)
        (void)parse_list(settings, "1,64,512", &settings->n_columns, parse_columns);
}

int main(int argc, char **argv)
{
    struct settings settings = {.device = "vulkan", .effort = {15, 3}};
    settings.base = dtype_by_name(STR("Q4_1"));
    int code;
    os_program_start();
    if (!parse(&settings, argc, argv, &code))
        return code;
    set_defaults(&settings);
    struct vk *vk = NULL;
    struct hth_model_options options = {.device = settings.device};
    enum hth_status status =
        settings.roof_path ? roof_read(&settings.roof, settings.roof_path, &talk) : HTH_OK;
    if (status == HTH_OK)
        status = device_open(&vk, &options, false, &talk);
    if (status == HTH_OK && !vk)
        status = log_fail(&talk, HTH_ERROR_DEVICE, "no Vulkan device: --device %s is none",
                          settings.device);
    if (status == HTH_OK)
        status = measure_all(&settings, vk);
    vk_close(vk);
    return status ? EXIT_BAD : 0;
}
