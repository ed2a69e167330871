/* hearth tune on the software device: kernels are measured, kept, gone on with, and used. */
#include "spawn.h"

#include <jansson.h>
#include <stdio.h>

#include "base/file.h"
#include "base/os.h"

/* So few tokens that there are few kinds of products. */
#define TUNE                                                                                       \
    "tune", "synth:tiny-llama:q4_0", "--device", "vulkan:0", "--ctx", "64", "--minutes", "0.0001"
#define RUN_MODEL                                                                                  \
    "run", "synth:tiny-llama:q4_0", "--device", "vulkan:0", "--raw", "-p", "a", "-n", "2"

static char cache[1100];

static struct spawn begin(void)
{
    static int n;
    char name[32];
    snprintf(name, sizeof name, "tuned %d", n++);
    spawn_need_device();
    snprintf(cache, sizeof cache, "HEARTH_CACHE=%s", spawn_temp(name));
    return (struct spawn){.env = {cache}};
}

static void take_name(void *user, const char *name)
{
    char *path = user;
    if (strstr(name, ".json"))
        snprintf(path, 2048, "%s/kernels/%s", cache + strlen("HEARTH_CACHE="), name);
}

/* The file of the device; "": there is none. */
static const char *kernels_file(void)
{
    static char path[2048];
    char folder[1200];
    path[0] = '\0';
    snprintf(folder, sizeof folder, "%s/kernels", cache + strlen("HEARTH_CACHE="));
    (void)!os_list_folder(folder, take_name, path);
    return path;
}

static int number(const json_t *root, const char *name)
{
    return (int)json_integer_value(json_object_get(json_object_get(root, "kernels"), name));
}

/* Until nothing is left, each time with what was left before. */
TEST(kernels_are_measured_bit_by_bit)
{
    struct spawn s = begin();
    int left = 0, all = 0, rounds = 0, faster = 0;
    do {
        RUN(&s, TUNE, "--kernels-seconds", rounds ? "120" : "2", "--json");
        assert_code(&s, 0);
        json_t *root = json_loads(s.out.ptr, 0, NULL);
        assert_non_null(root);
        all = rounds ? all : number(root, "classes");
        int before = rounds ? left : all;
        left = number(root, "left");
        faster = number(root, "faster");
        assert_int_equal(number(root, "classes"), all);
        assert_int_equal(number(root, "measured"), before - left);
        assert_int_equal(number(root, "wrong"), 0);
        json_decref(root);
        spawn_free(&s);
        assert_true(kernels_file()[0]);
        assert_true(rounds++ < 4);
    } while (left);
    assert_true(all >= 8);
    RUN(&s, TUNE, "--kernels-seconds", "120");
    assert_code(&s, 0);
    assert_contains(s.out.ptr, "nothing is left to measure");
    assert_contains(s.out.ptr, "kernels: 0 of ");
    spawn_free(&s);
    RUN(&s, RUN_MODEL, "-v"); /* and what is opened goes by it */
    assert_code(&s, 0);
    assert_true(!strstr(s.err.ptr, "the kernels that hearth tune found") == !faster);
    spawn_free(&s);
}

TEST(no_time_for_kernels)
{
    struct spawn s = begin();
    RUN(&s, TUNE, "--kernels-seconds", "0");
    assert_code(&s, 0);
    assert_null(strstr(s.out.ptr, "kernels"));
    assert_string_equal(kernels_file(), "");
    spawn_free(&s);
    RUN(&s, TUNE, "--kernels-seconds", "-1");
    spawn_assert_refused(&s, 2, "--kernels-seconds");
    spawn_free(&s);
}

/* What was found until then is kept. */
TEST(interrupted_while_kernels_are_measured)
{
    struct spawn s = begin();
    s.interrupt_at = 1;
    RUN(&s, TUNE, "--kernels-seconds", "600");
    assert_code(&s, 130);
    assert_contains(s.out.ptr, "are left: hearth tune goes on with them the next time");
    assert_true(kernels_file()[0]);
    spawn_free(&s);
}

/* A file that is not as it was written is said once, unless it is not asked for; then there is a
 * new one, of which nothing is said. */
TEST(a_broken_file_is_said_once)
{
    struct spawn s = begin();
    RUN(&s, TUNE, "--kernels-seconds", "1");
    assert_code(&s, 0);
    spawn_free(&s);
    const char *path = kernels_file();
    assert_true(path[0]);
    test_put_text(path, "{\"of\": \"what");
    RUN(&s, RUN_MODEL, "--untuned");
    assert_code(&s, 0);
    assert_null(strstr(s.err.ptr, "is ignored"));
    spawn_free(&s);
    RUN(&s, RUN_MODEL);
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "is ignored, as it is no JSON");
    spawn_free(&s);
    RUN(&s, RUN_MODEL);
    assert_code(&s, 0);
    assert_null(strstr(s.err.ptr, "is ignored"));
    spawn_free(&s);
}
