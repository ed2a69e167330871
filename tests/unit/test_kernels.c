/* The file of kernels that were measured to be fastest: kept, and never taken at its word. */
#include "engine/kernels.h"

#include <stdio.h>

#include "base/file.h"
#include "base/mem.h"
#include "harness/invented_gpu.h"
#include "harness/test.h"

static struct vk_caps card(const char *driver)
{
    struct vk_caps caps = {INVENTED_GPU, .uuid = {1, 2, 3}, .driver_version = 7};
    snprintf(caps.driver, sizeof caps.driver, "%s", driver);
    return caps;
}

static struct table_entry *add(struct kernels *k, const char *class, const char *row)
{
    struct table_entry *entry = table_add(&k->table, class);
    snprintf(entry->row, sizeof entry->row, "%s", row);
    return entry;
}

static void load(struct kernels *k, const struct vk_caps *caps)
{
    *k = (struct kernels){0};
    assert_int_equal(kernels_load(k, caps, test_log()), HTH_OK);
}

/* A file with some entries, and its text. */
static void write_file(struct strbuf *path, struct strbuf *text)
{
    struct kernels k;
    const struct vk_caps caps = card("a driver");
    load(&k, &caps);
    struct table_entry *entry = add(&k, "matmul Q8_0 4096x4096 1", "matvec_f32");
    entry->knobs[0] = (struct table_knob){"ROWS", 4};
    entry->knobs[1] = (struct table_knob){"SUBGROUP", 32};
    entry->n_knobs = 2;
    entry->gain = 1.25;
    entry->n_done = 3;
    entry->n_tried = 2;
    entry->n_begun = 1;
    entry = add(&k, "matmul_glu Q4_K 12288x4096 2 \"quoted\"", "");
    entry->gain = 1;
    entry->whole = true;
    assert_int_equal(kernels_store(&k, test_log()), HTH_OK);
    strbuf_append(path, strbuf_str(&k.path));
    assert_int_equal(file_read(k.path.ptr, 1 << 20, text, test_log()), HTH_OK);
    kernels_free(&k);
}

/* Entries are as they can be written: whoever uses them asks rows whether they offer the values. */
static void check_bounds(const struct kernels *k)
{
    assert_true(k->table.n <= TABLE_MOST);
    for (size_t i = 0; i < k->table.n; i++) {
        const struct table_entry *entry = &k->table.items[i];
        assert_true(strlen(entry->class) < sizeof entry->class);
        assert_true(strlen(entry->row) < sizeof entry->row);
        assert_true(entry->n_knobs >= 0 && entry->n_knobs <= ROW_MAX_KNOBS);
        assert_true(entry->n_done >= 0 && entry->n_done <= ROW_MAX_KNOBS + 1);
        assert_true(entry->n_tried >= 0 && entry->n_tried <= 64);
        assert_true(entry->gain >= 0 && entry->gain <= 1000);
        for (int n = 0; n < entry->n_knobs; n++)
            assert_true(strlen(entry->knobs[n].name) < sizeof entry->knobs[n].name &&
                        entry->knobs[n].value >= 1);
    }
}

TEST(what_is_stored_is_loaded)
{
    struct kernels k;
    struct strbuf path = {0}, text = {0};
    const struct vk_caps caps = card("a driver");
    load(&k, &caps);
    assert_int_equal(k.table.n, 0);
    kernels_free(&k);
    write_file(&path, &text);
    load(&k, &caps);
    assert_string_equal(test_log_text(), "");
    assert_int_equal(k.table.n, 2);
    assert_int_equal(kernels_count(&k), 1);
    const struct table_entry *entry = table_find(&k.table, "matmul Q8_0 4096x4096 1");
    assert_non_null(entry);
    assert_string_equal(entry->row, "matvec_f32");
    assert_true(entry->n_knobs == 2 && entry->n_done == 3 && entry->n_tried == 2);
    assert_int_equal(entry->n_begun, 1);
    assert_true(!entry->whole && entry->gain == 1.25);
    for (int n = 0; n < 2; n++)
        assert_int_equal(entry->knobs[n].value, strcmp(entry->knobs[n].name, "ROWS") ? 32 : 4);
    entry = table_find(&k.table, "matmul_glu Q4_K 12288x4096 2 \"quoted\"");
    assert_true(entry && entry->whole && !entry->row[0]);
    kernels_free(&k);
    strbuf_free(&path);
    strbuf_free(&text);
}

