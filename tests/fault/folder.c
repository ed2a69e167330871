#define _XOPEN_SOURCE 700 /* nftw, setenv */
#include "folder.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "harness/test.h"

static const char *wanted;
static int found;

static int count_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    found += kind == FTW_F && strstr(path + where->base, wanted);
    return 0;
}

int folder_count(const char *path, const char *part)
{
    wanted = part;
    found = 0;
    nftw(path, count_one, 8, FTW_PHYS);
    return found;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

void folder_remove(const char *path)
{
    nftw(path, remove_one, 8, FTW_PHYS | FTW_DEPTH);
}

const char *folder_fresh(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s", test_temp_path("%s", name));
    folder_remove(path);
    assert_true(os_make_folders(path));
    return path;
}

static void before(void)
{
    setenv("HEARTH_CACHE", folder_fresh("cache"), 1);
}

static void after(void)
{
    folder_remove(getenv("HEARTH_CACHE"));
}

void folder_cache_of_each_test(void)
{
    test_around_each(before, after);
}
