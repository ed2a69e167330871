#include "engine/measured.h"

#include <jansson.h>
#include <string.h>

#include "base/file.h"
#include "base/os.h"
#include "hearth/hearth.h"
#include "plan/learn.h"

enum { MEASURED_VERSION = 2, MOST_BYTES = 1 << 16 };

static const char *const phase_names[PHASES] = {"prompt", "answer"};

/* --- what they depend on ---------------------------------------------------------------------- */

bool measured_path(const struct vk_caps *caps, struct strbuf *out)
{
    if (!os_cache_folder(out))
        return false;
    strbuf_append(out, STR("/measured/"));
    for (int i = 0; caps && i < 16; i++)
        strbuf_printf(out, "%02x", caps->uuid[i]);
    strbuf_append(out, caps ? STR(".json") : STR("cpu.json"));
    return !out->failed;
}

/* A text that is another where anything is that the rates depend on. */
static void write_key(const struct machine *machine, const struct vk_caps *caps, struct strbuf *out)
{
    strbuf_printf(out, "%d; hearth %s %s; %d threads of ", MEASURED_VERSION, hth_version(),
                  vk_build_id(), machine->n_threads);
    os_cpu_name(out);
    if (caps)
        strbuf_printf(out, "; %s; %s; %08x:%08x %08x", caps->name, caps->driver, caps->vendor_id,
                      caps->device_id, caps->driver_version);
    for (size_t i = 0; i < out->len; i++) /* names may be anything, and this stands in JSON */
        if (out->ptr[i] < ' ' || out->ptr[i] > '~')
            out->ptr[i] = '?';
}

/* --- writing ---------------------------------------------------------------------------------- */

/* A NULL on the way (no memory) makes what holds it NULL, too. */
static json_t *whole(json_t *value, int failed)
{
    if (!failed)
        return value;
    json_decref(value);
    return NULL;
}

static json_t *rates_of(const struct machine_device *device)
{
    json_t *rates = json_object();
    int failed = 0;
    for (int r = 0; r < RATE_COUNT; r++)
        if (device->rate[r] > 0 && !(device->estimated >> r & 1u))
            failed |= json_object_set_new(rates, machine_rate_name((enum machine_rate)r),
                                          json_real(device->rate[r]));
    return whole(rates, failed);
}

static json_t *formats_of(const struct machine_device *device)
{
    json_t *formats = json_object();
    int failed = 0;
    for (uint32_t id = 0; id < MACHINE_MAX_FORMATS; id++) {
        const struct dtype *dtype = dtype_by_id(id);
        const struct machine_format *format = dtype ? machine_format_of(device, dtype) : NULL;
        if (format)
            failed |= json_object_set_new(formats, dtype->name,
                                          json_pack("{s:f, s:f}", machine_rate_name(RATE_READ),
                                                    format->read, machine_rate_name(RATE_MATRIX),
                                                    format->matrix));
    }
    return whole(formats, failed);
}

static json_t *past_of(const struct machine_device *device)
{
    json_t *past = json_object();
    int failed = 0;
    for (int phase = 0; phase < PHASES; phase++) {
        json_t *times = json_array();
        for (int i = 0; i < device->past[phase].n; i++)
            failed |= json_array_append_new(times, json_real(device->past[phase].times[i]));
        failed |= json_object_set_new(past, phase_names[phase], times);
    }
    return whole(past, failed);
}

/* Memory aside, a failure is told by errno alone. */
static enum hth_status make_folder(const char *path)
{
    struct strbuf folder = {0};
    strbuf_append(&folder, (struct str){path, (size_t)(strrchr(path, '/') - path)});
    enum hth_status status = folder.failed                 ? HTH_ERROR_MEMORY
                             : os_make_folders(folder.ptr) ? HTH_OK
                                                           : HTH_ERROR_IO;
    strbuf_free(&folder);
    return status;
}

static enum hth_status write_file(const char *path, const struct strbuf *text)
{
    struct file_writer writer = {0};
    enum hth_status status = make_folder(path);
    if (status == HTH_OK)
        status = file_begin(&writer, path, NULL);
    if (status)
        return status;
    file_put(&writer, text->ptr, text->len);
    return file_commit(&writer);
}

static int take(const char *data, size_t size, void *user)
{
    strbuf_append(user, (struct str){data, size});
    return 0;
}