/* Loads what stands there: with a line, empty, and the next time without a line. */
static void is_begun_anew(const struct vk_caps *caps)
{
    struct kernels k;
    test_log_clear();
    load(&k, caps);
    assert_logged("is ignored, as ");
    assert_int_equal(k.table.n, 0);
    kernels_free(&k);
    test_log_clear();
    load(&k, caps);
    assert_string_equal(test_log_text(), "");
    assert_int_equal(k.table.n, 0);
    kernels_free(&k);
}

TEST(files_that_are_cut)
{
    struct strbuf path = {0}, text = {0};
    const struct vk_caps caps = card("a driver");
    write_file(&path, &text);
    for (size_t n = 0; n + 1 < text.len; n += 1 + text.len / 24) {
        test_put_bytes(path.ptr, text.ptr, n);
        is_begun_anew(&caps);
    }
    strbuf_free(&path);
    strbuf_free(&text);
}

/* One byte of at most 200: it is read as something that could be written, or not at all. */
TEST(files_with_another_byte)
{
    struct strbuf path = {0}, text = {0};
    const struct vk_caps caps = card("a driver");
    write_file(&path, &text);
    char *bytes = mem_strdup(text.ptr);
    size_t step = 1 + text.len / 200;
    for (size_t at = 0; at < text.len; at += step) {
        struct kernels k;
        bytes[at] = (char)(text.ptr[at] ^ (1 << at % 7));
        test_put_bytes(path.ptr, bytes, text.len);
        test_log_clear();
        load(&k, &caps);
        check_bounds(&k);
        assert_true(k.table.n > 0 || strstr(test_log_text(), "is ignored, as "));
        kernels_free(&k);
        bytes[at] = text.ptr[at];
    }
    mem_free(bytes);
    strbuf_free(&path);
    strbuf_free(&text);
}

TEST(files_of_others)
{
    struct strbuf path = {0}, text = {0};
    write_file(&path, &text);
    const struct vk_caps newer = card("a newer driver");
    is_begun_anew(&newer);
    char *bytes = mem_strdup(text.ptr), *version = strstr(bytes, "\"of\": \"2;");
    assert_non_null(version);
    version[7] = '3'; /* one that is not there yet */
    test_put_bytes(path.ptr, bytes, text.len);
    const struct vk_caps caps = card("a driver");
    is_begun_anew(&caps);
    mem_free(bytes);
    strbuf_free(&path);
    strbuf_free(&text);
}

TEST(what_hearth_does_not_write)
{
    static const char *const wrong[][2] = {
        {"\"ROWS\": 4", "\"ROWS\":-4"},       {"\"ROWS\": 4", "\"ROWS\":.4"},
        {"\"ROWS\": 4", "\"ROWS\":\"\""},     {"\"ROWS\": 4", "\"ROWS\": 0"},
        {"\"ROWS\": 4", "\"RO\":9e9"},        {"\"gain\": 1.25", "\"gain\":-1.2"},
        {"\"gain\": 1.25", "\"gain\": 9e99"}, {"\"done\": 3", "\"done\": 9"},
        {"\"done\": 3", "\"done\":-1"},       {"\"tried\": 2", "\"tried\":-1"},
        {"\"tried\": 2", "\"tried\":99"},     {"\"begun\": 1", "\"begun\":.1"},
        {"\"whole\": false", "\"whole\": 0"}, {"\"row\"", "\"raw\""},
        {"\"knobs\"", "\"knots\""},           {"\"matvec_f32\"", "7"},
        {"\"classes\"", "\"glasses\""},
    };
    struct strbuf path = {0}, text = {0};
    const struct vk_caps caps = card("a driver");
    write_file(&path, &text);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char *bytes = mem_strdup(text.ptr), *at = strstr(bytes, wrong[i][0]);
        assert_non_null(at);
        memset(at, ' ', strlen(wrong[i][0]));
        memcpy(at, wrong[i][1], strlen(wrong[i][1]));
        test_put_bytes(path.ptr, bytes, text.len);
        mem_free(bytes);
        is_begun_anew(&caps);
    }
    strbuf_free(&path);
    strbuf_free(&text);
}

TEST(long_names_and_many_entries)
{
    struct strbuf path = {0}, text = {0}, file = {0};
    const struct vk_caps caps = card("a driver");
    write_file(&path, &text);
    static const char *const texts[] = {"matmul Q8_0 4096x4096 1", "matvec_f32", "ROWS"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const char *at = strstr(text.ptr, texts[i]);
        strbuf_clear(&file);
        strbuf_append(&file, (struct str){text.ptr, (size_t)(at - text.ptr)});
        for (int n = 0; n < 300; n++)
            strbuf_append_char(&file, 'x');
        strbuf_append(&file, str_of(at));
        test_put_bytes(path.ptr, file.ptr, file.len);
        is_begun_anew(&caps);
    }
    const char *end = strstr(text.ptr, "\"classes\": {") + strlen("\"classes\": {");
    strbuf_clear(&file);
    strbuf_append(&file, (struct str){text.ptr, (size_t)(end - text.ptr)});
    for (int n = 0; n < TABLE_MOST; n++)
        strbuf_printf(&file,
                      "\"%d\": {\"row\": \"\", \"knobs\": {}, \"gain\": 1, \"done\": 0, "
                      "\"tried\": 0, \"begun\": 0, \"whole\": true},",
                      n);
    strbuf_append(&file, str_of(end));
    test_put_bytes(path.ptr, file.ptr, file.len);
    is_begun_anew(&caps);
    strbuf_free(&file);
    strbuf_free(&path);
    strbuf_free(&text);
}

