#include "engine/selftest.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "engine/engine.h"
#include "engine/kept.h"
#include "engine/rows_part.h"

struct tester {
    const struct rows_options *options;
    const struct selftest_reader *reader;
    struct log log; /* keeps errors in `heard` */
    const struct log *own;
    struct selftest test;
    struct row_env env;
    json_t *seen; /* names of what was tested */
    char heard[512];
};

/* The reason of a row that fails; what ends the test is said at its end. */
static void hear(void *user, enum hth_log_level level, const char *line)
{
    struct tester *t = user;
    if (level == HTH_LOG_ERROR)
        snprintf(t->heard, sizeof t->heard, "%s", line);
    else
        log_line(t->own, level, "%s", line);
}

static bool hand_on(struct tester *t, const struct row_pick *pick, const char *name,
                    const struct selftest_result *result)
{
    const char *what = strstr(name, ": ");
    char numbers[128];
    selftest_explain(result, numbers, sizeof numbers);
    struct selftest_item item = {
        .row = pick->row->name,
        .blob = pick->choice.blob->name,
        .what = what ? what + 2 : name,
        .outcome = result->verdict == SELFTEST_RIGHT   ? OUTCOME_RIGHT
                   : result->verdict == SELFTEST_WRONG ? OUTCOME_WRONG
                                                       : OUTCOME_FAILED,
        .nmse = result->nmse,
        .tolerance = result->tolerance,
        .time_ns = result->run_ns,
        .why = result->verdict == SELFTEST_FAILED ? t->heard
               : result->worst > 0                ? numbers
                                                  : "",
    };
    return t->reader->item(t->reader->user, &item);
}

/* Anew where it was lost, so that the other rows are tested all the same. */
static enum hth_status open_device(struct tester *t)
{
    vk_close(t->test.vk);
    t->test.vk = NULL;
    enum hth_status status = device_open(&t->test.vk, &t->options->device, false, &t->log);
    t->env.caps = t->test.vk ? vk_get_caps(t->test.vk) : NULL;
    return status || t->test.vk ? status
                                : log_fail(&t->log, HTH_ERROR_ARGUMENT,
                                           "there is no Vulkan GPU to test: hearth devices lists "
                                           "what there is, and a software device is tested by its "
                                           "number, --device vulkan:N");
}

static enum hth_status test_pick(struct tester *t, const struct op *op, const struct row_pick *pick,
                                 int n_tokens, const char *name)
{
    struct selftest_result result;
    if (json_object_get(t->seen, name))
        return HTH_OK;
    if (json_object_set_new(t->seen, name, json_true()))
        return log_fail_memory(&t->log, "the list of what was tested", 0);
    t->heard[0] = '\0';
    enum hth_status status = selftest_run(&t->test, op, pick, n_tokens, &result);
    bool is_lost = status == HTH_ERROR_DEVICE_LOST;
    if (is_lost)
        result.verdict = SELFTEST_FAILED;
    if (status && !is_lost)
        return status;
    bool on = hand_on(t, pick, name, &result);
    status = is_lost ? open_device(t) : HTH_OK;
    return status == HTH_OK && !on ? HTH_ERROR_CANCELLED : status;
}

static bool is_asked_for(const struct tester *t, const struct row *row)
{
    const char *name = t->options->device.rows;
    size_t n = name ? strlen(name) : 0;
    return !name || (strncmp(row->name, name, n) == 0 && (!row->name[n] || row->name[n] == '_'));
}

static bool has_kind(const struct row_family *family, enum op_kind kind)
{
    for (int k = 0; k < family->n_kinds; k++)
        if (family->kinds[k] == kind)
            return true;
    return false;
}

/* Every row that fits, whether it would be chosen or not. */
static enum hth_status test_op(struct tester *t, const struct op *op, int n_tokens)
{
    enum hth_status status = HTH_OK;
    const struct row_family *family;
    struct row_pick pick;
    for (size_t i = 0; status == HTH_OK && (pick.row = row_at(i, &family)); i++) {
        if (!has_kind(family, op->kind) || !is_asked_for(t, pick.row) ||
            !row_fits(&t->env, pick.row, op, &pick.choice))
            continue;
        struct strbuf name = {0};
        selftest_name(op, &pick, n_tokens, &name);
        status = name.failed ? log_fail_memory(&t->log, "a name", name.len)
                             : test_pick(t, op, &pick, n_tokens, name.ptr);
        strbuf_free(&name);
    }
    return status;
}

/* As the model builds it, and as it is fused. */
static enum hth_status test_graph(void *user, const struct model *model, struct graph *graph)
{
    (void)model;
    struct tester *t = user;
    enum hth_status status = HTH_OK;
    for (int fused = 0; fused < 2 && status == HTH_OK; fused++) {
        if (fused)
            status = compile_fuse(graph, &t->env);
        for (size_t i = 0; status == HTH_OK && i < graph->n_ops; i++)
            status = test_op(t, graph->ops[i], graph->n_tokens);
    }
    return status;
}

static void tell_device(const struct tester *t)
{
    const struct vk_caps *caps = t->env.caps;
    const struct selftest_device device = {.name = caps->name,
                                           .driver = caps->driver,
                                           .build = vk_build_id(),
                                           .vendor_id = caps->vendor_id,
                                           .device_id = caps->device_id,
                                           .driver_version = caps->driver_version,
                                           .api_version = caps->api_version,
                                           .subgroup_default = caps->subgroup_default,
                                           .subgroup_min = caps->subgroup_min,
                                           .subgroup_max = caps->subgroup_max};
    t->reader->device(t->reader->user, &device);
}

static enum hth_status walk(struct tester *t)
{
    enum { N_BATCH = 512 };
    int buckets[PROVE_MAX_BUCKETS], n_buckets = prove_buckets(N_BATCH, buckets);
    struct rows_walk rows = {.options = t->options,
                             .log = &t->log,
                             .gpu = true,
                             .buckets = buckets,
                             .n_buckets = (size_t)n_buckets,
                             .fn = test_graph,
                             .user = t};
    t->seen = json_object();
    if (!t->seen)
        return log_fail_memory(&t->log, "the list of what was tested", 0);
    tell_device(t);
    enum hth_status status = rows_walk(&rows);
    status = status ? status : rows.worst;
    if (status == HTH_OK && json_object_size(t->seen) == 0)
        status = log_fail(&t->log, HTH_ERROR_ARGUMENT,
                          "no kernel that %s can run has the name \"%s\" or begins with it and '_'",
                          t->env.caps->name, t->options->device.rows);
    json_decref(t->seen);
    return status;
}

enum hth_status selftest_list(const struct rows_options *options,
                              const struct selftest_reader *reader)
{
    const struct hth_model_options *device = &options->device;
    const struct log own = {device->log, device->log_user, device->log_level};
    struct tester t = {.options = options, .reader = reader, .own = &own};
    t.log = (struct log){hear, &t, device->log_level};
    t.test.log = &t.log;
    t.env = (struct row_env){.float_only = options->float_only, .n_seqs = 1};
    enum hth_status status = open_device(&t);
    if (status == HTH_OK)
        status = walk(&t);
    if (status && status != HTH_ERROR_CANCELLED && t.heard[0])
        log_line(&own, HTH_LOG_ERROR, "%s", t.heard);
    vk_close(t.test.vk);
    return status;
}
