#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/arch.h"
#include "model/synth.h"

const char *hth_version(void)
{
    return HEARTH_VERSION;
}

void hth_free(void *ptr)
{
    mem_free(ptr);
}

/* "synth:SHAPE:QUANT": the file is made in memory. */
static enum hth_status open_synth(struct hth_model *model, const char *spec)
{
    const char *colon = strchr(spec, ':');
    if (!colon)
        return log_fail(&model->log, HTH_ERROR_ARGUMENT,
                        "synth:%s: write synth:SHAPE:QUANT, such as synth:llama-1b:q4_k_m", spec);
    char shape[64];
    size_t n = (size_t)(colon - spec);
    if (n >= sizeof shape)
        return log_fail(&model->log, HTH_ERROR_ARGUMENT, "synth:%s: no such shape", spec);
    memcpy(shape, spec, n);
    shape[n] = '\0';
    struct synth_params params = {
        .shape = shape, .quant = colon + 1, .seed = 1, .pool = model->pool};
    struct synth *synth;
    enum hth_status status = synth_create(&synth, &params, &model->log);
    if (status)
        return status;
    status = gguf_writer_save_memory(synth_writer(synth), &model->synth);
    synth_destroy(synth);
    if (status)
        return status;
    return gguf_open_memory(&model->gguf, model->synth.ptr, model->synth.len, "synth", &model->log);
}

/* A token as templates see it; empty where the vocabulary has none. */
static enum hth_status token_text(const struct hth_model *model, int32_t id, struct str *out)
{
    struct strbuf text = {0};
    if (id >= 0)
        tokenizer_piece(model->tokenizer, id, true, false, &text);
    *out = strbuf_str(&text);
    if (!text.failed)
        return HTH_OK;
    strbuf_free(&text);
    *out = (struct str){0};
    return log_fail_memory(&model->log, "the text of a token", 0);
}

void kept_error_hear(void *user, enum hth_log_level level, const char *line)
{
    struct kept_error *kept = user;
    if (level == HTH_LOG_ERROR)
        snprintf(kept->line, sizeof kept->line, "%s", line);
    else
        log_pass_on(kept->log, level, line);
}

void kept_error_say(const struct kept_error *kept, enum hth_log_level level)
{
    if (kept->line[0])
        log_line(kept->log, level, "%s", kept->line);
}

static enum hth_status open_tokenizer(struct hth_model *model)
{
    struct kept_error kept = {.log = &model->log};
    const struct log keep = {kept_error_hear, &kept, HTH_LOG_DEBUG};
    bool needed = model->opt.vocabulary_only;
    enum hth_status status = tokenizer_create(&model->tokenizer, model->gguf, &keep);
    bool goes_on = status == HTH_ERROR_UNSUPPORTED && !needed;
    kept_error_say(&kept, goes_on ? HTH_LOG_WARNING : HTH_LOG_ERROR);
    if (status)
        return goes_on ? HTH_OK : status;
    status = token_text(model, tokenizer_bos(model->tokenizer), &model->bos_text);
    return status ? status : token_text(model, tokenizer_eos(model->tokenizer), &model->eos_text);
}

static enum hth_status open_text(struct hth_model *model)
{
    if (!gguf_key_find(model->gguf, "tokenizer.ggml.model")) {
        if (model->opt.vocabulary_only)
            return log_fail(&model->log, HTH_ERROR_FORMAT,
                            "%s: has no tokenizer (key tokenizer.ggml.model)",
                            gguf_path(model->gguf));
        return HTH_OK; /* such a model can be evaluated by token ids */
    }
    enum hth_status status = open_tokenizer(model);
    return status || !model->tokenizer ? status : chat_open_template(model);
}

static bool pass_progress(void *user, uint64_t done, uint64_t total)
{
    struct hth_model *model = user;
    return model->opt.progress(model->opt.progress_user, done, total);
}

static enum hth_status check_rows(const struct hth_model *model)
{
    struct strbuf close = {0};
    enum hth_status status = HTH_OK;
    if (model->rows && !row_name_exists(model->rows, &close))
        status = close.failed ? log_fail_memory(&model->log, "names of kernels", 0)
                              : log_fail(&model->log, HTH_ERROR_ARGUMENT,
                                         "no kernel has the name \"%s\" or begins with it and '_'; "
                                         "close are: %s (hearth rows lists those of a model)",
                                         model->rows, close.ptr ? close.ptr : "none");
    strbuf_free(&close);
    return status;
}

static bool is_wanted(void *user, const struct weight *weight, int64_t expert)
{
    const struct hth_model *model = user;
    return split_on_gpu(&model->placing.split, weight, expert);
}

