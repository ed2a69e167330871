#include "harness/test.h"

#include <stdio.h>

#include "base/os.h"

/* What the harness promises of the place where tests run. */

static void count(void *user, const char *name)
{
    *(int *)user += name[0] != '.';
}

/* The cache is empty and in the temporary folder; leaves something for the next test to find. */
static void check_cache(void)
{
    struct strbuf folder = {0};
    char left[1100];
    int n = 0;
    assert_true(os_cache_folder(&folder));
    assert_string_equal(folder.ptr, test_temp_path("cache"));
    assert_true(os_list_folder(folder.ptr, count, &n));
    assert_int_equal(n, 0);
    snprintf(left, sizeof left, "%s/measured", folder.ptr);
    assert_true(os_make_folders(left));
    test_put_text(test_temp_path("cache/measured/cpu.json"), "{}");
    test_set_env("HEARTH_CACHE", "/nowhere");
    strbuf_free(&folder);
}

TEST(a_test_begins_with_an_empty_cache)
{
    check_cache();
}

TEST(and_so_does_the_next)
{
    check_cache();
}
