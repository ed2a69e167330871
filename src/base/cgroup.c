#include "base/cgroup.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"

enum { MAX_PATH_BYTES = 4096, MAX_LINE_BYTES = 256 };

/* --- files ------------------------------------------------------------------------------------ */

static FILE *open_in(const char *folder, const char *name)
{
    char path[MAX_PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && (size_t)n < sizeof path ? os_fopen(path, "rb") : NULL;
}

/* The first line of a file; false if there is none. */
static bool first_line(const char *folder, const char *name, char line[MAX_LINE_BYTES])
{
    FILE *file = open_in(folder, name);
    if (!file)
        return false;
    bool any = fgets(line, MAX_LINE_BYTES, file) != NULL;
    fclose(file);
    return any;
}

static bool number_in(const char *folder, const char *name, uint64_t *out)
{
    char line[MAX_LINE_BYTES];
    return first_line(folder, name, line) && sscanf(line, "%" SCNu64, out) == 1;
}

/* A line "NAME NUMBER" among others; 0 if there is none. */
static uint64_t number_after(const char *folder, const char *file_name, const char *name)
{
    char line[MAX_LINE_BYTES];
    uint64_t number = 0;
    size_t len = strlen(name);
    FILE *file = open_in(folder, file_name);
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, len) == 0 && line[len] == ' ') {
            number = strtoull(line + len, NULL, 10);
            break;
        }
    if (file)
        fclose(file);
    return number;
}

/* --- groups ----------------------------------------------------------------------------------- */

/* What one group says of itself; UINT64_MAX: nothing. */
typedef uint64_t ask_fn(const char *folder, bool version_2);

/* The least of a group and of all above it. In a container the path may be the host's, which is not
 * there, while the group itself is mounted as the root. */
static uint64_t least_above(const char *root, const char *path, bool version_2, ask_fn *ask)
{
    char folder[MAX_PATH_BYTES];
    uint64_t least = UINT64_MAX;
    int n = snprintf(folder, sizeof folder, "%s%s", root, path);
    if (n < 0 || (size_t)n >= sizeof folder)
        return least;
    for (size_t root_len = strlen(root);;) {
        uint64_t own = ask(folder, version_2);
        least = own < least ? own : least;
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < root_len)
            return least;
        *slash = '\0';
    }
}

/* Is it among controllers such as "cpu,cpuacct"? */
static bool has_controller(const char *controllers, size_t len, const char *name)
{
    for (size_t at = 0; at < len;) {
        size_t n = strcspn(controllers + at, ",:");
        if (n == strlen(name) && memcmp(controllers + at, name, n) == 0)
            return true;
        at += n + 1;
    }
    return false;
}

/* A line of the list, "ID:CONTROLLERS:PATH", of version 2 "0::PATH". */
static uint64_t least_of_line(char *line, const char *root, const char *controller, ask_fn *ask)
{
    char mount[MAX_PATH_BYTES];
    char *controllers = strchr(line, ':'),
         *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path)
        return UINT64_MAX;
    size_t len = (size_t)(path - ++controllers);
    path++;
    path[strcspn(path, "\n")] = '\0';
    if (len == 0)
        return least_above(root, path, true, ask);
    if (!has_controller(controllers, len, controller))
        return UINT64_MAX;
    snprintf(mount, sizeof mount, "%s/%s", root, controller); /* a link where it is "cpu,cpuacct" */
    return least_above(mount, path, false, ask);
}

static uint64_t least_of_list(const char *list, const char *root, const char *controller,
                              ask_fn *ask)
{
    char line[MAX_PATH_BYTES];
    uint64_t least = UINT64_MAX;
    FILE *file = os_fopen(list, "rb");
    while (file && fgets(line, sizeof line, file)) {
        uint64_t own = least_of_line(line, root, controller, ask);
        least = own < least ? own : least;
    }
    if (file)
        fclose(file);
    return least;
}

/* --- processors ------------------------------------------------------------------------------- */

static uint64_t processors(long long quota_us, long long period_us)
{
    if (quota_us <= 0 || period_us <= 0) /* −1: no quota */
        return UINT64_MAX;
    return (uint64_t)(quota_us / period_us) + (quota_us % period_us != 0);
}

static uint64_t quota_of(const char *folder, bool version_2)
{
    char line[MAX_LINE_BYTES], period[MAX_LINE_BYTES];
    long long quota_us, period_us;
    if (version_2)
        return first_line(folder, "cpu.max", line) &&
                       sscanf(line, "%lld %lld", &quota_us, &period_us) == 2
                   ? processors(quota_us, period_us)
                   : UINT64_MAX; /* "max 100000" */
    if (!first_line(folder, "cpu.cfs_quota_us", line) ||
        !first_line(folder, "cpu.cfs_period_us", period))
        return UINT64_MAX;
    return processors(strtoll(line, NULL, 10), strtoll(period, NULL, 10));
}

int cgroup_cpus(const char *list, const char *root)
{
    uint64_t least = least_of_list(list, root, "cpu", quota_of);
    return least < 1 << 20 ? (int)least : 0;
}

/* --- memory ----------------------------------------------------------------------------------- */

static uint64_t memory_left_of(const char *folder, bool version_2)
{
    uint64_t limit, used; /* "max" is no number; version 1 has one that no machine reaches */
    if (!number_in(folder, version_2 ? "memory.max" : "memory.limit_in_bytes", &limit) ||
        !number_in(folder, version_2 ? "memory.current" : "memory.usage_in_bytes", &used))
        return UINT64_MAX;
    uint64_t idle =
        number_after(folder, "memory.stat", version_2 ? "inactive_file" : "total_inactive_file");
    used -= idle < used ? idle : used;
    return limit > used ? limit - used : 0;
}

uint64_t cgroup_memory_left(const char *list, const char *root)
{
    return least_of_list(list, root, "memory", memory_left_of);
}
