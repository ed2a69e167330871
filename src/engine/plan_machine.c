#include "engine/measured.h"
#include "engine/plan_part.h"
#include "engine/probe.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static double gib(uint64_t bytes)
{
    return (double)bytes / (1 << 30);
}

/* The heap that weights go to: the largest that is the device's own. */
static const struct vk_heap *own_heap(const struct vk_caps *caps)
{
    const struct vk_heap *best = &caps->heaps[0];
    for (uint32_t i = 0; i < caps->n_heaps; i++)
        if (caps->heaps[i].device_local &&
            (!best->device_local || caps->heaps[i].size_bytes > best->size_bytes))
            best = &caps->heaps[i];
    return best;
}

/* What may be used of a heap now, `own_bytes` that are in use already among it: what the driver
 * says, less what others of this process have. A software device's is the host's memory, whose
 * figures say nothing of processes. */
static uint64_t free_bytes(const struct vk_caps *caps, uint64_t own_bytes)
{
    const struct vk_heap *heap = own_heap(caps);
    uint64_t budget = heap->budget_bytes + (heap->budget_bytes == 0); /* 0: not known */
    uint64_t available = os_memory_available_bytes() + own_bytes;
    if (caps->kind == VK_KIND_SOFTWARE)
        return budget < available ? budget : available;
    uint64_t others = heap->used_bytes > own_bytes ? heap->used_bytes - own_bytes : 0;
    return budget > others ? budget - others : 1;
}

static void add_gpu(struct machine *machine, const struct vk_caps *caps, int number, bool discrete)
{
    const struct vk_heap *heap = own_heap(caps);
    bool apart = discrete || !caps->unified;
    if (machine->n_devices == MACHINE_MAX_DEVICES)
        return;
    struct machine_device *device = &machine->devices[machine->n_devices++];
    *device = (struct machine_device){
        .kind = apart ? MACHINE_DISCRETE : MACHINE_INTEGRATED,
        .number = number,
        .memory_bytes = heap->size_bytes,
        .budget_bytes = free_bytes(caps, 0),
        .stands_in = caps->kind == VK_KIND_SOFTWARE,
        .one_queue = !caps->transfer_queue,
    };
    snprintf(device->name, sizeof device->name, "%.60s", caps->name);
}

static void set_host(struct machine *machine)
{
    *machine = (struct machine){.n_devices = 1, .n_threads = os_cpu_count()};
    snprintf(machine->devices[0].name, sizeof machine->devices[0].name, "CPU");
    machine->devices[0].memory_bytes = os_memory_total_bytes();
    machine->devices[0].budget_bytes = os_memory_available_bytes();
}

/* GPUs as --device says. */
static enum hth_status add_gpus(struct machine *machine, const struct plan_request *request,
                                const struct log *log)
{
    const char *wanted = request->device.device ? request->device.device : "auto";
    struct device_list chosen;
    struct vk_caps *list;
    uint32_t count;
    const char *why;
    if (strcmp(wanted, "cpu") == 0)
        return HTH_OK;
    enum hth_status status = vk_list(&list, &count, &why, log);
    if (status != HTH_OK)
        return status;
    if (count == 0 && strcmp(wanted, "auto") != 0)
        status =
            log_fail(log, HTH_ERROR_DEVICE, "no Vulkan GPU \"%s\" to plan for: %s", wanted, why);
    else
        status = device_choose(&chosen, wanted, list, count, log);
    for (int i = 0; status == HTH_OK && i < chosen.n; i++)
        add_gpu(machine, &list[chosen.index[i]], chosen.index[i],
                request->device.treat_as_discrete);
    for (int d = 1; d < machine->n_devices && status == HTH_OK; d++)
        status = measured_load(machine, d, &list[machine->devices[d].number], log);
    mem_free(list);
    return status;
}

uint64_t plan_memory_bytes(const struct vk_caps *caps)
{
    return own_heap(caps)->size_bytes;
}

