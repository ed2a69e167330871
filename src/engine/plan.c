#include "engine/plan_part.h"

#include "base/mem.h"
#include "cpu/interleave.h"
#include "model/synth.h"

/* --- sizes ------------------------------------------------------------------------------------ */

/* "SHAPE:QUANT" as a directory without a byte of weights. */
static enum hth_status open_made(struct plan_report *report, const char *spec)
{
    const char *colon = strchr(spec, ':');
    if (!colon)
        return log_fail(&report->log, HTH_ERROR_ARGUMENT,
                        "synth:%s: write synth:SHAPE:QUANT, such as synth:llama-1b:q4_k_m", spec);
    struct strbuf shape = {0};
    struct synth *synth = NULL;
    strbuf_append(&shape, (struct str){spec, (size_t)(colon - spec)});
    struct synth_params params = {
        .shape = shape.ptr ? shape.ptr : "", .quant = colon + 1, .no_vocabulary = true};
    enum hth_status status = shape.failed
                                 ? log_fail_memory(&report->log, "the name of a shape", shape.len)
                                 : synth_create(&synth, &params, &report->log);
    if (status == HTH_OK)
        status = gguf_writer_save_directory(synth_writer(synth), &report->directory);
    synth_destroy(synth);
    strbuf_free(&shape);
    return status ? status
                  : gguf_open_directory(&report->gguf, strbuf_str(&report->directory), "synth",
                                        &report->log);
}

enum hth_status plan_cut_model(struct units *units, const struct model *model,
                               const struct hth_session_options *session, const struct log *log)
{
    const struct hparams *hp = &model->hp;
    struct kv_geom *kv = mem_calloc((size_t)hp->n_layer, sizeof *kv);
    if (!kv)
        return log_fail_memory(log, "the cache's shape", (size_t)hp->n_layer);
    model_kv_geometry(model, session_kv_type(session), kv);
    uint64_t page = kv_layout(kv, hp->n_layer, log);
    enum hth_status status =
        page ? units_create(units, model, session->n_ctx, session->n_seqs, kv, page)
             : HTH_ERROR_LIMIT;
    mem_free(kv);
    if (status == HTH_OK && hp->n_expert > COST_MAX_EXPERTS)
        status = log_fail(log, HTH_ERROR_LIMIT, "%d experts are more than the %d of a plan",
                          hp->n_expert, COST_MAX_EXPERTS);
    return status;
}

/* --- the report ------------------------------------------------------------------------------- */

static enum hth_status bind(struct plan_report *report, const struct plan_request *request,
                            const struct hth_session_options *session)
{
    enum hth_status status =
        hand_read(&report->hand, report->model, &report->machine, &request->device, &report->log);
    if (status)
        return status;
    uint64_t working = plan_working_bytes(&report->units, session->n_batch);
    if (request->profile) /* of a machine for which streaming is planned, too */
        working += cost_staging_bytes(&report->units);
    hand_bind(&report->hand, report->model, &report->machine, &report->units, working);
    hand_say_left_out(&report->hand, &report->machine, &report->log);
    return HTH_OK;
}

/* What the CPU interleaves when it first needs it, as keeping.c does; what is read from the file
 * for every token stays as it is there. */
static void say_layouts(struct plan_report *report, const struct hth_model_options *device)
{
    enum { ROWS_TOGETHER = 16 };
    struct plan *plan = &report->plan;
    if (device->no_repack || plan->file_part > 0)
        return;
    for (size_t i = 0; i < report->model->n_weights; i++) {
        const struct weight *weight = report->model->weights[i];
        int unit = report->units.unit_of_weight[weight->index];
        bool takes = weight->ne[1] % ROWS_TOGETHER == 0 &&
                     interleave_rows(weight->dtype, weight->ne[0], 0, NULL, NULL);
        if (unit >= 0 && takes)
            plan->items[unit].layout = LAYOUT_CPU;
    }
}

