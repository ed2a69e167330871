/* hearth tune on the software device: kernels are measured, kept, gone on with, and used. */
#include "spawn.h"

#include <jansson.h>
#include <stdio.h>

#include "base/file.h"
#include "base/os.h"

/* So few tokens that there are few kinds of operations. */
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

/* Goes on with the last name that has a text in it. */
struct found {
    const char *part;
    char path[2048];
};

static void take_name(void *user, const char *name)
{
    struct found *found = user;
    if (name[0] != '.' && strstr(name, found->part))
        snprintf(found->path + strlen(found->path), 64, "/%.60s", name);
}

static void go_into(struct found *found, const char *part)
{
    char folder[2048];
    found->part = part;
    snprintf(folder, sizeof folder, "%s", found->path);
    (void)!os_list_folder(folder, take_name, found);
}

/* The file of the device; "": there is none. */
static const char *kernels_file(void)
{
    static struct found found;
    snprintf(found.path, sizeof found.path, "%s/kernels", cache + strlen("HEARTH_CACHE="));
    go_into(&found, ".json");
    return strstr(found.path, ".json") ? found.path : "";
}

static int number(const json_t *root, const char *name)
{
    return (int)json_integer_value(json_object_get(json_object_get(root, "kernels"), name));
}

struct counts {
    int classes, measured, left, faster;
};

/* Tunes for so long; what was measured must be less left. */
static struct counts tune(struct spawn *s, const char *seconds, const struct counts *before)
{
    RUN(s, TUNE, "--kernels-seconds", seconds, "--json");
    assert_code(s, 0);
    json_t *root = json_loads(s->out.ptr, 0, NULL);
    assert_non_null(root);
    const struct counts now = {number(root, "classes"), number(root, "measured"),
                               number(root, "left"), number(root, "faster")};
    assert_int_equal(number(root, "wrong"), 0);
    assert_true(now.classes >= 8 && now.measured >= 0);
    assert_int_equal(now.left, (before ? before->left : now.classes) - now.measured);
    assert_true(!before || now.classes == before->classes);
    assert_true(kernels_file()[0]);
    json_decref(root);
    spawn_free(s);
    return now;
}

/* The second time goes on where the first ended. All of it takes longer than that. */
TEST(kernels_are_measured_bit_by_bit)
{
    struct spawn s = begin();
    struct counts first = tune(&s, "2", NULL);
    assert_true(first.left > 0);
    struct counts second = tune(&s, "3", &first);
    assert_true(first.measured + second.measured > 0);
}

/* And what is opened goes by it. */
TEST(until_nothing_is_left)
{
    struct spawn s = begin();
    struct counts now = tune(&s, "300", NULL);
    assert_int_equal(now.left, 0);
    RUN(&s, TUNE, "--kernels-seconds", "300");
    assert_code(&s, 0);
    assert_contains(s.out.ptr, "nothing is left to measure");
    assert_contains(s.out.ptr, "kernels: 0 of ");
    spawn_free(&s);
    RUN(&s, RUN_MODEL, "-v");
    assert_code(&s, 0);
    assert_true(!strstr(s.err.ptr, "the kernels that hearth tune found") == !now.faster);
    spawn_free(&s);
    RUN(&s, RUN_MODEL, "-v", "--untuned");
    assert_code(&s, 0);
    assert_null(strstr(s.err.ptr, "the kernels that hearth tune found"));
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

/* --- around the plan -------------------------------------------------------------------------- */

#define TUNE_CPU                                                                                   \
    "tune", "synth:tiny-llama:q4_0", "--device", "cpu", "--ctx", "64", "--kernels-seconds", "0"

/* A search that ends before it found something leaves what an earlier one found. */
TEST(what_was_found_before_stays)
{
    struct spawn s = {.env = {cache}};
    static struct found found;
    snprintf(cache, sizeof cache, "HEARTH_CACHE=%s", spawn_temp("found before"));
    RUN(&s, TUNE_CPU);
    assert_code(&s, 0);
    spawn_free(&s);
    snprintf(found.path, sizeof found.path, "%s/tuned", cache + strlen("HEARTH_CACHE="));
    go_into(&found, "");
    go_into(&found, ".json");
    json_t *root = json_load_file(found.path, 0, NULL);
    assert_int_equal(json_object_set_new(root, "batch", json_integer(77)), 0);
    assert_int_equal(json_dump_file(root, found.path, 0), 0);
    json_decref(root);
    RUN(&s, TUNE_CPU, "--minutes", "0.0001");
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "what was found before, if anything was, is still used");
    spawn_free(&s);
    RUN(&s, "run", "synth:tiny-llama:q4_0", "--device", "cpu", "--raw", "-p", "a", "-n", "1", "-v");
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "as hearth tune found best for this model on this machine");
    assert_contains(s.err.ptr, " 77 tokens at once");
    spawn_free(&s);
}