enum hth_status plan_check_limits(const struct machine *machine,
                                  const struct hth_model_options *options, const struct log *log)
{
    const struct machine_device *cpu = &machine->devices[0];
    uint64_t most = 0;
    for (int d = 1; d < machine->n_devices; d++)
        most = machine->devices[d].memory_bytes > most ? machine->devices[d].memory_bytes : most;
    if (options->vram_bytes > most && machine->n_devices > 1)
        return log_fail(log, HTH_ERROR_ARGUMENT,
                        "--vram asks for %.2f GiB, and no GPU has more than %.2f: without it all "
                        "that is free is used",
                        gib(options->vram_bytes), gib(most));
    if (options->ram_bytes > cpu->memory_bytes)
        return log_fail(log, HTH_ERROR_ARGUMENT,
                        "--ram asks for %.2f GiB, and the host has %.2f: without it all that is "
                        "free is used",
                        gib(options->ram_bytes), gib(cpu->memory_bytes));
    return HTH_OK;
}

void plan_limit(struct machine *machine, const struct hth_model_options *options)
{
    uint64_t vram = options->vram_bytes, ram = options->ram_bytes;
    for (int d = 1; d < machine->n_devices; d++) {
        struct machine_device *gpu = &machine->devices[d];
        uint64_t can = gpu->budget_bytes ? gpu->budget_bytes : gpu->memory_bytes;
        if (vram)
            gpu->budget_bytes = vram < can ? vram : can;
    }
    struct machine_device *cpu = &machine->devices[0];
    if (ram)
        cpu->budget_bytes = ram < cpu->memory_bytes ? ram : cpu->memory_bytes;
}

enum hth_status plan_read_machine(struct machine *machine, const struct plan_request *request,
                                  const struct log *log)
{
    enum hth_status status;
    if (request->profile) {
        status = profile_read(machine, request->profile, log);
    } else {
        set_host(machine);
        status = measured_load(machine, 0, NULL, log);
        if (status == HTH_OK)
            status = add_gpus(machine, request, log);
    }
    machine->n_threads_used = request->device.n_threads;
    if (status == HTH_OK)
        status = plan_check_limits(machine, &request->device, log);
    plan_limit(machine, &request->device);
    return status == HTH_OK ? machine_complete(machine, log) : status;
}

/* A GPU that is open, with what is in use of it already. */
static enum hth_status add_open_gpu(struct machine *machine, struct vk *vk, bool discrete,
                                    const struct log *log)
{
    struct vk_caps caps = *vk_get_caps(vk);
    int d = machine->n_devices;
    vk_update_budget(vk, &caps);
    add_gpu(machine, &caps, vk_get_index(vk), discrete);
    machine->devices[d].budget_bytes = free_bytes(&caps, vk_allocated_bytes(vk, VK_MEMORY_DEVICE));
    return measured_load(machine, d, &caps, log);
}

enum hth_status plan_own_machine(struct machine *machine, const struct placing_devices *devices,
                                 const struct hth_model_options *options, const struct log *log)
{
    set_host(machine);
    enum hth_status status = measured_load(machine, 0, NULL, log);
    for (int d = 1; d < devices->n && status == HTH_OK; d++)
        status = add_open_gpu(machine, devices->vk[d], options->treat_as_discrete, log);
    machine->n_threads_used = options->n_threads;
    plan_limit(machine, options);
    return status == HTH_OK ? machine_complete(machine, log) : status;
}

uint64_t plan_room(struct vk *vk, const struct hth_model_options *options, uint64_t *margin)
{
    struct vk_caps caps = *vk_get_caps(vk);
    vk_update_budget(vk, &caps);
    uint64_t room = free_bytes(&caps, vk_allocated_bytes(vk, VK_MEMORY_DEVICE));
    *margin = own_heap(&caps)->margin_bytes;
    return options->vram_bytes && options->vram_bytes < room ? options->vram_bytes : room;
}

