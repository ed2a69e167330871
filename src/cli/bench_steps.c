#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/bench_steps.h"
#include "cli/json_out.h"
#include "cli/talk.h"

static struct kernel_time *find(struct kernel_times *times, const char *name)
{
    for (size_t i = 0; i < times->count; i++)
        if (strcmp(times->items[i].name, name) == 0)
            return &times->items[i];
    struct kernel_time *items =
        mem_grow(times->items, &times->capacity, times->count + 1, sizeof *items);
    if (!items)
        return NULL;
    times->items = items;
    items[times->count] = (struct kernel_time){.name = name};
    return &items[times->count++];
}

static void add_step(void *user, const char *label, const char *row, uint64_t time_ns,
                     uint64_t bytes, uint64_t flops)
{
    (void)label;
    struct kernel_times *times = user;
    struct kernel_time *kernel = find(times, row);
    if (!kernel) {
        times->failed = true;
        return;
    }
    kernel->calls++;
    kernel->time_ns += time_ns;
    kernel->bytes += bytes;
    kernel->flops += flops;
    times->time_ns += time_ns;
}

static int longest_first(const void *a, const void *b)
{
    const struct kernel_time *x = a, *y = b;
    int by_time = (x->time_ns < y->time_ns) - (x->time_ns > y->time_ns);
    return by_time ? by_time : strcmp(x->name, y->name);
}

enum hth_status kernel_times_read(struct kernel_times *out, struct hth_session *session)
{
    *out = (struct kernel_times){0};
    enum hth_status status = hth_session_profile(session, add_step, out);
    if (status == HTH_OK && out->failed)
        status = log_fail_memory(talk_log(), "times of kernels", sizeof *out->items);
    if (status) {
        kernel_times_free(out);
        return status;
    }
    if (out->count)
        qsort(out->items, out->count, sizeof *out->items, longest_first);
    return HTH_OK;
}

/* In 10^9 per second; nothing of what was not counted. */
static void print_rate(int width, int digits, uint64_t n, uint64_t time_ns)
{
    if (n && time_ns)
        out_printf(" %*.*f", width, digits, (double)n / (double)time_ns);
    else
        out_printf(" %*s", width, "-");
}

void kernel_times_print(const struct kernel_times *times, const struct roof *roof)
{
    out_printf("  %-28s %6s %10s %7s %9s %10s%s\n", "kernel", "calls", "ms", "share", "GB/s",
               "GFLOP/s", roof ? "  of the roof" : "");
    for (size_t i = 0; i < times->count; i++) {
        const struct kernel_time *kernel = &times->items[i];
        out_printf("  %-28s %6d %10.3f %5.1f %%", kernel->name, kernel->calls,
                   (double)kernel->time_ns / 1e6,
                   times->time_ns ? 100 * (double)kernel->time_ns / (double)times->time_ns : 0);
        print_rate(9, 2, kernel->bytes, kernel->time_ns);
        print_rate(10, 1, kernel->flops, kernel->time_ns);
        if (roof && kernel->time_ns) {
            const struct roof_work work = {(double)kernel->bytes, (double)kernel->flops,
                                           roof_named_flop(roof, kernel->name),
                                           (double)kernel->time_ns / 1e9};
            const char *bound;
            double share = roof_share(roof, &work, &bound);
            out_printf("  %5.1f %% (%s)", 100 * share, bound);
        }
        out_printf("\n");
    }
}

json_t *kernel_times_json(const struct kernel_times *times)
{
    json_t *array = json_array();
    for (size_t i = 0; i < times->count; i++) {
        const struct kernel_time *kernel = &times->items[i];
        json_push(array, json_pack("{s:s, s:i, s:f, s:o, s:o}", "kernel", kernel->name, "calls",
                                   kernel->calls, "time_us", (double)kernel->time_ns / 1e3, "bytes",
                                   json_count(kernel->bytes), "flops", json_count(kernel->flops)));
    }
    return array;
}

void kernel_times_free(struct kernel_times *times)
{
    mem_free(times->items);
    *times = (struct kernel_times){0};
}
