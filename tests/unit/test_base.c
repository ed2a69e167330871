#include "harness/test.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/half.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/pool.h"
#include "base/rng.h"

/* --- memory -------------------------------------------------------------------------------------
 */

static bool refuse(void *user, size_t size)
{
    (void)user;
    (void)size;
    return false;
}

static bool note_and_refuse(void *user, size_t size)
{
    (void)size;
    *(bool *)user = true;
    return false;
}

TEST(arena_gives_zeroed_aligned_memory_that_stays)
{
    struct arena arena = {0};
    unsigned char *pieces[200];
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        size_t size = i * 37 % 5000;
        pieces[i] = arena_alloc(&arena, size);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        for (size_t k = 0; k < size; k++)
            assert_int_equal(pieces[i][k], 0);
        memset(pieces[i], (int)i, size);
    }
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++)
        for (size_t k = 0; k < i * 37 % 5000; k++)
            assert_int_equal(pieces[i][k], i & 0xff);
    assert_string_equal(arena_printf(&arena, "%d-%s", 42, "x"), "42-x");
    assert_string_equal(arena_strdup(&arena, "hearth"), "hearth");
    assert_string_equal(arena_strndup(&arena, "hearth", 3), "hea");
    unsigned char *large = arena_alloc(&arena, 1000000);
    assert_non_null(large);
    assert_int_equal(large[999999], 0);
    arena_clear(&arena);
    assert_int_equal(arena.used_bytes, 0);
    unsigned char *again = arena_alloc(&arena, 64); /* memory written to before */
    for (size_t k = 0; k < 64; k++)
        assert_int_equal(again[k], 0);
    arena_free(&arena);
    arena_clear(&arena);
    assert_null(arena.blocks);
}

TEST(arena_refuses_what_cannot_be)
{
    struct arena arena = {0};
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, SIZE_MAX / 2 + 1));
    assert_null(arena_calloc(&arena, SIZE_MAX / 4, 8));
    assert_null(arena_strndup(&arena, "", SIZE_MAX));
    mem_set_hook(refuse, NULL);
    void *ptr = arena_alloc(&arena, 1);
    char *text = arena_printf(&arena, "%d", 1);
    mem_set_hook(NULL, NULL);
    assert_null(ptr);
    assert_null(text);
    arena_free(&arena);
}

TEST(mem_refuses_zero_and_overflow)
{
    assert_null(mem_alloc(0));
    assert_null(mem_calloc(0, 8));
    assert_null(mem_calloc(SIZE_MAX / 2, 3));
    assert_null(mem_alloc_aligned(SIZE_MAX - 8, 64));
    for (size_t align = 1; align <= 4096; align *= 2) {
        char *ptr = mem_alloc_aligned(100, align);
        assert_non_null(ptr);
        assert_int_equal((uintptr_t)ptr % align, 0);
        memset(ptr, 1, 100);
        mem_free_aligned(ptr);
    }
    mem_free_aligned(NULL);
    uint64_t out;
    assert_true(mul_u64(UINT32_MAX, UINT32_MAX, &out));
    assert_false(mul_u64(UINT64_MAX / 2, 3, &out));
    assert_false(add_u64(UINT64_MAX, 1, &out));
    assert_int_equal(align_up(0, 32), 0);
    assert_int_equal(align_up(33, 32), 64);
    assert_int_equal(div_up(33, 32), 2);
}

TEST(mem_grow_keeps_the_items_and_fails_clean)
{
    int *items = NULL;
    size_t capacity = 0;
    for (size_t n = 0; n < 1000; n++) {
        int *grown = mem_grow(items, &capacity, n + 1, sizeof *items);
        assert_non_null(grown);
        assert_true(capacity > n);
        items = grown;
        items[n] = (int)n;
    }
    size_t before = capacity;
    bool asked = false; /* a size that wrapped around must not even be asked for */
    mem_set_hook(note_and_refuse, &asked);
    assert_null(mem_grow(items, &capacity, (SIZE_MAX >> 3) + 2, 5));
    mem_set_hook(NULL, NULL);
    assert_false(asked);
    assert_null(mem_grow(items, &capacity, SIZE_MAX / 2, sizeof *items));
    assert_null(mem_grow(items, &capacity, SIZE_MAX, 1));
    mem_set_hook(refuse, NULL);
    void *grown = mem_grow(items, &capacity, capacity + 1, sizeof *items);
    mem_set_hook(NULL, NULL);
    assert_null(grown);
    assert_int_equal(capacity, before);
    for (size_t n = 0; n < 1000; n++)
        assert_int_equal(items[n], n);
    mem_free(items);
}