/* --- measuring -------------------------------------------------------------------------------- */

/* What is under way. */
struct measuring {
    const struct plan_measuring *what;
    struct machine_probe *probe;
    struct probe times;
    const struct log *log;
};

static enum hth_status begin_measuring(struct measuring *m)
{
    m->times = (struct probe){.time_s = machine_probe_time_s,
                              .format_s = machine_probe_format_s,
                              .cache_s = machine_probe_cache_s,
                              .n_runs = 3,
                              .cpu_matrix_part = 64};
    int n_devices = m->what->machine->n_devices;
    enum hth_status status =
        machine_probe_open(&m->probe, m->what->pool, m->what->vk, n_devices, m->log);
    m->times.user = m->probe;
    return status;
}

static enum hth_status keep(const struct measuring *m, int device)
{
    const struct vk_caps *caps = device ? vk_get_caps(m->what->vk[device]) : NULL;
    return measured_store(m->what->machine, device, caps, m->log);
}

static enum hth_status measure_device(struct measuring *m, int d)
{
    struct machine_device *device = &m->what->machine->devices[d];
    const double *rate = device->rate;
    memset(device->formats, 0, sizeof device->formats);
    device->n_caches = 0;
    memset(device->past, 0, sizeof device->past);
    machine_measure_device(m->what->machine, &m->times, d);
    /* else the device had no room to try */
    device->measured = rate[RATE_READ] > 0 && rate[RATE_MATRIX] > 0;
    device->outdated &= !device->measured;
    return device->measured ? keep(m, d) : HTH_OK;
}

enum hth_status plan_measure(const struct plan_measuring *what, bool anew, const struct log *log)
{
    struct machine *machine = what->machine;
    struct measuring m = {.what = what, .log = log};
    enum hth_status status = begin_measuring(&m);
    for (int d = 0; d < machine->n_devices; d++)
        for (int r = 0; r < RATE_COUNT; r++)
            if (machine->devices[d].estimated >> r & 1u)
                machine->devices[d].rate[r] = 0; /* what others are estimated by may change */
    for (int d = 0; d < machine->n_devices && status == HTH_OK; d++)
        if (anew || !machine->devices[d].measured)
            status = measure_device(&m, d);
    machine_probe_close(m.probe);
    return status == HTH_OK ? machine_complete(machine, log) : status;
}

/* Are there matrices in a format, whose rates are not known for rows so long? */
static bool lacks_format(const struct machine_device *device, const struct units *units,
                         const struct dtype *dtype)
{
    bool needs = false;
    for (int i = 1; i <= units->n_shares; i++)
        needs |= units->shares[i].dtype == dtype && units->shares[i].elems > 0;
    const struct machine_rates *format = machine_format_of(device, dtype);
    return needs && !(format && format->products[machine_width_class(units->n_embd)].read > 0);
}

/* What units need of one device; *found: something new was. */
static enum hth_status measure_units(struct measuring *m, const struct units *units, int d,
                                     bool *found)
{
    const struct machine_device *device = &m->what->machine->devices[d];
    enum hth_status status = HTH_OK;
    const struct dtype *dtype;
    for (size_t i = 0; (dtype = dtype_at(i)) && status == HTH_OK; i++) {
        if (!lacks_format(device, units, dtype))
            continue;
        status = m->probe ? HTH_OK : begin_measuring(m);
        if (status == HTH_OK)
            *found |= machine_measure_format(m->what->machine, &m->times, d, dtype, units->n_embd);
    }
    if (status || machine_cache_of(device, units->cache_name))
        return status;
    status = m->probe ? HTH_OK : begin_measuring(m);
    if (status == HTH_OK)
        *found |= machine_measure_cache(m->what->machine, &m->times, d, &units->cache);
    return status;
}