/* The weights of the GPU's part, and all vectors. */
static enum hth_status place_part(struct hth_model *model)
{
    struct place_options options = {
        .progress = model->opt.progress ? pass_progress : NULL, .wanted = is_wanted, .user = model};
    return place_weights(&model->place, model->vk,
                         (const struct weight *const *)model->model->weights,
                         model->model->n_weights, &options, &model->log);
}

/* What the device says. */
static void hear_device(void *user, enum hth_log_level level, const char *line)
{
    struct hth_model *model = user;
    if (model->loading && level == HTH_LOG_ERROR)
        snprintf(model->kept, sizeof model->kept, "%s", line);
    else
        log_pass_on(&model->log, level, line);
}

/* Loads what was decided. *most is less afterwards if somebody took memory since then. */
static enum hth_status load_part(struct hth_model *model, uint64_t *most)
{
    model->loading = true;
    model->kept[0] = '\0';
    enum hth_status status = place_part(model);
    model->loading = false;
    if (status && model->place.no_room) {
        uint64_t had = model->place.resident_bytes + model->placing.need.fixed;
        *most = had < *most / 2 || *most > model->placing.budget ? had : *most / 2;
    } else if (status && model->kept[0]) {
        log_line(&model->log, HTH_LOG_ERROR, "%s", model->kept);
    }
    return status;
}

static void leave_device(struct hth_model *model)
{
    vk_close(model->vk);
    model->vk = NULL;
}

/* Decides, loads, and where memory was gone by then decides again by what there was. */
static enum hth_status place_model(struct hth_model *model)
{
    uint64_t most = UINT64_MAX;
    struct placing *placing = &model->placing;
    *placing = (struct placing){.model = model->model,
                                .opt = model->opt,
                                .pool = model->pool,
                                .rows = model->rows,
                                .bars = &model->proof.bars,
                                .session = model->opt.session};
    for (bool said = false;; said = true) {
        model->loading = true; /* measuring does without what it cannot have */
        enum hth_status status = placing_decide(placing, model->vk, most, &model->log);
        model->loading = false;
        if (status || !model->vk)
            return status;
        if (!placing->split.used[SPLIT_GPU]) {
            leave_device(model);
            return HTH_OK;
        }
        status = load_part(model, &most);
        if (status == HTH_OK || !model->place.no_room)
            return status;
        if (!said)
            log_warning(
                &model->log,
                "the GPU had less memory than the driver had granted: planned again with what "
                "is left (%s)",
                model->kept);
    }
}

/* Kernels that are new to this device are compared with the CPU. Where for an op none is right, the
 * CPU runs the model, unless the device was asked for: then compiling says what is missing. */
static enum hth_status prove_device(struct hth_model *model, const struct log *heard)
{
    const char *asked = model->opt.device;
    struct proof *proof = &model->proof;
    if (!model->vk || model->opt.self_test_s < 0 || model->rows)
        return HTH_OK;
    proof->heard = model->kept;
    proof->most_seconds = model->opt.self_test_s > 0 ? model->opt.self_test_s : PROVE_SECONDS;
    model->kept[0] = '\0';
    model->loading = true;
    enum hth_status status =
        prove_model(proof, model->vk, model->model, &model->opt.session, heard);
    model->loading = false;
    if (status && model->kept[0])
        log_line(&model->log, HTH_LOG_ERROR, "%s", model->kept);
    if (status == HTH_OK && proof->unfit[0] && (!asked || !*asked || strcmp(asked, "auto") == 0)) {
        log_warning(&model->log, "%s is not used: no kernel for %s is right on it",
                    vk_get_caps(model->vk)->name, proof->unfit);
        leave_device(model);
    }
    return status;
}

static enum hth_status open_device(struct hth_model *model)
{
    const struct log heard = {hear_device, model, model->log.max_level};
    enum hth_status status = device_open(&model->vk, &model->opt, false, &heard);
    if (status == HTH_OK)
        status = prove_device(model, &heard);
    return status ? status : place_model(model);
}

/* The CPU's matrices are copied as it likes them best, all or, where memory is short, none. */
static enum hth_status open_interleaved(struct hth_model *model)
{
    uint64_t bytes = 0, room = os_memory_available_bytes();
    for (size_t i = 0; i < model->model->n_weights; i++)
        bytes += split_host_bytes(&model->placing.split, model->model->weights[i]);
    if (model->opt.ram_bytes && model->opt.ram_bytes < room)
        room = model->opt.ram_bytes;
    if (model->opt.no_repack || bytes == 0 || bytes > room - room / 8)
        return HTH_OK;
    /* what is streamed is read there again with every prompt */
    bool stays = model->synth.ptr || model->placing.split.stream_from > 0;
    struct interleaved_options options = {.most_bytes = room - room / 8,
                                          .let_go = stays ? NULL : os_map_drop};
    return interleaved_create(&model->interleaved, model->model->n_weights, &options, &model->log);
}