/* --- strings ------------------------------------------------------------------------------------
 */

TEST(str_compares_and_slices)
{
    struct str none = {0};
    assert_true(str_equal(none, STR("")));
    assert_true(str_equal(STR("a\0b"), STR("a\0b")));
    assert_false(str_equal(STR("a\0b"), STR("a\0c")));
    assert_true(str_equal_nocase(STR("Q4_k"), STR("q4_K")));
    assert_false(str_equal_nocase(STR("@"), STR("`"))); /* differ by the case bit, no letters */
    assert_true(str_starts_with(STR("blk.0"), STR("blk.")));
    assert_false(str_starts_with(STR("bl"), STR("blk.")));
    assert_true(str_ends_with(STR("x.gguf"), STR(".gguf")));
    assert_false(str_ends_with(STR("gguf"), STR(".gguf")));
    assert_true(str_ends_with(none, none));
    assert_true(str_compare(STR("a"), STR("b")) < 0);
    assert_true(str_compare(STR("a"), STR("ab")) < 0);
    assert_true(str_compare(STR("\xff"), STR("a")) > 0);
    assert_int_equal(str_compare(none, STR("")), 0);
    assert_true(str_equal(str_slice(STR("hearth"), 2, 4), STR("ar")));
    assert_true(str_equal(str_slice(STR("hearth"), 4, 100), STR("th")));
    assert_int_equal(str_slice(STR("hearth"), 100, 2).len, 0);
    assert_int_equal(str_of(NULL).len, 0);
}