/* Two that began with the same file: what one measured to the end stays when the other writes. */
TEST(two_that_measure_at_once)
{
    struct kernels one, other;
    const struct vk_caps caps = card("a driver");
    load(&one, &caps);
    load(&other, &caps);
    add(&one, "of one", "matvec_f32")->whole = true;
    add(&one, "begun", "matvec_f32")->n_done = 2;
    add(&one, "of both", "matvec_f32")->whole = true;
    add(&one, "done by one", "matvec_f32")->whole = true;
    add(&one, "done by the other", "matvec_f32")->n_done = 2;
    add(&one, "no longer", "matvec_f32")->whole = true;
    assert_int_equal(kernels_store(&one, test_log()), HTH_OK);
    add(&other, "of both", "matvec_lanes_f32")->whole = true;
    add(&other, "done by one", "")->n_done = 1;
    add(&other, "done by the other", "matvec_lanes_f32")->whole = true;
    add(&other, "no longer", "")->whole = true; /* as a self-test clears it */
    add(&other, "of the other", "matvec_f32")->whole = true;
    assert_int_equal(kernels_store(&other, test_log()), HTH_OK);
    kernels_free(&one);
    load(&one, &caps);
    assert_string_equal(test_log_text(), "");
    static const char *const expected[][2] = {
        {"of one", "matvec_f32"},       {"of both", "matvec_lanes_f32"},
        {"done by one", "matvec_f32"},  {"done by the other", "matvec_lanes_f32"},
        {"of the other", "matvec_f32"}, {"no longer", ""},
    };
    assert_int_equal(one.table.n, ARRAY_LEN(expected)); /* what was only begun is begun again */
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        const struct table_entry *entry = table_find(&one.table, expected[i][0]);
        assert_true(entry && entry->whole);
        assert_string_equal(entry->row, expected[i][1]);
        assert_non_null(table_find(&other.table, expected[i][0])); /* who wrote last knows, too */
    }
    kernels_free(&one);
    kernels_free(&other);
}

static enum hth_status store_and_load(void *user)
{
    struct kernels k = {0};
    const struct vk_caps caps = card("a driver");
    (void)user;
    enum hth_status status = kernels_load(&k, &caps, test_log());
    if (status == HTH_OK && !table_add(&k.table, "class"))
        status = HTH_ERROR_MEMORY;
    if (status == HTH_OK)
        status = kernels_store(&k, test_log());
    kernels_free(&k);
    return status;
}

static bool fail_one(void *user, size_t size)
{
    (void)size;
    return (*(long *)user)-- != 0;
}

/* Each allocation failed: that is the status, or there was a warning that nothing was written; what
 * is on disk stays whole. */
TEST(failing_allocations)
{
    struct kernels k;
    const struct vk_caps caps = card("a driver");
    bool hit = true;
    for (long n = 0; hit; n++) {
        long left = n;
        test_log_clear();
        mem_set_hook(fail_one, &left);
        enum hth_status status = store_and_load(NULL);
        mem_set_hook(NULL, NULL);
        hit = left < 0;
        assert_true(status == HTH_OK || (hit && status == HTH_ERROR_MEMORY));
        if (hit && status == HTH_OK)
            assert_logged("cannot be written");
        test_log_clear();
        load(&k, &caps);
        assert_string_equal(test_log_text(), "");
        kernels_free(&k);
        assert_true(hit || n > 10);
    }
}

/* Where nothing can be written the line comes again, and nothing fails. */
TEST(without_a_place)
{
    struct kernels k;
    const struct vk_caps caps = card("a driver");
    test_put_bytes(test_temp_path("a file"), "", 0);
    test_set_env("HEARTH_CACHE", test_temp_path("a file/no folder"));
    load(&k, &caps);
    add(&k, "class", "matvec_f32");
    assert_int_equal(kernels_store(&k, test_log()), HTH_OK);
    assert_logged("what was measured of kernels is lost");
    kernels_free(&k);
}
