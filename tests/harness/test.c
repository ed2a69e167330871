#define _POSIX_C_SOURCE 200112L /* setenv */
#include "harness/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(_WIN32)
#include <direct.h>
#else
#include <unistd.h>
#endif

#include "base/file.h"
#include "base/mem.h"
#include "base/os.h"

enum { MAX_TESTS = 2000, SKIPPED = 77 };

/* What a test is registered with: cmocka hands it on as the test's state. */
struct registered {
    void (*fn)(void **state);
};

static struct CMUnitTest tests[MAX_TESTS];
static struct registered registered[MAX_TESTS];
static void (*before_each)(void), (*after_each)(void);
static size_t n_tests;
static bool any_skipped;
static struct strbuf log_text;
static struct strbuf temp_folder;
static struct strbuf user_cache; /* the user's own, which tests do not touch */

static void run_registered(void **state)
{
    const struct registered *test = *state;
    test_fresh_cache();
    if (before_each)
        before_each();
    test->fn(state);
    if (after_each)
        after_each();
}

void test_register(const char *name, void (*fn)(void **state))
{
    if (n_tests == MAX_TESTS)
        abort();
    registered[n_tests].fn = fn;
    tests[n_tests] = (struct CMUnitTest){
        .name = name, .test_func = run_registered, .initial_state = &registered[n_tests]};
    n_tests++;
}

void test_around_each(void (*before)(void), void (*after)(void))
{
    before_each = before;
    after_each = after;
}

static const char *format_path(const char *folder, const char *fmt, va_list args)
{
    static char paths[4][1024];
    static unsigned next;
    char *path = paths[next++ % 4];
    int n = snprintf(path, sizeof paths[0], "%s/", folder);
    vsnprintf(path + n, sizeof paths[0] - (size_t)n, fmt, args);
    return path;
}

const char *test_golden(void)
{
    static char folder[1024];
    const char *from_env = getenv("HEARTH_GOLDEN");
    snprintf(folder, sizeof folder, "%s",
             from_env && *from_env ? from_env : HEARTH_SOURCE_DIR "/../shared/golden");
    if (os_stat(folder, NULL, NULL) != OS_FILE_FOLDER) {
        const char *require = getenv("HEARTH_REQUIRE_GOLDEN");
        if (require && strcmp(require, "1") == 0)
            fail_msg("golden data is required, and %s is not there", folder);
        test_skip("no golden data: set HEARTH_GOLDEN to its folder");
    }
    return folder;
}

const char *test_golden_path(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *path = format_path(test_golden(), fmt, args);
    va_end(args);
    return path;
}

const char *test_real_model(void)
{
    static char path[1024];
    const char *given = getenv("HEARTH_MODEL_SMOLLM2");
    if (given && *given)
        snprintf(path, sizeof path, "%s", given);
    else if (user_cache.ptr)
        snprintf(path, sizeof path, "%s/SmolLM2-135M-Instruct.Q4_1.gguf", user_cache.ptr);
    if (os_stat(path, NULL, NULL) != OS_FILE_REGULAR) {
        const char *require = getenv("HEARTH_REQUIRE_GOLDEN");
        if (require && strcmp(require, "1") == 0)
            fail_msg("the real model is required, and %s is not there", path);
        test_skip("no real model: run scripts/fetch-model, or set HEARTH_MODEL_SMOLLM2");
    }
    return path;
}

const char *test_data_path(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *path = format_path(HEARTH_SOURCE_DIR "/tests/data", fmt, args);
    va_end(args);
    return path;
}

const char *test_temp_path(const char *fmt, ...)
{
    if (temp_folder.len == 0) { /* Wine's programs have numbers that others may have, too */
        const char *base = getenv("TMPDIR");
        strbuf_printf(&temp_folder, "%s/hearth-test-%lu-%llx", base && *base ? base : "/tmp",
                      os_process_id(), (unsigned long long)os_time_ns());
        assert_true(os_make_folders(temp_folder.ptr));
    }
    va_list args;
    va_start(args, fmt);
    const char *path = format_path(temp_folder.ptr, fmt, args);
    va_end(args);
    return path;
}

static void remove_entry(void *user, const char *name)
{
    char path[1100];
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return;
    snprintf(path, sizeof path, "%s/%s", (const char *)user, name);
    test_remove_folder(path);
}

void test_remove_folder(const char *path)
{
    if (os_remove(path)) /* a file, or a link to a folder that is none of ours */
        return;
    os_list_folder(path, remove_entry, (void *)(uintptr_t)path);
#if defined(_WIN32)
    _rmdir(path);
#else
    rmdir(path);
#endif
}

const char *test_fresh_folder(const char *name)
{
    const char *path = test_temp_path("%s", name);
    test_remove_folder(path);
    assert_true(os_make_folders(path));
    return path;
}