TEST(strbuf_grows_and_remembers_failure)
{
    struct strbuf buf = {0};
    for (int i = 0; i < 1000; i++)
        strbuf_printf(&buf, "%d,", i);
    assert_false(buf.failed);
    assert_int_equal(buf.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_int_equal(buf.ptr[buf.len], 0);
    strbuf_append(&buf, (struct str){0});
    strbuf_clear(&buf);
    assert_int_equal(buf.len, 0);
    assert_string_equal(buf.ptr, "");
    strbuf_free(&buf);
    strbuf_append(&buf, STR("ab"));
    for (int i = 0; i < 10; i++)
        strbuf_append(&buf, strbuf_str(&buf)); /* a piece of itself, while it moves */
    assert_int_equal(buf.len, 2048);
    for (size_t i = 0; i < buf.len; i++)
        assert_int_equal(buf.ptr[i], "ab"[i % 2]);
    mem_set_hook(refuse, NULL);
    strbuf_append(&buf, (struct str){buf.ptr, buf.len});
    strbuf_append(&buf, (struct str){buf.ptr, buf.len});
    mem_set_hook(NULL, NULL);
    assert_true(buf.failed);
    size_t len = buf.len;
    strbuf_append_char(&buf, 'x');
    assert_int_equal(buf.len, len);
    strbuf_free(&buf);
    strbuf_free(&buf);
}

TEST(strbuf_writes_utf8)
{
    static const struct {
        unsigned codepoint;
        const char *bytes;
    } cases[] = {
        {0x24, "$"},
        {0x7f, "\x7f"},
        {0x80, "\xc2\x80"},
        {0x7ff, "\xdf\xbf"},
        {0x800, "\xe0\xa0\x80"},
        {0xd7ff, "\xed\x9f\xbf"},
        {0xffff, "\xef\xbf\xbf"},
        {0x10000, "\xf0\x90\x80\x80"},
        {0x10ffff, "\xf4\x8f\xbf\xbf"},
        {0xd800, "\xef\xbf\xbd"},
        {0xdfff, "\xef\xbf\xbd"},
        {0x110000, "\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct strbuf buf = {0};
        strbuf_append_utf8(&buf, cases[i].codepoint);
        assert_string_equal(buf.ptr, cases[i].bytes);
        strbuf_free(&buf);
    }
}

/* --- half floats --------------------------------------------------------------------------------
 */

/* What the bits mean, by the definition of the format: sign, exponent, fraction. */
static double slow_half(uint32_t bits, int fraction_bits, int exponent_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1;
    uint32_t fraction = bits & ((1u << fraction_bits) - 1);
    int exponent = (int)(bits >> fraction_bits & ((1u << exponent_bits) - 1));
    double sign = bits >> (fraction_bits + exponent_bits) ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1)
        return fraction ? NAN : sign * INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp(1.0 + ldexp(fraction, -fraction_bits), exponent - bias);
}

/* The nearest representable value, ties to even, by dividing by the distance of neighbours. */
static double slow_round(double value, int fraction_bits, int min_exponent, double overflow)
{
    if (isnan(value) || isinf(value) || value == 0)
        return value;
    int exponent = ilogb(value) < min_exponent ? min_exponent : ilogb(value);
    double quantum = ldexp(1, exponent - fraction_bits);
    double rounded = nearbyint(value / quantum) * quantum;
    return fabs(rounded) >= overflow ? copysign(INFINITY, value) : rounded;
}

static void assert_same(double expected, float got, uint32_t bits)
{
    if (isnan(expected) ? !isnan(got)
                        : (double)got != expected || !signbit(got) != !signbit(expected))
        fail_msg("0x%08x: expected %a, got %a", bits, expected, (double)got);
}

TEST(f16_every_value)
{
    for (uint32_t bits = 0; bits < 65536; bits++) {
        double expected = slow_half(bits, 10, 5);
        assert_same(expected, f16_to_f32((uint16_t)bits), bits);
        uint16_t back = f16_from_f32((float)expected);
        if (isnan(expected))
            assert_true(isnan(f16_to_f32(back)));
        else
            assert_int_equal(back, bits);
    }
}

TEST(bf16_every_value)
{
    for (uint32_t bits = 0; bits < 65536; bits++) {
        double expected = slow_half(bits, 7, 8);
        assert_same(expected, bf16_to_f32((uint16_t)bits), bits);
        uint16_t back = bf16_from_f32((float)expected);
        if (isnan(expected))
            assert_true(isnan(bf16_to_f32(back)));
        else
            assert_int_equal(back, bits);
    }
}

static void check_rounding(uint32_t bits)
{
    float value = f32_from_bits(bits);
    assert_same(slow_round((double)value, 10, -14, 65536), f16_to_f32(f16_from_f32(value)), bits);
    assert_same(slow_round((double)value, 7, -126, 0x1p128), bf16_to_f32(bf16_from_f32(value)),
                bits);
}

TEST(half_rounding_of_random_floats)
{
    struct rng rng = rng_seed(1);
    for (int i = 0; i < 1000000; i++)
        check_rounding(rng_u32(&rng));
    for (int i = 0; i < 1000000; i++) /* where half floats live */
        check_rounding((rng_u32(&rng) & 0x81ffffff) + 0x32000000 + (rng_below(&rng, 16) << 23));
}

TEST(half_rounding_at_every_midpoint)
{
    for (uint32_t h = 0; h < 0x7c00; h++) {
        uint32_t low = f32_to_bits(f16_to_f32((uint16_t)h));
        float next = h == 0x7bff ? 65536.0f : f16_to_f32((uint16_t)(h + 1));
        uint32_t middle = f32_to_bits((float)(((double)f32_from_bits(low) + (double)next) / 2));
        for (int d = -1; d <= 1; d++) {
            check_rounding(middle + (uint32_t)d);
            check_rounding((middle + (uint32_t)d) | 0x80000000);
        }
    }
    for (uint32_t h = 0; h < 0x10000; h++)
        for (uint32_t d = 0x7fff; d <= 0x8001; d++)
            check_rounding(h << 16 | d);
}

/* --- threads ------------------------------------------------------------------------------------
 */

struct job {
    atomic_int seen[5000];
    atomic_int bad_thread;
    int n_threads;
};

static void visit(void *arg, int index, int thread)
{
    struct job *job = arg;
    atomic_fetch_add(&job->seen[index], 1);
    if (thread < 0 || thread >= job->n_threads)
        atomic_store(&job->bad_thread, 1);
}

static void check_pool(struct pool *pool, int count)
{
    static struct job job;
    memset(&job, 0, sizeof job);
    job.n_threads = pool_threads(pool);
    pool_run(pool, visit, &job, count);
    assert_int_equal(job.bad_thread, 0);
    for (int i = 0; i < (int)ARRAY_LEN(job.seen); i++)
        assert_int_equal(job.seen[i], i < count);
}

TEST(pool_runs_every_index_once)
{
    static const int n_threads[] = {1, 2, 3, 9};
    for (size_t t = 0; t < ARRAY_LEN(n_threads); t++) {
        struct pool *pool;
        assert_int_equal(pool_create(&pool, n_threads[t], test_log()), HTH_OK);
        assert_int_equal(pool_threads(pool), n_threads[t]);
        for (int count = 0; count < 20; count++)
            check_pool(pool, count);
        check_pool(pool, 5000);
        pool_destroy(pool);
    }
    check_pool(NULL, 10);
    assert_int_equal(pool_threads(NULL), 1);
    pool_destroy(NULL);
}

static void sleep_ms(uint64_t ms)
{
    for (uint64_t end = os_time_ns() + ms * 1000000; os_time_ns() < end;)
        os_cpu_relax();
}

static void unequal(void *arg, int index, int thread)
{
    (void)thread;
    if (index == 0)
        sleep_ms(3); /* longer than anybody spins */
    atomic_fetch_add((atomic_int *)arg, 1);
}

/* Workers that sleep must be woken, and a caller that sleeps too. */
TEST(pool_wakes_sleepers)
{
    struct pool *pool;
    assert_int_equal(pool_create(&pool, 0, test_log()), HTH_OK);
    pool_destroy(pool);
    assert_int_equal(pool_create(&pool, 4, test_log()), HTH_OK);
    atomic_int done = 0;
    for (int i = 0; i < 60; i++) {
        pool_run(pool, unequal, &done, 4);
        assert_int_equal(done, 4 * (i + 1));
        if (i % 10 == 0)
            sleep_ms(3);
    }
    for (int i = 0; i < 3000; i++) {
        static struct job job;
        job.n_threads = 4;
        pool_run(pool, visit, &job, 3);
        assert_int_equal(job.seen[0], i + 1);
        assert_int_equal(job.seen[2], i + 1);
    }
    pool_destroy(pool);
}

static bool refuse_after(void *user, size_t size)
{
    (void)size;
    int *left = user;
    return (*left)-- > 0;
}

TEST(pool_works_with_the_threads_it_gets)
{
    struct pool *pool;
    log_info(test_log(), "%100s", "room for the line that is expected while nothing is allocated");
    test_log_clear();
    mem_set_hook(refuse, NULL);
    enum hth_status status = pool_create(&pool, 4, test_log());
    mem_set_hook(NULL, NULL);
    assert_int_equal(status, HTH_ERROR_MEMORY);
    assert_null(pool);
    for (int left = 1; left < 4; left++) {
        int n = left;
        mem_set_hook(refuse_after, &n);
        status = pool_create(&pool, 4, test_log());
        mem_set_hook(NULL, NULL);
        assert_int_equal(status, HTH_OK);
        assert_int_equal(pool_threads(pool), left); /* one allocation is the pool itself */
        assert_logged("threads could be started");
        check_pool(pool, 100);
        pool_destroy(pool);
    }
}

/* --- files --------------------------------------------------------------------------------------
 */

TEST(file_is_seen_when_committed_and_not_before)
{
    const char *path = test_temp_path("file \xc3\xa4.txt");
    test_put_text(path, "old");
    test_assert_text(path, "old");
    struct file_writer writer;
    assert_int_equal(file_begin(&writer, path, test_log()), HTH_OK);
    file_put(&writer, "ne", 2);
    test_assert_text(path, "old");
    file_put(&writer, "w", 1);
    assert_int_equal(file_commit(&writer), HTH_OK);
    test_assert_text(path, "new");
    assert_int_equal(file_begin(&writer, path, test_log()), HTH_OK);
    file_put(&writer, "gone", 4);
    struct strbuf temp = {0};
    strbuf_printf(&temp, "%s", writer.temp_path);
    file_abort(&writer);
    file_abort(&writer);
    test_assert_text(path, "new");
    assert_int_equal(os_stat(temp.ptr, NULL, NULL), OS_FILE_NONE);
    strbuf_free(&temp);
}

TEST(file_read_keeps_to_its_limit)
{
    const char *path = test_temp_path("limit.txt");
    struct strbuf large = {0}, buf = {0};
    for (int i = 0; i < 40000; i++)
        strbuf_append_char(&large, (char)('a' + i % 26));
    test_put_text(path, large.ptr);
    test_log_clear();
    assert_int_equal(file_read(path, 39999, &buf, test_log()), HTH_ERROR_LIMIT);
    assert_logged("larger than 39999 bytes");
    strbuf_clear(&buf);
    assert_int_equal(file_read(path, 40000, &buf, test_log()), HTH_OK);
    assert_true(str_equal(strbuf_str(&buf), strbuf_str(&large)));
    /* the limit is the file's, whatever the buffer held before */
    assert_int_equal(file_read(path, 40000, &buf, test_log()), HTH_OK);
    assert_int_equal(buf.len, 80000);
    test_put_text(path, "12345");
    assert_int_equal(file_read(path, 4, &buf, test_log()), HTH_ERROR_LIMIT);
    strbuf_free(&large);
    strbuf_free(&buf);
}

TEST(file_read_says_what_is_wrong)
{
    struct strbuf buf = {0};
    const char *path = test_temp_path("absent.txt");
    test_log_clear();
    assert_int_equal(file_read(path, 100, &buf, test_log()), HTH_ERROR_IO);
    assert_logged("absent.txt: cannot be opened: ");
    const char *folder = test_temp_path("folder");
    assert_true(os_make_folders(folder));
    assert_int_equal(file_read(folder, 100, &buf, test_log()), HTH_ERROR_IO);
    assert_logged("is a folder");
    struct file_writer writer;
    assert_int_equal(file_begin(&writer, folder, test_log()), HTH_ERROR_IO);
    assert_logged("is a folder; name a file inside it");
    assert_int_equal(file_begin(&writer, test_temp_path("no/such/place"), test_log()),
                     HTH_ERROR_IO);
    assert_logged("no/such/place: cannot be written: ");
    file_abort(&writer);
    strbuf_free(&buf);
}

TEST(file_commit_fails_when_it_cannot_rename)
{
    const char *path = test_temp_path("becomes-a-folder");
    struct file_writer writer;
    assert_int_equal(file_begin(&writer, path, test_log()), HTH_OK);
    file_put(&writer, "x", 1);
    struct strbuf temp = {0};
    strbuf_printf(&temp, "%s", writer.temp_path);
    assert_true(os_make_folders(path));
    test_log_clear();
    assert_int_equal(file_commit(&writer), HTH_ERROR_IO);
    assert_logged("becomes-a-folder: cannot be written: ");
    assert_int_equal(os_stat(temp.ptr, NULL, NULL), OS_FILE_NONE);
    strbuf_free(&temp);
}

static enum hth_status write_and_read(void *arg)
{
    struct file_writer writer;
    enum hth_status status = file_begin(&writer, arg, NULL);
    if (status != HTH_OK)
        return status;
    file_put(&writer, "abc", 3);
    status = file_commit(&writer);
    if (status != HTH_OK)
        return status;
    struct strbuf buf = {0};
    status = file_read(arg, 100, &buf, NULL);
    strbuf_free(&buf);
    return status;
}

TEST(file_survives_failing_allocations)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", test_temp_path("alloc.txt"));
    test_each_allocation_fails(write_and_read, path);
}

