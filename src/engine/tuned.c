#include "engine/tuned.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/os.h"
#include "engine/engine.h"
#include "engine/kept.h"
#include "engine/plan_part.h"

enum { TUNED_VERSION = 1, MOST_THREADS = 1024, MOST_BATCH = 65536 };

/* --- which file ------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, const void *bytes, size_t n) /* FNV-1a */
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Of what makes a model as fast as it is: the names, types and shapes of its weights. */
static uint64_t shape_hash(const struct model *model)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < model->n_weights; i++) {
        const struct weight *weight = model->weights[i];
        hash = mix(hash, weight->name, strlen(weight->name) + 1);
        hash = mix(hash, weight->dtype->name, strlen(weight->dtype->name) + 1);
        hash = mix(hash, weight->ne, sizeof weight->ne);
    }
    return hash;
}

static enum hth_status find_file(const struct hth_model *model, struct tuned_file *file)
{
    const struct vk_caps *caps = model->n_devices > 1 ? vk_get_caps(model->devices[1].vk) : NULL;
    char folder[32];
    snprintf(folder, sizeof folder, "tuned/%016llx", (unsigned long long)shape_hash(model->model));
    strbuf_printf(&file->of, "%d; %d processors of ", TUNED_VERSION, os_cpu_count());
    os_cpu_name(&file->of);
    strbuf_append(&file->of, STR("; "));
    kept_of(caps, &file->of);
    for (int d = 2; d < model->n_devices; d++) {
        strbuf_append(&file->of, STR("; with "));
        kept_of(vk_get_caps(model->devices[d].vk), &file->of);
    }
    if (!kept_path(folder, caps, &file->path) && !file->path.failed)
        strbuf_free(&file->path);
    return file->path.failed || file->of.failed
               ? log_fail_memory(&model->log, "the path of a file of the cache", file->path.len)
               : HTH_OK;
}

void tuned_file_free(struct tuned_file *file)
{
    strbuf_free(&file->path);
    strbuf_free(&file->of);
}

struct tuned_file tuned_take_file(struct hth_model *model)
{
    struct tuned_file file = model->tuned_file;
    model->tuned_file = (struct tuned_file){0};
    return file;
}

/* --- writing ---------------------------------------------------------------------------------- */

enum hth_status tuned_store(const struct tuned_file *file, const struct tuned *tuned,
                            const struct log *log)
{
    if (!file->path.ptr)
        return HTH_OK;
    json_t *root = json_pack("{s:s, s:i, s:i, s:I, s:b}", "of", file->of.ptr, "threads",
                             tuned->n_threads, "batch", tuned->n_batch, "vram_bytes",
                             (json_int_t)tuned->vram_bytes, "no_gpu", tuned->no_gpu);
    return kept_store(&file->path, root, "what was found is lost", log);
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool read_count(const json_t *root, const char *name, json_int_t most, json_int_t *out)
{
    const json_t *value = json_object_get(root, name);
    *out = json_integer_value(value);
    return json_is_integer(value) && *out >= 0 && *out <= most;
}

static bool read_tuned(const json_t *root, struct tuned *out)
{
    json_int_t threads, batch, vram;
    const json_t *no_gpu = json_object_get(root, "no_gpu");
    bool sound = read_count(root, "threads", MOST_THREADS, &threads) &&
                 read_count(root, "batch", MOST_BATCH, &batch) &&
                 read_count(root, "vram_bytes", INT64_MAX, &vram) && json_is_boolean(no_gpu);
    *out = (struct tuned){0};
    if (sound)
        *out = (struct tuned){(int)threads, (int)batch, (uint64_t)vram, json_is_true(no_gpu)};
    return sound;
}

/* The most memory that a device has; without any nothing depends on it. */
static uint64_t most_vram(const struct hth_model *model)
{
    uint64_t most = model->n_devices > 1 ? 0 : UINT64_MAX;
    for (int d = 1; d < model->n_devices; d++) {
        uint64_t bytes = plan_memory_bytes(vk_get_caps(model->devices[d].vk));
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* A file that is ignored is begun anew, so that the lines come once. */
static enum hth_status load(const struct hth_model *model, struct tuned *out)
{
    const struct tuned_file *file = &model->tuned_file;
    json_t *root;
    bool begins_anew;
    *out = (struct tuned){0};
    enum hth_status status = kept_load(&file->path, &file->of, &root, &begins_anew, &model->log);
    bool sound = !root || (read_tuned(root, out) &&
                           (model->opt.vram_bytes || out->vram_bytes <= most_vram(model)));
    if (!sound) {
        kept_ignore(&file->path, "a figure in it is none that hearth writes", &model->log);
        *out = (struct tuned){0};
        begins_anew = true;
    }
    if (begins_anew)
        log_warning(&model->log, "so this model runs as planned; hearth tune looks again for what "
                                 "is best for it here");
    json_decref(root);
    return status == HTH_OK && begins_anew ? tuned_store(file, out, &model->log) : status;
}

/* --- using it --------------------------------------------------------------------------------- */

/* Is the GPU's part said by hand? */
static bool is_placed(const struct hth_model_options *opt)
{
    return opt->vram_bytes || opt->gpu_layers || opt->cpu_moe || opt->n_cpu_moe || opt->n_places ||
           opt->place;
}

static bool chooses_device(const struct hth_model_options *opt)
{
    return opt->device && *opt->device && strcmp(opt->device, "auto") != 0;
}

enum hth_status tuned_use(struct hth_model *model)
{
    struct hth_model_options *opt = &model->opt;
    struct tuned tuned;
    enum hth_status status = find_file(model, &model->tuned_file);
    if (status || opt->untuned || opt->as_planned)
        return status;
    status = load(model, &tuned);
    if (status)
        return status;
    if (!opt->n_threads)
        opt->n_threads = tuned.n_threads;
    if (!opt->session.n_batch)
        opt->session.n_batch = tuned.n_batch;
    if (!is_placed(opt) && tuned.no_gpu && !chooses_device(opt)) {
        keeping_drop_devices(model);
    } else if (!is_placed(opt)) {
        opt->vram_bytes = tuned.vram_bytes;
    }
    if (tuned.n_threads || tuned.n_batch || tuned.vram_bytes || tuned.no_gpu)
        log_info(&model->log,
                 "as hearth tune found best for this model on this machine (0: as "
                 "planned): %d threads, %d tokens at once, %llu MiB of the GPU%s",
                 tuned.n_threads, tuned.n_batch, (unsigned long long)(tuned.vram_bytes >> 20),
                 tuned.no_gpu ? ", which is not used" : "");
    return HTH_OK;
}
