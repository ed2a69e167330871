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

/* Texts that are needed later. */
static enum hth_status keep_options(struct hth_model *model)
{
    const struct hth_model_options *opt = &model->opt;
    model->rows = opt->rows ? mem_strdup(opt->rows) : NULL;
    model->device_name = opt->device ? mem_strdup(opt->device) : NULL;
    if ((opt->rows && !model->rows) || (opt->device && !model->device_name))
        return log_fail_memory(&model->log, "the options", 0);
    model->opt.rows = model->rows;
    model->opt.device = model->device_name;
    return HTH_OK;
}

/* What the caller need not keep for as long as the model is open: a model that moves asks for none
 * of it again. */
static void forget_callers(struct hth_model *model)
{
    model->opt.progress = NULL;
    model->opt.places = NULL;
    model->opt.n_places = 0;
    model->opt.place = NULL;
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
    os_mutex_init(&model->told.mutex);
    model->opt = *options;
    model->log = log;
    enum hth_status status = keep_options(model);
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
        status = keeping_open(model);
    if (status == HTH_OK)
        status = model_tell(model);
    if (status) {
        hth_model_close(model);
        return status;
    }
    forget_callers(model);
    *out = model;
    return HTH_OK;
}

void hth_model_close(struct hth_model *model)
{
    if (!model)
        return;
    keeping_close(model);
    tuned_file_free(&model->tuned_file);
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
    mem_free(model->device_name);
    mem_free(model->name);
    arena_free(&model->told.sentences);
    os_mutex_destroy(&model->told.mutex);
    os_mutex_destroy(&model->device);
    mem_free(model);
}

struct names {
    const char *device, *driver;
};

/* What is to be said of one GPU. */
static void describe_device(const struct model_device *device, struct hth_model_info *info)
{
    info->on_gpu = true;
    info->software |= vk_get_caps(device->vk)->kind == VK_KIND_SOFTWARE;
    info->kernels_checked += device->proof.n_checked;
    info->kernels_checked_s += device->proof.seconds;
    info->kernels_wrong += (int)device->proof.bars.n;
    info->kernels_left |= device->proof.unfinished;
    info->weight_bytes_resident += device->place.resident_bytes;
}

static struct hth_model_info describe(const struct hth_model *model, const struct names *names)
{
    struct hth_model_info info = {.architecture = "", .name = "", .device = "CPU", .driver = ""};
    for (int d = 1; d < model->n_devices; d++)
        if (model->placing.split.used[d])
            describe_device(&model->devices[d], &info);
    if (info.on_gpu) {
        info.device = names->device;
        info.driver = names->driver;
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

/* Of the GPUs that have a part; NULL in `out`: no memory. */
static void name_devices(struct hth_model *model, struct names *out)
{
    struct arena *arena = &model->told.sentences;
    *out = (struct names){"", ""};
    for (int d = 1; d < model->n_devices && out->device && out->driver; d++) {
        const struct vk_caps *caps = vk_get_caps(model->devices[d].vk);
        const char *and = out->device[0] ? " and " : "";
        if (!model->placing.split.used[d])
            continue;
        out->device = arena_printf(arena, "%s%s%s", out->device, and, caps->name);
        if (strcmp(out->driver, caps->driver) != 0)
            out->driver = arena_printf(arena, "%s%s%s", out->driver, and, caps->driver);
    }
}

enum hth_status model_tell(struct hth_model *model)
{
    struct told *told = &model->told;
    struct names names;
    const char *sentence = arena_strdup(&told->sentences, model->placing.sentence);
    name_devices(model, &names);
    if (!sentence || !names.device || !names.driver)
        return log_fail_memory(&model->log, "the plan's sentence", sizeof model->placing.sentence);
    os_mutex_lock(&told->mutex);
    told->info = describe(model, &names);
    if (model->model) {
        told->plan = placing_info(&model->placing);
        told->plan.sentence = sentence;
    }
    os_mutex_unlock(&told->mutex);
    return HTH_OK;
}

struct hth_model_info hth_model_get_info(const struct hth_model *model)
{
    struct told *told = (struct told *)(uintptr_t)&model->told;
    os_mutex_lock(&told->mutex);
    struct hth_model_info info = told->info;
    os_mutex_unlock(&told->mutex);
    return info;
}

struct hth_plan_info hth_model_get_plan(const struct hth_model *model)
{
    struct told *told = (struct told *)(uintptr_t)&model->told;
    os_mutex_lock(&told->mutex);
    struct hth_plan_info plan = told->plan;
    os_mutex_unlock(&told->mutex);
    return plan;
}