/* --- the system ---------------------------------------------------------------------------------
 */

TEST(os_maps_files)
{
    const char *path = test_temp_path("mapped");
    struct os_mapping mapping;
    test_put_text(path, "hello");
    assert_true(os_map_file(&mapping, path));
    assert_int_equal(mapping.size_bytes, 5);
    assert_memory_equal(mapping.data, "hello", 5);
    os_map_prefetch(mapping.data, mapping.size_bytes);
    os_map_drop(mapping.data, mapping.size_bytes);
    assert_memory_equal(mapping.data, "hello", 5);
    os_unmap(&mapping);
    os_unmap(&mapping);
    test_put_text(path, "");
    assert_true(os_map_file(&mapping, path));
    assert_null(mapping.data);
    assert_int_equal(mapping.size_bytes, 0);
    os_unmap(&mapping);
    uint64_t size = 1, mtime = 0;
    assert_int_equal(os_stat(path, &size, &mtime), OS_FILE_REGULAR);
    assert_int_equal(size, 0);
    assert_true(mtime > 1600000000u * UINT64_C(1000000000));
    assert_true(os_remove(path));
    assert_int_equal(os_stat(path, NULL, NULL), OS_FILE_NONE);
    assert_false(os_map_file(&mapping, path));
    assert_true(strlen(os_error_text()) > 3);
}

