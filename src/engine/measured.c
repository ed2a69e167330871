#include "engine/measured.h"

#include "base/os.h"
#include "engine/kept.h"

enum { MEASURED_VERSION = 1 };

/* --- what they depend on ---------------------------------------------------------------------- */

bool measured_path(const struct vk_caps *caps, struct strbuf *out)
{
    return kept_path("measured", caps, out);
}

static void write_key(const struct machine *machine, const struct vk_caps *caps, struct strbuf *out)
{
    strbuf_printf(out, "%d; %d threads of ", MEASURED_VERSION, machine->n_threads);
    os_cpu_name(out);
    strbuf_append(out, STR("; "));
    kept_of(caps, out);
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

enum hth_status measured_store(const struct machine *machine, int device,
                               const struct vk_caps *caps, const struct log *log)
{
    struct strbuf path = {0}, key = {0};
    enum hth_status status = HTH_OK;
    write_key(machine, caps, &key);
    if (measured_path(caps, &path) || path.failed) {
        json_t *root =
            key.failed
                ? NULL
                : json_pack("{s:s, s:o, s:o}", "of", key.ptr, "cpu", rates_of(&machine->devices[0]),
                            "device", caps ? rates_of(&machine->devices[device]) : json_object());
        status = kept_store(&path, root, "this machine is measured again next time", log);
    }
    strbuf_free(&path);
    strbuf_free(&key);
    return status;
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
static const char *read_root(const json_t *root, bool with_device, struct machine_device *cpu,
                             struct machine_device *gpu)
{
    struct machine_device own = *cpu, other = *gpu;
    const char *why = read_rates(json_object_get(root, "cpu"), &own);
    if (!why && with_device)
        why = read_rates(json_object_get(root, "device"), &other);
    if (why)
        return why;
    *cpu = own;
    *gpu = other;
    return NULL;
}

enum hth_status measured_load(struct machine *machine, int device, const struct vk_caps *caps,
                              bool *found, const struct log *log)
{
    struct strbuf path = {0}, key = {0};
    struct machine_device none = {0};
    json_t *root = NULL;
    enum hth_status status = HTH_OK;
    *found = false;
    write_key(machine, caps, &key);
    if (measured_path(caps, &path) || path.failed)
        status = kept_load(&path, &key, &root, log);
    if (root) {
        const char *why = read_root(root, caps != NULL, &machine->devices[0],
                                    caps ? &machine->devices[device] : &none);
        *found = !why;
        if (why)
            kept_ignore(&path, why, log);
    }
    json_decref(root);
    strbuf_free(&path);
    strbuf_free(&key);
    return status;
}