static bool write_text(const struct machine *machine, int device, const struct vk_caps *caps,
                       struct strbuf *out)
{
    const struct machine_device *of = &machine->devices[device];
    struct strbuf key = {0};
    write_key(machine, caps, &key);
    json_t *root = key.failed
                       ? NULL
                       : json_pack("{s:s, s:o, s:o, s:o}", "of", key.ptr, "rates", rates_of(of),
                                   "formats", formats_of(of), "runs", past_of(of));
    bool failed =
        !root || json_dump_callback(root, take, out, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    json_decref(root);
    strbuf_free(&key);
    return !failed && !out->failed;
}

enum hth_status measured_store(const struct machine *machine, int device,
                               const struct vk_caps *caps, const struct log *log)
{
    struct strbuf path = {0}, text = {0};
    bool place = measured_path(caps, &path), written = write_text(machine, device, caps, &text);
    bool failed = path.failed || !written;
    enum hth_status status = !failed && place ? write_file(path.ptr, &text) : HTH_OK;
    failed |= status == HTH_ERROR_MEMORY;
    if (status && !failed)
        log_warning(log, "%s: cannot be written: %s; this machine is measured again next time",
                    path.ptr, os_error_text());
    strbuf_free(&path);
    strbuf_free(&text);
    return failed ? log_fail_memory(log, "what was measured", 0) : HTH_OK;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* A rate among others, 0 if there is none; false if it is one that no machine has. */
static bool read_rate(const json_t *rates, enum machine_rate rate, double *out)
{
    const json_t *value = json_object_get(rates, machine_rate_name(rate));
    *out = json_number_value(value);
    return !value || (json_is_number(value) && machine_rate_sensible(rate, *out));
}

/* Why rates are none; NULL if they are. */
static const char *read_rates(const json_t *rates, struct machine_device *device)
{
    for (int r = 0; r < RATE_COUNT; r++) {
        double value;
        if (!read_rate(rates, (enum machine_rate)r, &value))
            return "a rate in it is one that no machine has";
        if (value > 0)
            device->rate[r] = value;
    }
    return json_is_object(rates) ? NULL : "it is cut short";
}

/* Those of formats that are sound; returns how many are not. */
static int read_formats(const json_t *formats, struct machine_device *device)
{
    const char *name;
    json_t *rates;
    int n_bad = formats && !json_is_object(formats);
    json_object_foreach((json_t *)(uintptr_t)formats, name, rates)
    {
        const struct dtype *dtype = dtype_by_name(str_of(name));
        struct machine_format format = {0};
        bool sound = dtype && dtype->gguf_id < MACHINE_MAX_FORMATS &&
                     read_rate(rates, RATE_READ, &format.read) &&
                     read_rate(rates, RATE_MATRIX, &format.matrix) && format.read > 0 &&
                     format.matrix > 0;
        if (sound)
            device->formats[dtype->gguf_id] = format;
        n_bad += !sound;
    }
    return n_bad;
}

/* The same of past runs. */
static int read_past(const json_t *past, struct machine_device *device)
{
    int n_bad = past && !json_is_object(past);
    for (int phase = 0; phase < PHASES; phase++) {
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(past, phase_names[phase]), i, item)
        {
            double times = json_number_value(item);
            bool sound = json_is_number(item) && times >= 1 / LEARN_MOST && times <= LEARN_MOST;
            if (sound)
                learn_add(&device->past[phase], times);
            n_bad += !sound;
        }
    }
    return n_bad;
}

/* Takes all rates or none; of the rest what is sound, counting in *n_bad what is not. */
static const char *read_root(const json_t *root, const struct strbuf *key,
                             struct machine_device *device, int *n_bad)
{
    const char *of = json_string_value(json_object_get(root, "of"));
    struct machine_device found = *device;
    if (!of)
        return "it is none that hearth wrote";
    if (strcmp(of, key->ptr) != 0)
        return "it is of another machine, driver or build";
    const char *why = read_rates(json_object_get(root, "rates"), &found);
    if (why)
        return why;
    *n_bad = read_formats(json_object_get(root, "formats"), &found) +
             read_past(json_object_get(root, "runs"), &found);
    found.measured = true;
    *device = found;
    return NULL;
}

static enum hth_status read_file(const char *path, struct machine *machine, int device,
                                 const struct vk_caps *caps, const struct log *log)
{
    struct strbuf text = {0}, key = {0};
    json_error_t error;
    int n_bad = 0;
    write_key(machine, caps, &key);
    enum hth_status status = file_read(path, MOST_BYTES, &text, NULL);
    json_t *root = status == HTH_OK && !key.failed
                       ? json_loadb(text.ptr ? text.ptr : "", text.len, 0, &error)
                       : NULL;
    bool no_memory = key.failed || status == HTH_ERROR_MEMORY ||
                     (status == HTH_OK && !root && !key.failed &&
                      json_error_code(&error) == json_error_out_of_memory);
    const char *why = !root ? "it is no JSON, or cannot be read"
                            : read_root(root, &key, &machine->devices[device], &n_bad);
    if (!no_memory && why)
        log_warning(log, "%s: is ignored, as %s", path, why);
    if (n_bad)
        log_warning(log,
                    "%s: %d entr%s of formats or runs in it %s none that hearth wrote, and "
                    "left out",
                    path, n_bad, n_bad == 1 ? "y" : "ies", n_bad == 1 ? "is" : "are");
    json_decref(root);
    strbuf_free(&text);
    strbuf_free(&key);
    return no_memory ? log_fail_memory(log, path, 0) : HTH_OK;
}

enum hth_status measured_load(struct machine *machine, int device, const struct vk_caps *caps,
                              const struct log *log)
{
    struct strbuf path = {0};
    enum hth_status status = HTH_OK;
    machine->devices[device].measured = false;
    bool place = measured_path(caps, &path);
    if (path.failed)
        status = log_fail_memory(log, "the path of what was measured", path.len);
    else if (place && os_stat(path.ptr, NULL, NULL) == OS_FILE_REGULAR)
        status = read_file(path.ptr, machine, device, caps, log);
    strbuf_free(&path);
    return status;
}

enum hth_status measured_add_run(const struct machine *machine, int device,
                                 const struct vk_caps *caps, enum phase phase, double times,
                                 const struct log *log)
{
    struct machine now = {.n_devices = machine->n_devices, .n_threads = machine->n_threads};
    enum hth_status status = measured_load(&now, device, caps, log);
    if (status || !now.devices[device].measured)
        return status;
    learn_add(&now.devices[device].past[phase], times);
    return measured_store(&now, device, caps, log);
}