TEST(os_makes_folders)
{
    char deep[1200], file[1100];
    const char *root = test_temp_path("a");
    snprintf(deep, sizeof deep, "%s//b/\xc3\xa9/", root);
    assert_true(os_make_folders(deep));
    assert_true(os_make_folders(deep));
    assert_int_equal(os_stat(deep, NULL, NULL), OS_FILE_FOLDER);
    snprintf(file, sizeof file, "%s/file", root);
    test_put_text(file, "x");
    snprintf(deep, sizeof deep, "%s/below", file);
    assert_false(os_make_folders(deep));
    assert_false(os_make_folders(file));
    assert_false(os_make_folders(""));
    assert_true(os_remove(file));
    snprintf(deep, sizeof deep, "%s/b/\xc3\xa9", root);
    remove(deep);
    snprintf(deep, sizeof deep, "%s/b", root);
    remove(deep);
}

TEST(os_facts_are_plausible)
{
    assert_true(os_cpu_count() >= 1);
    uint64_t start = os_time_ns();
    sleep_ms(2);
    uint64_t took = os_time_ns() - start;
    assert_true(took >= 2000000 && took < UINT64_C(60000000000));
    assert_true(os_memory_total_bytes() >= os_memory_available_bytes());
    assert_true(os_process_id() > 0);
    assert_null(os_library_open("no-such-library-of-hearth"));
    assert_true(strlen(os_error_text()) > 3);
}

