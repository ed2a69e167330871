#include "engine/plan_part.h"

#include <stdio.h>

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

static void add_gpu(struct machine *machine, const struct vk_caps *caps, uint32_t number,
                    bool discrete)
{
    const struct vk_heap *heap = own_heap(caps);
    if (machine->n_devices == MACHINE_MAX_DEVICES)
        return;
    struct machine_device *device = &machine->devices[machine->n_devices++];
    *device = (struct machine_device){
        .kind = caps->unified && !discrete ? MACHINE_INTEGRATED : MACHINE_DISCRETE,
        .number = (int)number,
        .memory_bytes = heap->size_bytes,
        .budget_bytes = heap->budget_bytes,
    };
    snprintf(device->name, sizeof device->name, "%.60s", caps->name);
}

/* GPUs as --device says: "auto" and "vulkan" mean all real ones. */
static enum hth_status add_gpus(struct machine *machine, const struct plan_request *request,
                                const struct log *log)
{
    const char *wanted = request->device.device ? request->device.device : "auto";
    struct vk_caps *list;
    uint32_t count;
    const char *why;
    if (strcmp(wanted, "cpu") == 0)
        return HTH_OK;
    enum hth_status status = vk_list(&list, &count, &why, log);
    if (status != HTH_OK)
        return status;
    bool all = strcmp(wanted, "auto") == 0 || strcmp(wanted, "vulkan") == 0;
    int one = all ? -1 : device_find(list, count, wanted + strlen("vulkan:"));
    for (uint32_t i = 0; i < count; i++)
        if (all ? list[i].kind != VK_KIND_SOFTWARE && !list[i].lacks : (int)i == one)
            add_gpu(machine, &list[i], i, request->device.treat_as_discrete);
    if (machine->n_devices == 1 && strcmp(wanted, "auto") != 0)
        status = log_fail(log, HTH_ERROR_DEVICE,
                          "no Vulkan GPU \"%s\" to plan for (hearth devices lists them)", wanted);
    mem_free(list);
    return status;
}

/* --vram and --ram: less than there is, for each GPU and for the host. */
static enum hth_status limit(struct machine *machine, const struct plan_request *request,
                             const struct log *log)
{
    uint64_t vram = request->device.vram_bytes, ram = request->ram_bytes, most = 0;
    struct machine_device *cpu = &machine->devices[0];
    for (int d = 1; d < machine->n_devices; d++) {
        struct machine_device *gpu = &machine->devices[d];
        most = gpu->memory_bytes > most ? gpu->memory_bytes : most;
        if (vram && (gpu->budget_bytes == 0 || vram < gpu->memory_bytes))
            gpu->budget_bytes = vram < gpu->memory_bytes ? vram : gpu->memory_bytes;
    }
    if (vram > most && machine->n_devices > 1)
        return log_fail(log, HTH_ERROR_ARGUMENT,
                        "--vram asks for %.1f GiB, and no GPU has more than %.1f", gib(vram),
                        gib(most));
    if (ram > cpu->memory_bytes)
        return log_fail(log, HTH_ERROR_ARGUMENT, "--ram asks for %.1f GiB, and the host has %.1f",
                        gib(ram), gib(cpu->memory_bytes));
    if (ram)
        cpu->budget_bytes = ram;
    return HTH_OK;
}

enum hth_status plan_read_machine(struct machine *machine, const struct plan_request *request,
                                  const struct log *log)
{
    enum hth_status status;
    if (request->profile) {
        status = profile_read(machine, request->profile, log);
    } else {
        *machine = (struct machine){.n_devices = 1, .n_threads = os_cpu_count()};
        snprintf(machine->devices[0].name, sizeof machine->devices[0].name, "CPU");
        machine->devices[0].memory_bytes = os_memory_total_bytes();
        machine->devices[0].budget_bytes = os_memory_available_bytes();
        status = add_gpus(machine, request, log);
    }
    machine->n_threads_used = request->device.n_threads;
    if (status == HTH_OK)
        status = limit(machine, request, log);
    return status == HTH_OK ? machine_complete(machine, log) : status;
}
