#include "harness/test.h"

#include <stdio.h>

#include "base/cgroup.h"
#include "base/os.h"

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static char made[24][1024];
static size_t n_made;

/* A group's folder below "groups", made with its parents. */
static void group(const char *path, const char *name, const char *text)
{
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", test_temp_path("groups%s", path));
    assert_true(os_make_folders(folder));
    assert_true(n_made < ARRAY_LEN(made));
    snprintf(made[n_made], sizeof made[0], "%s", test_temp_path("groups%s/%s", path, name));
    write_text(made[n_made++], text);
}

/* The files, and each folder that is empty then. */
static void remove_groups(void)
{
    for (; n_made > 0; n_made--) {
        char *path = made[n_made - 1];
        while (strstr(path, "/groups") &&
               (remove(path) == 0 || strstr(path, "/cpu.") || strstr(path, "/memory."))) {
            char *slash = strrchr(path, '/');
            *slash = '\0';
        }
    }
}

__attribute__((constructor)) static void start(void)
{
    test_around_each(NULL, remove_groups);
}

static const char *listed(const char *list)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s", test_temp_path("list"));
    write_text(path, list);
    return path;
}

static int cpus(const char *list)
{
    return cgroup_cpus(listed(list), test_temp_path("groups"));
}

static uint64_t memory_left(const char *list)
{
    return cgroup_memory_left(listed(list), test_temp_path("groups"));
}

TEST(version_2)
{
    group("/two/quota", "cpu.max", "250000 100000\n");
    group("/two/free", "cpu.max", "max 100000\n");
    group("/two/odd", "cpu.max", "none\n");
    group("/two/zero", "cpu.max", "0 0\n");
    assert_int_equal(cpus("0::/two/quota\n"), 3); /* 2.5, rounded up */
    assert_int_equal(cpus("0::/two/free\n"), 0);
    assert_int_equal(cpus("0::/two/odd\n"), 0);
    assert_int_equal(cpus("0::/two/zero\n"), 0);
    assert_int_equal(cpus("0::/two/not/there\n"), 0);
}

TEST(the_least_of_all_above)
{
    group("/all", "cpu.max", "400000 100000\n");
    group("/all/of/them", "cpu.max", "800000 100000\n");
    assert_int_equal(cpus("0::/all/of/them\n"), 4);
    group("/all/of/them", "cpu.max", "50000 100000\n");
    assert_int_equal(cpus("0::/all/of/them\n"), 1);
}

TEST(version_1)
{
    group("/cpu/one", "cpu.cfs_quota_us", "200000\n");
    group("/cpu/one", "cpu.cfs_period_us", "100000\n");
    group("/cpu/free", "cpu.cfs_quota_us", "-1\n");
    group("/cpu/free", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus("5:cpuset:/one\n3:cpu,cpuacct:/one\n0::/\n"), 2);
    assert_int_equal(cpus("3:cpuacct,cpu:/one\n"), 2);
    assert_int_equal(cpus("3:cpuacct:/one\n"), 0);
    assert_int_equal(cpus("3:cpu:/free\n"), 0);
}

/* The host's path, with the container's own group mounted as the root. */
TEST(a_path_of_the_host)
{
    group("/cpu", "cpu.cfs_quota_us", "300000\n");
    group("/cpu", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus("3:cpu:/docker/0123\n"), 3);
}

TEST(lists_that_are_none)
{
    assert_int_equal(cpus(""), 0);
    assert_int_equal(cpus("\n:\n::\nabc\n1:cpu\n"), 0);
    assert_int_equal(cgroup_cpus(test_temp_path("absent"), "/"), 0);
    assert_true(memory_left("") == UINT64_MAX);
    assert_true(memory_left("\n:\n::\nabc\n1:memory\n") == UINT64_MAX);
    assert_true(cgroup_memory_left(test_temp_path("absent"), "/") == UINT64_MAX);
}

/* --- memory ----------------------------------------------------------------------------------- */

TEST(memory_of_version_2)
{
    group("/two/box", "memory.max", "1000000\n");
    group("/two/box", "memory.current", "700000\n");
    assert_true(memory_left("0::/two/box\n") == 300000);
    group("/two/box", "memory.stat",
          "anon 400000\ninactive_file_more 9\ninactive_file 200000\nactive_file 100000\n");
    assert_true(memory_left("0::/two/box\n") == 500000);
    group("/two/box", "memory.stat", "inactive_file 800000\n"); /* counted a moment later */
    assert_true(memory_left("0::/two/box\n") == 1000000);
    group("/two/full", "memory.max", "5\n");
    group("/two/full", "memory.current", "6\n");
    assert_true(memory_left("0::/two/full\n") == 0);
    group("/two/free", "memory.max", "max\n");
    group("/two/free", "memory.current", "6\n");
    assert_true(memory_left("0::/two/free\n") == UINT64_MAX);
    assert_true(memory_left("0::/two/box/below/it\n") == 1000000);
}

TEST(memory_of_version_1)
{
    group("/memory/one", "memory.limit_in_bytes", "1000000\n");
    group("/memory/one", "memory.usage_in_bytes", "600000\n");
    group("/memory/one", "memory.stat", "cache 5\ntotal_inactive_file 100000\n");
    assert_true(memory_left("5:cpu:/one\n4:memory:/one\n") == 500000);
    assert_true(memory_left("5:cpu:/one\n") == UINT64_MAX);
}
