/*
 * roof.c — what a Vulkan device can do: the limits that every other figure is a share of.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_text.h"
#include "base/os.h"
#include "engine/engine.h"
#include "limits.h"

enum { EXIT_BAD = 1, EXIT_USAGE = 2 };

static void write_log(void *user, enum hth_log_level level, const char *line)
{
    (void)user, (void)level;
    fprintf(stderr, "roof: %s\n", line);
}

static const struct log talk = {.write = write_log, .max_level = HTH_LOG_WARNING};

static void usage(FILE *out)
{
    fprintf(
        out,
        "usage: roof [--device D] [--seconds S] [--json]\n\n"
        "Measures what a Vulkan device can do: reading memory, copies, arithmetic, and what\n"
        "a dispatch costs. hearth bench and opbench take its --json as --roof FILE.\n\n"
        "  --device D  vulkan, vulkan:N or vulkan:NAME (hearth devices) [vulkan]\n"
        "  --seconds S begin nothing new after so many; what was not measured says so [no end]\n"
        "  --json      one object instead of text\n");
}

/* --- text ------------------------------------------------------------------------------------- */

static void print_limit(const char *what, const char *name, const struct limit *limit,
                        const char *unit, double scale)
{
    printf("%-8s %-32s", what, name);
    if (!(limit->per_s > 0)) {
        printf(" not measured: %s\n", limit->why);
        return;
    }
    printf(" %10.3f %s   (%.3g %s in a run", limit->per_s / scale, unit, limit->work / scale,
           unit[0] == 'G' ? "GB" : "Tflop");
    if (limit->chains)
        printf(", %u chains", limit->chains);
    if (limit->lanes)
        printf(", subgroups of %u", limit->lanes);
    printf(")%s%s\n", limit->why[0] ? " " : "", limit->why);
}

static void shape_name(const struct vk_matrix *m, char *out, size_t size)
{
    snprintf(out, size, "%ux%ux%u %s,%s,%s>%s%s", m->m, m->n, m->k, m->a, m->b, m->c, m->result,
             m->saturates ? " saturating" : "");
}

static void print_text(const struct vk_caps *caps, const struct limits *l)
{
    printf("%s, %s\n", caps->name, caps->driver);
    for (int i = 0; i < MEMORY_COUNT; i++)
        print_limit("read", limit_memory_name(i), &l->read[i], "GB/s", 1e9);
    for (int i = 0; i < COPY_COUNT; i++)
        print_limit("copy", limit_copy_name(i), &l->copy[i], "GB/s", 1e9);
    for (int i = 0; i < MATH_COUNT; i++)
        print_limit("math", limit_math_name(i), &l->math[i], "Tflop/s", 1e12);
    for (uint32_t i = 0; i < caps->n_matrices; i++) {
        char name[96];
        shape_name(&caps->matrices[i], name, sizeof name);
        print_limit("matrix", name, &l->matrix[i], "Tflop/s", 1e12);
    }
    if (!caps->n_matrices)
        printf("matrix   no cooperative matrices\n");
    for (int i = 0; i < LATENCY_COUNT; i++) {
        printf("latency  %-32s", limit_latency_name(i));
        if (l->latency_s[i] >= 0)
            printf(" %10.3f us\n", l->latency_s[i] * 1e6);
        else
            printf(" not measured\n");
    }
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void put_figure(const struct limit *limit, const char *unit)
{
    if (limit->per_s > 0)
        printf(", \"%s\": %.6g, \"work\": %.6g, \"chains\": %u, \"subgroup\": %u", unit,
               limit->per_s, limit->work, limit->chains, limit->lanes);
    else
        printf(", \"%s\": null", unit);
    if (limit->why[0]) {
        printf(", \"why\": ");
        put_json_text(limit->why);
    }
    printf("}");
}

static void put_limit(const char *before, const char *key, const char *name,
                      const struct limit *limit, const char *unit)
{
    printf("%s\n  {\"%s\": ", before, key);
    put_json_text(name);
    put_figure(limit, unit);
}

static void put_matrix(const char *before, const struct vk_matrix *shape, const struct limit *limit)
{
    char name[96];
    shape_name(shape, name, sizeof name);
    printf("%s\n  {\"shape\": \"%s\", \"input\": \"%s\", \"sum\": \"%s\"", before, name,
           strcmp(shape->a, shape->b) == 0 ? shape->a : "?", shape->result);
    put_figure(limit, "flop_per_s");
}

/* The keys are those that src/engine/roof.c reads. */
static void print_json(const struct vk_caps *caps, const struct limits *l)
{
    printf("{\"device\": ");
    put_json_text(caps->name);
    printf(", \"driver\": ");
    put_json_text(caps->driver);
    printf(", \"read\": [");
    for (int i = 0; i < MEMORY_COUNT; i++)
        put_limit(i ? "," : "", "memory", limit_memory_name(i), &l->read[i], "bytes_per_s");
    printf("\n], \"copy\": [");
    for (int i = 0; i < COPY_COUNT; i++)
        put_limit(i ? "," : "", "copy", limit_copy_name(i), &l->copy[i], "bytes_per_s");
    printf("\n], \"math\": [");
    for (int i = 0; i < MATH_COUNT; i++)
        put_limit(i ? "," : "", "math", limit_math_name(i), &l->math[i], "flop_per_s");
    printf("\n], \"matrix\": [");
    for (uint32_t i = 0; i < caps->n_matrices; i++)
        put_matrix(i ? "," : "", &caps->matrices[i], &l->matrix[i]);
    printf("\n], \"latency_s\": {");
    for (int i = 0; i < LATENCY_COUNT; i++) {
        printf("%s\"%s\": ", i ? ", " : "", limit_latency_name(i));
        if (l->latency_s[i] >= 0)
            printf("%.6g", l->latency_s[i]);
        else
            printf("null");
    }
    printf("}}\n");
}

/* --- the command line ------------------------------------------------------------------------- */

struct settings {
    const char *device;
    double seconds;
    bool json;
};

/* True to go on; else *code is what to exit with. */
static bool parse(struct settings *settings, int argc, char **argv, int *code)
{
    *code = EXIT_USAGE;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            settings->json = true;
        } else if (strcmp(argv[i], "--device") == 0 && i + 1 < argc) {
            settings->device = argv[++i];
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc && atof(argv[i + 1]) > 0) {
            settings->seconds = atof(argv[++i]);
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            usage(stdout);
            *code = 0;
            return false;
        } else {
            fprintf(stderr, "roof: %s is not understood (--help)\n", argv[i]);
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct settings settings = {.device = "vulkan"};
    int code;
    os_program_start();
    if (!parse(&settings, argc, argv, &code))
        return code;
    struct vk *vk = NULL;
    struct limits limits;
    struct hth_model_options options = {.device = settings.device};
    enum hth_status status = device_open(&vk, &options, false, &talk);
    if (status == HTH_OK && !vk)
        status = log_fail(&talk, HTH_ERROR_DEVICE, "no Vulkan device: --device %s is none",
                          settings.device);
    if (status == HTH_OK) {
        status = limits_measure(&limits, vk, settings.seconds, &talk);
        if (settings.json)
            print_json(vk_get_caps(vk), &limits);
        else
            print_text(vk_get_caps(vk), &limits);
        if (status)
            fprintf(stderr, "roof: not all was measured: %s\n", hth_status_name(status));
    }
    vk_close(vk);
    return status ? EXIT_BAD : 0;
}