enum hth_status plan_measure_units(const struct plan_measuring *what, const struct units *units,
                                   unsigned devices, const struct log *log)
{
    struct measuring m = {.what = what, .log = log};
    enum hth_status status = HTH_OK;
    for (int d = 0; d < what->machine->n_devices && status == HTH_OK; d++) {
        bool found = false;
        if (devices >> d & 1u && what->machine->devices[d].measured)
            status = measure_units(&m, units, d, &found);
        if (status == HTH_OK && found)
            status = keep(&m, d);
    }
    machine_probe_close(m.probe);
    return status;
}

/* --- for `hearth devices` --------------------------------------------------------------------- */

static enum hth_status open_all(struct placing_devices *devices,
                                const struct hth_model_options *options, const struct log *log)
{
    struct device_list list;
    enum hth_status status = device_choose_now(&list, options->device, log);
    *devices = (struct placing_devices){.n = 1};
    for (int i = 0; status == HTH_OK && i < list.n; i++) {
        status = device_open_at(&devices->vk[devices->n], list.index[i], options, log);
        devices->n += status == HTH_OK;
    }
    return status;
}

enum hth_status plan_measure_machine(const struct hth_model_options *options)
{
    struct log log = {options->log, options->log_user, options->log_level};
    struct machine machine;
    struct pool *pool = NULL;
    struct placing_devices devices;
    enum hth_status status = open_all(&devices, options, &log);
    if (status == HTH_OK)
        status = pool_create(&pool, 0, &log);
    if (status == HTH_OK)
        status = plan_own_machine(&machine, &devices, options, &log);
    const struct plan_measuring what = {&machine, devices.vk, pool};
    if (status == HTH_OK)
        status = plan_measure(&what, true, &log);
    pool_destroy(pool);
    for (int d = 1; d < devices.n; d++)
        vk_close(devices.vk[d]);
    return status;
}

enum hth_status plan_measured(const struct vk_caps *caps, struct strbuf *out, const struct log *log)
{
    static const struct {
        const char *what, *name;
        double unit;
    } words[RATE_COUNT] = {
        {"reads", "GB/s", 1e9},        {"computes", "Tflop/s", 1e12}, {"copies", "GB/s", 1e9},
        {"over the bus", "GB/s", 1e9}, {"activations", "GB/s", 1e9},  {"an op", "us", 1e-6},
        {"a hop", "us", 1e-6},         {"a copy", "us", 1e-6},
    };
    struct machine machine;
    set_host(&machine);
    enum hth_status status = measured_load(&machine, caps ? 1 : 0, caps, log);
    const struct machine_device *device = &machine.devices[caps ? 1 : 0];
    for (int r = 0, n = 0; r < RATE_COUNT && device->measured; r++)
        if (device->rate[r] > 0) {
            strbuf_append(out, n++ ? STR(", ") : STR("measured: "));
            strbuf_printf(out, "%s %.3g %s", words[r].what, device->rate[r] / words[r].unit,
                          words[r].name);
        }
    for (size_t i = 0; dtype_at(i) && device->measured; i++) {
        const struct machine_rates *format = machine_format_of(device, dtype_at(i));
        if (!format)
            continue;
        strbuf_printf(out, "; %s reads %.3g GB/s, computes %.3g Tflop/s", dtype_at(i)->name,
                      format->read / 1e9, format->matrix / 1e12);
        for (int w = 0; w < MACHINE_WIDTHS; w++)
            if (format->products[w].read > 0)
                strbuf_printf(out, ", rows of %d %.3g GB/s, %.3g us a product and %.3g Tflop/s",
                              512 << w, format->products[w].read / 1e9,
                              format->products[w].op_s / 1e-6, format->products[w].matrix / 1e12);
    }
    for (int i = 0; i < device->n_caches && device->measured; i++)
        strbuf_printf(out, "; attention %s reads %.3g GB/s, computes %.3g Tflop/s",
                      device->caches[i].shape, device->caches[i].rates.read / 1e9,
                      device->caches[i].rates.matrix / 1e12);
    return status == HTH_OK && out->failed ? log_fail_memory(log, "a line", out->len) : status;
}
