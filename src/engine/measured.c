#include "engine/measured.h"

#include <jansson.h>
#include <string.h>

#include "base/file.h"
#include "base/os.h"
#include "hearth/hearth.h"

enum { MEASURED_VERSION = 1, MOST_BYTES = 1 << 16 };

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
static json_t *rates_of(const struct machine_device *device)
{
    json_t *rates = json_object();
    int failed = 0;
    for (int r = 0; r < RATE_COUNT; r++)
        if (device->rate[r] > 0 && !(device->estimated >> r & 1u))
            failed |= json_object_set_new(rates, machine_rate_name((enum machine_rate)r),
                                          json_real(device->rate[r]));
    if (!failed)
        return rates;
    json_decref(rates);
    return NULL;
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
    struct strbuf key = {0};
    write_key(machine, caps, &key);
    json_t *root =
        key.failed
            ? NULL
            : json_pack("{s:s, s:o, s:o}", "of", key.ptr, "cpu", rates_of(&machine->devices[0]),
                        "device", caps ? rates_of(&machine->devices[device]) : json_object());
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

/* Why rates are none; NULL if they are. */
static const char *read_rates(const json_t *rates, struct machine_device *device)
{
    for (int r = 0; r < RATE_COUNT; r++) {
        const json_t *value = json_object_get(rates, machine_rate_name((enum machine_rate)r));
        double number = json_number_value(value);
        if (value &&
            (!json_is_number(value) || !machine_rate_sensible((enum machine_rate)r, number)))
            return "a rate in it is one that no machine has";
        if (value)
            device->rate[r] = number;
    }
    return json_is_object(rates) ? NULL : "it is cut short";
}

/* Takes all rates or none. */
static const char *read_root(const json_t *root, const struct strbuf *key, bool with_device,
                             struct machine_device *cpu, struct machine_device *gpu)
{
    const char *of = json_string_value(json_object_get(root, "of"));
    struct machine_device own = *cpu, other = *gpu;
    if (!of)
        return "it is none that hearth wrote";
    if (strcmp(of, key->ptr) != 0)
        return "it is of another machine, driver or build";
    const char *why = read_rates(json_object_get(root, "cpu"), &own);
    if (!why && with_device)
        why = read_rates(json_object_get(root, "device"), &other);
    if (why)
        return why;
    *cpu = own;
    *gpu = other;
    return NULL;
}

static enum hth_status read_file(const char *path, struct machine *machine, int device,
                                 const struct vk_caps *caps, bool *found, const struct log *log)
{
    struct strbuf text = {0}, key = {0};
    struct machine_device none = {0};
    json_error_t error;
    write_key(machine, caps, &key);
    enum hth_status status = file_read(path, MOST_BYTES, &text, NULL);
    json_t *root = status == HTH_OK && !key.failed
                       ? json_loadb(text.ptr ? text.ptr : "", text.len, 0, &error)
                       : NULL;
    bool no_memory = key.failed || status == HTH_ERROR_MEMORY ||
                     (status == HTH_OK && !root && !key.failed &&
                      json_error_code(&error) == json_error_out_of_memory);
    const char *why = !root ? "it is no JSON, or cannot be read"
                            : read_root(root, &key, caps != NULL, &machine->devices[0],
                                        caps ? &machine->devices[device] : &none);
    *found = !no_memory && !why;
    if (!no_memory && why)
        log_warning(log, "%s: is ignored, as %s", path, why);
    json_decref(root);
    strbuf_free(&text);
    strbuf_free(&key);
    return no_memory ? log_fail_memory(log, path, 0) : HTH_OK;
}

enum hth_status measured_load(struct machine *machine, int device, const struct vk_caps *caps,
                              bool *found, const struct log *log)
{
    struct strbuf path = {0};
    enum hth_status status = HTH_OK;
    *found = false;
    bool place = measured_path(caps, &path);
    if (path.failed)
        status = log_fail_memory(log, "the path of what was measured", path.len);
    else if (place && os_stat(path.ptr, NULL, NULL) == OS_FILE_REGULAR)
        status = read_file(path.ptr, machine, device, caps, found, log);
    strbuf_free(&path);
    return status;
}
