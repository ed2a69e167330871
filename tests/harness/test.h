/*
 * test.h — a thin layer over cmocka: tests register themselves, run by name, and find their data.
 *
 *   TEST(name) { assert_int_equal(1 + 1, 2); }
 *
 * The build reads the TEST lines of a file and makes each a ctest entry "FILE.name". A test program
 * runs all its tests, or those whose names are given as arguments; --list prints them.
 */
#ifndef HARNESS_TEST_H
#define HARNESS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <string.h>
#include <cmocka.h>

#include "base/log.h"
#include "base/str.h"

#define TEST(name)                                                                                 \
    static void test_##name(void **state);                                                         \
    __attribute__((constructor)) static void register_##name(void)                                 \
    {                                                                                              \
        test_register(#name, test_##name);                                                         \
    }                                                                                              \
    static void test_##name(void **state __attribute__((unused)))

void test_register(const char *name, void (*fn)(void **state));

/* The folder of golden data (HEARTH_GOLDEN or ../shared/golden beside the source tree), or skips
 * the test, saying so; with HEARTH_REQUIRE_GOLDEN=1 fails it. */
const char *test_golden(void);

/* A path inside the golden folder; valid until the next four calls. */
const char *test_golden_path(const char *fmt, ...) ATTR_PRINTF(1, 2);

/* SmolLM2-135M-Instruct: HEARTH_MODEL_SMOLLM2, or where scripts/fetch-model puts it; or skips the
 * test as test_golden does. */
const char *test_real_model(void);

/* A path inside tests/data of the source tree; valid until the next four calls. */
const char *test_data_path(const char *fmt, ...) ATTR_PRINTF(1, 2);

/* A file name in this test program's own temporary folder, which is removed at exit with all that
 * is in it. Every test begins with an empty cache there (HEARTH_CACHE): what is kept of the
 * machine, the user's or what other tests taught, decides nothing. */
const char *test_temp_path(const char *fmt, ...) ATTR_PRINTF(1, 2);

/* The same, made an empty folder; valid until the next four calls. */
const char *test_fresh_folder(const char *name);

/* Removes a folder and all that is in it, or a file. */
void test_remove_folder(const char *path);

/* Writes a file whole; asserts that a file's whole contents are a text. */
void test_put_bytes(const char *path, const void *bytes, size_t n);
void test_put_text(const char *path, const char *text);
void test_assert_text(const char *path, const char *text);

/* An empty cache (HEARTH_CACHE, test_temp_path("cache")) and an empty log, as each test begins. */
void test_fresh_cache(void);

/* Sets a variable of this process's environment; NULL takes it away. */
void test_set_env(const char *name, const char *value);

/* Skips the test with a reason (ctest counts it as skipped). */
void test_skip(const char *why, ...) ATTR_PRINTF(1, 2);

/* The same for want of a device that computes: with HEARTH_REQUIRE_DEVICE=1 the test fails. */
void test_skip_device(const char *why, ...) ATTR_PRINTF(1, 2);

/* Calls `before` at the beginning of every test and `after` at the end of each that has neither
 * failed nor skipped; `after` may do either. For code that tests of a folder share. */
void test_around_each(void (*before)(void), void (*after)(void));

/* A log that keeps its lines for `test_log_text` (all of them, joined by newlines). */
const struct log *test_log(void);
const char *test_log_text(void);
void test_log_clear(void);

/* assert that the captured log contains a text. */
#define assert_logged(text)                                                                        \
    do {                                                                                           \
        if (!strstr(test_log_text(), (text)))                                                      \
            fail_msg("the log lacks \"%s\"; it says:\n%s", (text), test_log_text());               \
    } while (0)

/* Σ(a−b)² / Σa², a the reference; both of n floats. NaN anywhere gives infinity. */
double test_nmse(const float *reference, const float *values, size_t n);

/* Runs `fn(arg)` with the k-th allocation failing, k = 0, 1, …, until it returns HTH_OK with none
 * failed; asserts that every other time it returned HTH_ERROR_MEMORY. Leaks are ASan's to find. */
void test_each_allocation_fails(enum hth_status (*fn)(void *arg), void *arg);

#endif
