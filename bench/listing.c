/*
 * listing.c — compiles what selection may pick for a product of each format, one pipeline after the
 * other, in both forms of memory.
 *
 * stdout: a JSON array of them with what the driver's statistics say. stderr: a line "== N" before
 * the Nth is compiled, so that what a driver tells there of its instructions (INTEL_DEBUG=cs,
 * ACO_DEBUG=perfinfo, NAK_DEBUG=print) is told apart. bench/instructions reads both.
 */
#include <stdio.h>
#include <string.h>

#include "base/os.h"
#include "engine/engine.h"
#include "gpu/row.h"
#include "json_text.h"

enum { FEW = 1, MANY = 512, SIDE = 4096 }; /* columns, and rows and their length */
enum { EXIT_BAD = 1, EXIT_USAGE = 2 };

struct lister {
    const char *device, *formats, *rows;
    struct vk *vk;
    int n; /* pipelines so far */
};

/* What is compiled, and what of it was printed. */
struct item {
    const struct row *row;
    const struct dtype *type;
    struct row_choice choice;
    bool addresses;
    int n_stats;
};

static void write_log(void *user, enum hth_log_level level, const char *line)
{
    (void)user, (void)level;
    fprintf(stderr, "listing: %s\n", line);
}

static const struct log talk = {.write = write_log, .max_level = HTH_LOG_WARNING};

/* Is a word in a list with commas between, whole or (`start`) by its start? NULL lists all. */
static bool is_listed(const char *list, const char *word, bool start)
{
    while (list) {
        size_t n = strcspn(list, ",");
        if (strncmp(list, word, n) == 0 && (start || word[n] == '\0'))
            return true;
        list = list[n] ? list + n + 1 : NULL;
        if (!list)
            return false;
    }
    return true;
}

/* --- one pipeline ----------------------------------------------------------------------------- */

static void print_stat(void *user, int executable, const char *executable_name,
                       uint32_t subgroup_size, const char *stat, double value)
{
    (void)executable_name;
    struct item *item = user;
    if (executable > 0)
        return;
    if (item->n_stats++ == 0)
        printf(", \"subgroup_size\": %u, \"stats\": {", subgroup_size);
    else
        printf(", ");
    put_json_text(stat);
    printf(": %.15g", value);
}

static void print_item(const struct item *item)
{
    const struct shader_blob *blob = item->choice.blob;
    printf("{\"row\": \"%s\", \"format\": \"%s\", \"addresses\": %s, \"blob\": \"%s\", "
           "\"subgroup_demanded\": %u, \"specialization\": {",
           item->row->name, item->type->name, item->addresses ? "true" : "false", blob->name,
           item->choice.subgroup_size);
    const char *between = "";
    for (uint32_t i = 0; i < blob->n_specs && i < VK_MAX_SPECS; i++) {
        if (strcmp(blob->specs[i].name, "max_chunks") == 0)
            continue;
        printf("%s\"%s\": %u", between, blob->specs[i].name, item->choice.spec[i]);
        between = ", ";
    }
    printf("}");
}

static enum hth_status list_item(struct lister *l, struct item *item)
{
    printf("%s", l->n ? ",\n" : "[\n");
    print_item(item);
    fprintf(stderr, "== %d\n", l->n++);
    struct vk_pipeline_key key = {.blob = item->choice.blob,
                                  .subgroup_size = item->choice.subgroup_size};
    memcpy(key.spec, item->choice.spec, sizeof key.spec);
    struct vk_pipeline *pipeline;
    enum hth_status status = vk_pipeline_get(l->vk, &key, &pipeline);
    if (status == HTH_OK)
        status = vk_pipeline_stats(l->vk, pipeline, print_stat, item);
    printf("%s}", item->n_stats ? "}" : "");
    return status == HTH_ERROR_DEVICE ? HTH_OK : status; /* the compiler failed: it has no stats */
}

/* --- all of them ------------------------------------------------------------------------------ */

/* Would selection take it, if the rows before it were barred? */
static bool may_be_chosen(const struct row_env *env, const struct row *row, const struct op *op,
                          struct row_choice *choice)
{
    return row_fits(env, row, op, choice) && (!row->prefers || row->prefers(env, op));
}

