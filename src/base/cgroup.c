#include "base/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"

enum { MAX_PATH_BYTES = 4096, MAX_LINE_BYTES = 256 };

/* The first line of a file, without its newline; false if there is none. */
static bool first_line(const char *folder, const char *name, char line[MAX_LINE_BYTES])
{
    char path[MAX_PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = n > 0 && (size_t)n < sizeof path ? os_fopen(path, "rb") : NULL;
    if (!file)
        return false;
    bool any = fgets(line, MAX_LINE_BYTES, file) != NULL;
    fclose(file);
    return any;
}

static int processors(long long quota_us, long long period_us)
{
    if (quota_us <= 0 || period_us <= 0) /* −1: no quota */
        return 0;
    long long n = quota_us / period_us + (quota_us % period_us != 0);
    return n < 1 << 20 ? (int)n : 0;
}

/* What one group says of itself. */
static int quota_of(const char *folder, bool version_2)
{
    char line[MAX_LINE_BYTES], period[MAX_LINE_BYTES];
    long long quota_us, period_us;
    if (version_2)
        return first_line(folder, "cpu.max", line) &&
                       sscanf(line, "%lld %lld", &quota_us, &period_us) == 2
                   ? processors(quota_us, period_us)
                   : 0; /* "max 100000" */
    if (!first_line(folder, "cpu.cfs_quota_us", line) ||
        !first_line(folder, "cpu.cfs_period_us", period))
        return 0;
    return processors(strtoll(line, NULL, 10), strtoll(period, NULL, 10));
}

/* The least of a group and of all above it. In a container the path may be the host's, which is not
 * there, while the group itself is mounted as the root. */
static int least_quota(const char *root, const char *path, bool version_2)
{
    char folder[MAX_PATH_BYTES];
    int least = 0;
    int n = snprintf(folder, sizeof folder, "%s%s", root, path);
    if (n < 0 || (size_t)n >= sizeof folder)
        return 0;
    for (size_t root_len = strlen(root);;) {
        int quota = quota_of(folder, version_2);
        if (quota && (!least || quota < least))
            least = quota;
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < root_len)
            return least;
        *slash = '\0';
    }
}

/* Is "cpu" among controllers such as "cpu,cpuacct"? */
static bool has_cpu(const char *controllers, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t n = strcspn(controllers + at, ",:");
        if (n == 3 && memcmp(controllers + at, "cpu", 3) == 0)
            return true;
        at += n + 1;
    }
    return false;
}

/* A line of the list, "ID:CONTROLLERS:PATH", of version 2 "0::PATH". */
static int quota_of_line(char *line, const char *root)
{
    char mount[MAX_PATH_BYTES];
    char *controllers = strchr(line, ':'),
         *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path)
        return 0;
    size_t len = (size_t)(path - ++controllers);
    path++;
    path[strcspn(path, "\n")] = '\0';
    if (len == 0)
        return least_quota(root, path, true);
    if (!has_cpu(controllers, len))
        return 0;
    snprintf(mount, sizeof mount, "%s/cpu", root); /* a link where it is "cpu,cpuacct" */
    return least_quota(mount, path, false);
}

int cgroup_cpus(const char *list, const char *root)
{
    char line[MAX_PATH_BYTES];
    int least = 0;
    FILE *file = os_fopen(list, "rb");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file)) {
        int quota = quota_of_line(line, root);
        if (quota && (!least || quota < least))
            least = quota;
    }
    fclose(file);
    return least;
}