/* --- log ----------------------------------------------------------------------------------------
 */

static void pass_on(void *user, enum hth_log_level level, const char *line)
{
    log_pass_on(user, level, line);
}

/* Receivers that are logs in turn: each line comes through once, unless the last log drops it. */
TEST(a_receiver_passes_lines_on)
{
    struct log last = *test_log(), middle = {pass_on, &last, HTH_LOG_DEBUG};
    const struct log first = {pass_on, &middle, HTH_LOG_DEBUG};
    last.max_level = HTH_LOG_WARNING;
    test_log_clear();
    log_warning(&first, "100%% %s", "of it");
    log_info(&first, "dropped");
    log_pass_on(NULL, HTH_LOG_ERROR, "nowhere");
    assert_string_equal(test_log_text(), "100% of it\n");
}

TEST(log_shows_no_control_characters)
{
    test_log_clear();
    log_info(test_log(), "a\x1b[31mb\tc\nd\x7f\xc2\x9b"
                         "e\xc2\xa0\xc3\x9b");
    assert_string_equal(test_log_text(), "a?[31mb\tc?d???e\xc2\xa0\xc3\x9b\n");
    struct log quiet = *test_log();
    quiet.max_level = HTH_LOG_WARNING;
    test_log_clear();
    log_info(&quiet, "dropped");
    log_warning(&quiet, "kept");
    log_info(NULL, "nowhere");
    assert_string_equal(test_log_text(), "kept\n");
    char text[6000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    test_log_clear();
    log_info(test_log(), "%s", text);
    assert_int_equal(strlen(test_log_text()), 4096);
    for (int status = HTH_OK; status <= HTH_ERROR_LIMIT; status++)
        assert_string_not_equal(hth_status_name((enum hth_status)status), "unknown status");
}