/* Where nobody has said how many tokens are computed at once. */
static enum hth_status choose_batch(const struct plan_report *report, struct plan_options *options,
                                    struct hth_session_options session)
{
    if (options->n_batch)
        return HTH_OK;
    enum hth_status status =
        placing_fit_batch(&session, &report->machine, &report->units, options, &report->log);
    options->n_batch = session.n_batch;
    return status;
}

/* A profile's plan counts with what hearth will do one day: what it does so far, beside it. */
static enum hth_status judge_so_far(struct plan_report *report, struct plan_options options,
                                    struct hth_session_options session)
{
    struct plan plan;
    options.as_run = true;
    options.more = false;
    enum hth_status status = choose_batch(report, &options, session);
    if (status == HTH_OK)
        status = plan_create(&plan, &report->machine, &report->units, &options, &report->log);
    if (status)
        return status;
    report->plan.so_far = (struct plan_so_far){plan.prompt_tokens_per_s, plan.answer_tokens_per_s};
    plan_free(&plan);
    return HTH_OK;
}

static enum hth_status make(struct plan_report *report, const struct plan_request *request)
{
    static const int lengths[][2] = {
        [PLAN_CHAT] = {1000, 300}, [PLAN_LONG_PROMPT] = {8000, 300}, [PLAN_BATCH] = {2000, 20}};
    bool made = strncmp(request->model, "synth:", 6) == 0;
    enum hth_status status = made ? open_made(report, request->model + 6)
                                  : gguf_open(&report->gguf, request->model, &report->log);
    if (status == HTH_OK)
        status = model_load(&report->model, report->gguf, &report->log);
    if (status == HTH_OK)
        status = plan_read_machine(&report->machine, request, &report->log);
    struct hth_session_options session = request->device.session;
    if (status == HTH_OK) {
        session_fill(&session, &report->model->hp);
        status = plan_cut_model(&report->units, report->model, &session, &report->log);
    }
    if (status == HTH_OK)
        status = bind(report, request, &session);
    struct plan_options options = {.n_in = lengths[request->turn][0],
                                   .n_out = lengths[request->turn][1],
                                   .n_batch = request->device.session.n_batch,
                                   .skew = request->expert_skew,
                                   .as_run = !request->profile};
    if (status == HTH_OK && options.as_run)
        status = choose_batch(report, &options, session);
    options.more = true;
    if (status == HTH_OK)
        status =
            plan_create(&report->plan, &report->machine, &report->units, &options, &report->log);
    if (status == HTH_OK && !options.as_run)
        status = judge_so_far(report, options, session);
    if (status == HTH_OK)
        say_layouts(report, &request->device);
    int trained = status == HTH_OK ? report->units.n_ctx_train : 0;
    if (trained > 0 && report->units.n_ctx > trained)
        log_warning(&report->log, "the model was trained on %d positions, and --ctx asks for %d",
                    trained, report->units.n_ctx);
    return status;
}

enum hth_status plan_report_open(struct plan_report **out, const struct plan_request *request)
{
    const struct hth_model_options *device = &request->device;
    struct log log = {device->log, device->log_user, device->log_level};
    struct plan_report *report = mem_calloc(1, sizeof *report);
    *out = NULL;
    if (!report)
        return log_fail_memory(&log, "a plan", sizeof *report);
    report->log = log;
    enum hth_status status = make(report, request);
    if (status != HTH_OK) {
        plan_report_close(report);
        return status;
    }
    *out = report;
    return HTH_OK;
}

void plan_report_close(struct plan_report *report)
{
    if (!report)
        return;
    plan_free(&report->plan);
    hand_free(&report->hand);
    units_free(&report->units);
    model_free(report->model);
    gguf_close(report->gguf);
    strbuf_free(&report->directory);
    mem_free(report);
}

enum hth_status plan_report_write(const struct plan_report *report, enum plan_form form,
                                  struct strbuf *out)
{
    if (form == PLAN_JSON)
        return plan_write_json(&report->plan, out, &report->log);
    (form == PLAN_SVG ? plan_draw : plan_print)(&report->plan, out);
    return out->failed ? log_fail_memory(&report->log, "the report of a plan", out->len) : HTH_OK;
}
