/* The fences of op tests (op/op_fence_posix.c): around what the software device maps, and only
 * there. */
#define _GNU_SOURCE
#include "harness/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Does a mapping that nobody may touch end at an address? */
static bool is_fenced(const void *address)
{
    char line[512], permissions[8];
    unsigned long from, to;
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (!maps)
        test_skip("this system does not say what is mapped");
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %7s", &from, &to, permissions) == 3 &&
            to == (unsigned long)address)
            found |= strcmp(permissions, "---p") == 0;
    fclose(maps);
    return found;
}

static bool maps_with_fence(const char *software)
{
    enum { BYTES = 1 << 16 };
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), BYTES), 0);
    if (software)
        setenv("HEARTH_TEST_SOFTWARE", software, 1);
    else
        unsetenv("HEARTH_TEST_SOFTWARE");
    char *bytes = mmap64(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    assert_true(bytes != MAP_FAILED);
    memset(bytes, 1, BYTES); /* all of it is there */
    bool fenced = is_fenced(bytes);
    assert_int_equal(munmap(bytes, BYTES), 0);
    fclose(file);
    return fenced;
}

TEST(only_the_software_device_is_fenced)
{
    /* in this order, as fences stay, and what comes next takes the place between them */
    assert_false(maps_with_fence(NULL));
    assert_false(maps_with_fence("0"));
    assert_true(maps_with_fence("1"));
}