static enum hth_status keep_name(struct hth_model *model)
{
    struct str name;
    if (!gguf_get_str(gguf_key_find(model->gguf, "general.name"), &name))
        return HTH_OK;
    struct strbuf copy = {0};
    strbuf_append(&copy, name);
    model->name = copy.ptr;
    return copy.failed ? log_fail_memory(&model->log, "the model's name", name.len) : HTH_OK;
}

enum hth_status hth_model_open(struct hth_model **out, const char *path,
                               const struct hth_model_options *options)
{
    *out = NULL;
    struct hth_model_options defaults = {0};
    options = options ? options : &defaults;
    struct log log = {options->log, options->log_user, options->log_level};
    struct hth_model *model = mem_calloc(1, sizeof *model);
    if (!model)
        return log_fail_memory(&log, "the model", sizeof *model);
    os_mutex_init(&model->device);
    model->opt = *options;
    model->log = log;
    model->rows = options->rows ? mem_strdup(options->rows) : NULL;
    enum hth_status status =
        options->rows && !model->rows ? log_fail_memory(&log, "the options", 0) : HTH_OK;
    if (status == HTH_OK)
        status = check_rows(model);
    if (status == HTH_OK && !options->vocabulary_only)
        status = pool_create(&model->pool, options->n_threads, &model->log);
    if (status == HTH_OK)
        status = strncmp(path, "synth:", 6) == 0 ? open_synth(model, path + 6)
                                                 : gguf_open(&model->gguf, path, &model->log);
    if (status == HTH_OK)
        status = keep_name(model);
    if (status == HTH_OK)
        status = open_text(model);
    if (status == HTH_OK && !options->vocabulary_only)
        status = advice_read(&model->advice, model->gguf, &model->log);
    if (status == HTH_OK && !options->vocabulary_only)
        status = model_load(&model->model, model->gguf, &model->log);
    if (status == HTH_OK && !options->vocabulary_only)
        status = open_device(model);
    if (status == HTH_OK && !options->vocabulary_only)
        status = open_interleaved(model);
    if (status) {
        hth_model_close(model);
        return status;
    }
    *out = model;
    return HTH_OK;
}

void hth_model_close(struct hth_model *model)
{
    if (!model)
        return;
    if (model->vk)
        place_free(&model->place);
    vk_close(model->vk);
    interleaved_destroy(model->interleaved);
    placing_free(&model->placing);
    proof_free(&model->proof);
    model_free(model->model);
    advice_free(&model->advice);
    template_free(model->template);
    tokenizer_destroy(model->tokenizer);
    mem_free((void *)(uintptr_t)model->bos_text.ptr);
    mem_free((void *)(uintptr_t)model->eos_text.ptr);
    gguf_close(model->gguf);
    strbuf_free(&model->synth);
    pool_destroy(model->pool);
    mem_free(model->rows);
    mem_free(model->name);
    os_mutex_destroy(&model->device);
    mem_free(model);
}

struct hth_model_info hth_model_get_info(const struct hth_model *model)
{
    struct hth_model_info info = {.architecture = "", .name = "", .device = "CPU", .driver = ""};
    if (model->vk) {
        const struct vk_caps *caps = vk_get_caps(model->vk);
        info.device = caps->name;
        info.driver = caps->driver;
        info.on_gpu = model->placing.split.used[SPLIT_GPU];
        info.software = caps->kind == VK_KIND_SOFTWARE;
        info.kernels_checked = model->proof.n_checked;
        info.kernels_checked_s = model->proof.seconds;
        info.kernels_wrong = (int)model->proof.bars.n;
        info.kernels_left = model->proof.unfinished;
        info.weight_bytes_resident = model->place.resident_bytes;
    }
    if (!model->model)
        return info;
    info.name = model->name ? model->name : "";
    const struct hparams *hp = &model->model->hp;
    info.architecture = model->model->arch->name;
    info.n_vocab = hp->n_vocab;
    info.n_embd = hp->n_embd;
    info.n_layer = hp->n_layer;
    info.n_ctx_train = hp->n_ctx_train;
    info.n_params = model_n_params(model->model);
    info.weight_bytes_file = model_weight_bytes(model->model);
    for (size_t i = 0; i < model->model->n_weights; i++)
        info.weight_bytes_resident +=
            split_host_bytes(&model->placing.split, model->model->weights[i]);
    return info;
}

struct hth_plan_info hth_model_get_plan(const struct hth_model *model)
{
    return model->model ? placing_info(&model->placing) : (struct hth_plan_info){0};
}
