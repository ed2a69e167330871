#include "engine/measured.h"

#include "base/os.h"
#include "engine/kept.h"
#include "hearth/hearth.h"
#include "plan/learn.h"

enum { MEASURED_VERSION = 8 };

static const char PRODUCTS[] = "products"; /* machine_rates.products, by class */
static const char OP[] = "op_s";           /* of such a class, and of a cache's attention */
static const char *const phase_names[PHASES] = {"prompt", "answer"};

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

static json_t *pair_of(const struct machine_rates *rates)
{
    return json_pack("{s:f, s:f}", machine_rate_name(RATE_READ), rates->read,
                     machine_rate_name(RATE_MATRIX), rates->matrix);
}

static json_t *format_of(const struct machine_rates *rates)
{
    json_t *format = pair_of(rates), *products = json_array();
    int failed = 0;
    for (int w = 0; w < MACHINE_WIDTHS; w++) {
        const struct machine_products *own = &rates->products[w];
        json_t *known = own->read > 0
                            ? json_pack("{s:f, s:f, s:f}", machine_rate_name(RATE_READ), own->read,
                                        OP, own->op_s, machine_rate_name(RATE_MATRIX), own->matrix)
                            : json_object();
        failed |= json_array_append_new(products, known);
    }
    failed |= json_object_set_new(format, PRODUCTS, products);
    return whole(format, failed);
}

static json_t *formats_of(const struct machine_device *device)
{
    json_t *formats = json_object();
    int failed = 0;
    for (uint32_t id = 0; id < MACHINE_MAX_FORMATS; id++) {
        const struct dtype *dtype = dtype_by_id(id);
        const struct machine_rates *format = dtype ? machine_format_of(device, dtype) : NULL;
        if (format)
            failed |= json_object_set_new(formats, dtype->name, format_of(format));
    }
    return whole(formats, failed);
}

static json_t *cache_of(const struct machine_rates *rates)
{
    json_t *cache = pair_of(rates);
    return whole(cache, json_object_set_new(cache, OP, json_real(rates->op_s)));
}

static json_t *caches_of(const struct machine_device *device)
{
    json_t *caches = json_object();
    int failed = 0;
    for (int i = 0; i < device->n_caches; i++)
        failed |= json_object_set_new(caches, device->caches[i].shape,
                                      cache_of(&device->caches[i].rates));
    return whole(caches, failed);
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

enum hth_status measured_store(const struct machine *machine, int device,
                               const struct vk_caps *caps, const struct log *log)
{
    struct strbuf path = {0}, key = {0};
    enum hth_status status = HTH_OK;
    write_key(machine, caps, &key);
    if (measured_path(caps, &path) || path.failed) {
        const struct machine_device *own = &machine->devices[device];
        json_t *root = key.failed ? NULL
                                  : json_pack("{s:s, s:o, s:o, s:o, s:o}", "of", key.ptr, "rates",
                                              rates_of(own), "formats", formats_of(own), "caches",
                                              caches_of(own), "runs", past_of(own));
        status = kept_store(&path, root, "this machine is measured again next time", log);
    }
    strbuf_free(&path);
    strbuf_free(&key);
    return status;
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

static bool read_products(const json_t *products, struct machine_rates *out)
{
    bool good = json_array_size(products) == MACHINE_WIDTHS;
    for (size_t w = 0; w < MACHINE_WIDTHS && good; w++) {
        const json_t *item = json_array_get(products, w), *op = json_object_get(item, OP);
        struct machine_products *own = &out->products[w];
        own->op_s = json_number_value(op);
        good = read_rate(item, RATE_READ, &own->read) && (own->read > 0) == json_is_number(op) &&
               read_rate(item, RATE_MATRIX, &own->matrix) && (own->read > 0) == (own->matrix > 0) &&
               machine_rate_sensible(RATE_DISPATCH, own->op_s);
    }
    return good;
}

static bool read_pair(const json_t *rates, struct machine_rates *out)
{
    return read_rate(rates, RATE_READ, &out->read) && read_rate(rates, RATE_MATRIX, &out->matrix) &&
           out->read > 0 && out->matrix > 0;
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
        struct machine_rates format = {0};
        bool sound = dtype && dtype->gguf_id < MACHINE_MAX_FORMATS && read_pair(rates, &format) &&
                     read_products(json_object_get(rates, PRODUCTS), &format);
        if (sound)
            device->formats[dtype->gguf_id] = format;
        n_bad += !sound;
    }
    return n_bad;
}

static bool read_cache(const json_t *cache, struct machine_rates *out)
{
    const json_t *op = json_object_get(cache, OP);
    out->op_s = json_number_value(op);
    return read_pair(cache, out) && json_is_number(op) &&
           machine_rate_sensible(RATE_DISPATCH, out->op_s);
}

/* The same of caches. */
static int read_caches(const json_t *caches, struct machine_device *device)
{
    const char *name;
    json_t *rates;
    int n_bad = caches && !json_is_object(caches), n = 0;
    json_object_foreach((json_t *)(uintptr_t)caches, name, rates)
    {
        struct machine_cache cache = {0};
        bool sound = n++ < MACHINE_MAX_CACHES && strlen(name) < sizeof cache.shape &&
                     machine_is_cache_name(name) && read_cache(rates, &cache.rates);
        if (sound) {
            memcpy(cache.shape, name, strlen(name));
            machine_add_cache(device, &cache);
        }
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
static const char *read_root(const json_t *root, struct machine_device *device, int *n_bad)
{
    struct machine_device found = *device;
    const char *why = read_rates(json_object_get(root, "rates"), &found);
    if (!why && !(found.rate[RATE_READ] > 0))
        why = "it has no rates";
    if (why)
        return why;
    *n_bad = read_formats(json_object_get(root, "formats"), &found) +
             read_caches(json_object_get(root, "caches"), &found) +
             read_past(json_object_get(root, "runs"), &found);
    found.measured = true;
    *device = found;
    return NULL;
}

enum hth_status measured_load(struct machine *machine, int device, const struct vk_caps *caps,
                              const struct log *log)
{
    struct strbuf path = {0}, key = {0};
    json_t *root = NULL;
    int n_bad = 0;
    enum hth_status status = HTH_OK;
    struct machine_device *own = &machine->devices[device];
    bool ignored = false;
    own->measured = false;
    write_key(machine, caps, &key);
    if (measured_path(caps, &path) || path.failed)
        status = kept_load(&path, &key, &root, &ignored, log);
    const char *why = root ? read_root(root, own, &n_bad) : NULL;
    if (why)
        kept_ignore(&path, why, log);
    own->outdated = ignored || why;
    if (n_bad)
        log_warning(log,
                    "%s: %d entr%s of formats, caches or runs in it %s none that hearth wrote, and "
                    "left out",
                    path.ptr, n_bad, n_bad == 1 ? "y" : "ies", n_bad == 1 ? "is" : "are");
    json_decref(root);
    strbuf_free(&path);
    strbuf_free(&key);
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