static enum hth_status make_op(struct graph *graph, const struct weight *w, int columns)
{
    graph_init(graph, columns, 1, &talk);
    const int64_t ne[OP_MAX_DIMS] = {w->ne[0], columns, 1, 1};
    struct tensor *x = graph_activation(graph, "x", &dtype_f32, ne, ROWS_TOKENS);
    op_matmul(graph, "y", graph_weight(graph, w), x, NULL);
    return graph->status;
}

/* Rows that take many columns are shaped for them, the others for one. */
static enum hth_status list_rows(struct lister *l, const struct dtype *type, bool addresses,
                                 const struct op *few, const struct op *many)
{
    const struct row_env env = {.caps = vk_get_caps(l->vk), .n_seqs = 1, .addresses = addresses};
    const struct row_family *family;
    enum hth_status status = HTH_OK;
    for (size_t i = 0; status == HTH_OK && row_at(i, &family); i++) {
        struct item item = {.row = row_at(i, NULL), .type = type, .addresses = addresses};
        bool is_product = false;
        for (int k = 0; k < family->n_kinds; k++)
            is_product |= family->kinds[k] == OP_MATMUL;
        if (is_product && is_listed(l->rows, item.row->name, true) &&
            (may_be_chosen(&env, item.row, many, &item.choice) ||
             may_be_chosen(&env, item.row, few, &item.choice)))
            status = list_item(l, &item);
    }
    return status;
}

static enum hth_status list_format(struct lister *l, const struct dtype *type)
{
    const struct weight w = {
        .name = "w",
        .dtype = type,
        .ne = {SIDE, SIDE, 1, 1},
        .size_bytes = dtype_row_bytes(type, SIDE) * SIDE,
    };
    struct graph few, many;
    enum hth_status status = make_op(&few, &w, FEW);
    enum hth_status other = make_op(&many, &w, MANY);
    status = status ? status : other;
    for (int form = 0; status == HTH_OK && form < 2; form++)
        if (form == 0 || vk_get_caps(l->vk)->addresses)
            status = list_rows(l, type, form == 1, few.ops[0], many.ops[0]);
    graph_free(&few);
    graph_free(&many);
    return status;
}

static enum hth_status list_all(struct lister *l)
{
    enum hth_status status = HTH_OK;
    for (size_t i = 0; status == HTH_OK && dtype_at(i); i++) {
        const struct dtype *type = dtype_at(i);
        if (type->shader && type->decode && is_listed(l->formats, type->name, false))
            status = list_format(l, type);
    }
    printf("%s\n]\n", l->n ? "" : "[");
    return status;
}

static bool parse(struct lister *l, int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--device") == 0)
            l->device = argv[i + 1];
        else if (strcmp(argv[i], "--formats") == 0)
            l->formats = argv[i + 1];
        else if (strcmp(argv[i], "--rows") == 0)
            l->rows = argv[i + 1];
        else
            return false;
    }
    return argc % 2 == 1;
}

int main(int argc, char **argv)
{
    struct lister l = {.device = "vulkan:0"};
    os_program_start();
    if (!parse(&l, argc, argv)) {
        fprintf(
            stderr,
            "usage: listing [--device vulkan:N] [--formats Q4_K,…] [--rows matvec,…]\n\n"
            "Compiles, one after the other, the kernels that may be chosen for a product of each "
            "format\n"
            "by one and by %d columns: storage buffers, then addresses. JSON; on stderr \"== N\" "
            "before each.\n"
            "  --rows ROW,…  only rows whose names begin so\n",
            MANY);
        return EXIT_USAGE;
    }
    struct hth_model_options options = {.device = l.device};
    enum hth_status status = device_open(&l.vk, &options, true, &talk);
    if (status == HTH_OK && !l.vk)
        status =
            log_fail(&talk, HTH_ERROR_DEVICE, "no Vulkan device: --device %s is none", l.device);
    if (status == HTH_OK)
        status = list_all(&l);
    vk_close(l.vk);
    return status ? EXIT_BAD : 0;
}