void test_fresh_cache(void)
{
    test_set_env("HEARTH_CACHE", test_fresh_folder("cache"));
    test_log_clear();
}

void test_put_bytes(const char *path, const void *bytes, size_t n)
{
    struct file_writer writer;
    assert_int_equal(file_begin(&writer, path, test_log()), HTH_OK);
    file_put(&writer, bytes, n);
    assert_int_equal(file_commit(&writer), HTH_OK);
}

void test_put_text(const char *path, const char *text)
{
    test_put_bytes(path, text, strlen(text));
}

void test_assert_text(const char *path, const char *text)
{
    struct strbuf buf = {0};
    assert_int_equal(file_read(path, 1 << 20, &buf, test_log()), HTH_OK);
    assert_string_equal(buf.ptr ? buf.ptr : "", text);
    strbuf_free(&buf);
}

void test_set_env(const char *name, const char *value)
{
#if defined(_WIN32)
    assert_int_equal(_putenv_s(name, value ? value : ""), 0);
#else
    assert_int_equal(value ? setenv(name, value, 1) : unsetenv(name), 0);
#endif
}

static void say_skipped(const char *why, va_list args)
{
    fputs("skipped: ", stdout);
    vprintf(why, args);
    putchar('\n');
    any_skipped = true;
}

void test_skip(const char *why, ...)
{
    va_list args;
    va_start(args, why);
    say_skipped(why, args);
    va_end(args);
    skip();
}

void test_skip_device(const char *why, ...)
{
    const char *require = getenv("HEARTH_REQUIRE_DEVICE");
    va_list args;
    va_start(args, why);
    say_skipped(why, args);
    va_end(args);
    if (require && strcmp(require, "1") == 0)
        fail_msg("a device is required");
    skip();
}

static void keep_line(void *user, enum hth_log_level level, const char *line)
{
    (void)user;
    (void)level;
    strbuf_append(&log_text, str_of(line));
    strbuf_append_char(&log_text, '\n');
}

const struct log *test_log(void)
{
    static const struct log log = {keep_line, NULL, HTH_LOG_DEBUG};
    return &log;
}

const char *test_log_text(void)
{
    return log_text.ptr ? log_text.ptr : "";
}

void test_log_clear(void)
{
    strbuf_clear(&log_text);
}

double test_nmse(const float *reference, const float *values, size_t n)
{
    double error = 0, power = 0;
    for (size_t i = 0; i < n; i++) {
        double difference = (double)values[i] - reference[i];
        error += difference * difference;
        power += (double)reference[i] * reference[i];
    }
    double nmse = power > 0 ? error / power : (error > 0 ? INFINITY : 0);
    return isnan(nmse) ? INFINITY : nmse;
}

struct countdown {
    long left;
    bool hit;
};

static bool fail_at_zero(void *user, size_t size)
{
    (void)size;
    struct countdown *countdown = user;
    if (countdown->left-- == 0) {
        countdown->hit = true;
        return false;
    }
    return true;
}

void test_each_allocation_fails(enum hth_status (*fn)(void *arg), void *arg)
{
    for (long k = 0; k < 1000000; k++) {
        struct countdown countdown = {.left = k};
        mem_set_hook(fail_at_zero, &countdown);
        enum hth_status status = fn(arg);
        mem_set_hook(NULL, NULL);
        if (!countdown.hit) {
            assert_int_equal(status, HTH_OK);
            return;
        }
        if (status != HTH_ERROR_MEMORY)
            fail_msg("allocation %ld failed, and the status was \"%s\"", k,
                     hth_status_name(status));
    }
    fail_msg("more than a million allocations");
}

/* Called at exit, as devices that a program of tests closes only then write to the folder, too. */
static void clean_up(void)
{
    if (temp_folder.len)
        test_remove_folder(temp_folder.ptr);
    strbuf_free(&temp_folder);
    strbuf_free(&user_cache);
    strbuf_free(&log_text);
}

static bool selected(const char *name, int argc, char **argv)
{
    bool any = false;
    for (int i = 1; i < argc; i++) {
        any = true;
        if (strcmp(argv[i], name) == 0)
            return true;
    }
    return !any;
}

int main(int argc, char **argv)
{
    os_program_start();
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < n_tests; i++)
            puts(tests[i].name);
        return 0;
    }
    size_t n = 0;
    for (size_t i = 0; i < n_tests; i++)
        if (selected(tests[i].name, argc, argv))
            tests[n++] = tests[i];
    if (n == 0) {
        fprintf(stderr, "no such test; --list shows them\n");
        return 1;
    }
    atexit(clean_up); /* first, so that it is the last to be called */
    os_cache_folder(&user_cache);
    int n_failed = _cmocka_run_group_tests("hearth", tests, n, NULL, NULL);
    if (n_failed)
        return 1;
    return n == 1 && any_skipped ? SKIPPED : 0;
}
