/* What the writer writes, the reader reads; values and their conversions. */
#include "harness/test.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/os.h"
#include "gguf/gguf.h"
#include "gguf/gguf_write.h"

static const int64_t matrix[] = {64, 3}, vector[] = {5};
static const float values[5] = {1, -2, 3.5f, 0, 1e30f};
static unsigned char blocks[2 * 34 * 3];

/* The smallest integer that is no double. */
#define ODD ((UINT64_C(1) << 53) + 1)

static void put_plain_arrays(struct gguf_writer *w)
{
    gguf_put_array(w, "a.u8", GGUF_U8, (const uint8_t[]){0, 255}, 2);
    gguf_put_array(w, "a.i8", GGUF_I8, (const int8_t[]){-128, 127, -1}, 3);
    gguf_put_array(w, "a.u16", GGUF_U16, (const uint16_t[]){0, 65535}, 2);
    gguf_put_array(w, "a.i16", GGUF_I16, (const int16_t[]){-32768, 32767}, 2);
    gguf_put_array(w, "a.u32", GGUF_U32, (const uint32_t[]){0, UINT32_MAX}, 2);
    gguf_put_array(w, "a.i32", GGUF_I32, (const int32_t[]){INT32_MIN, INT32_MAX}, 2);
    gguf_put_array(w, "a.f32", GGUF_F32, (const float[]){0.5f, -INFINITY}, 2);
    gguf_put_array(w, "a.bool", GGUF_BOOL, (const uint8_t[]){0, 1, 1}, 3);
    gguf_put_array(w, "a.u64", GGUF_U64, (const uint64_t[]){UINT64_MAX, 1, ODD, ODD - 1}, 4);
    gguf_put_array(w, "a.i64", GGUF_I64, (const int64_t[]){INT64_MIN, INT64_MAX}, 2);
    gguf_put_array(w, "a.f64", GGUF_F64, (const double[]){0.1, 1e300}, 2);
    gguf_put_array(w, "a.empty", GGUF_F32, NULL, 0);
    gguf_put_strs(w, "a.strs", (const struct str[]){STR("one"), STR(""), STR("th\0ree")}, 3);
    gguf_put_strs(w, "a.nostrs", NULL, 0);
}

static enum hth_status half_of_it(void *user, const struct gguf_tensor *tensor,
                                  struct gguf_writer *writer)
{
    const unsigned char *bytes = user;
    assert_null(tensor->data);
    gguf_emit(writer, bytes, (size_t)tensor->size_bytes / 2);
    gguf_emit(writer, bytes + tensor->size_bytes / 2,
              (size_t)(tensor->size_bytes - tensor->size_bytes / 2));
    return HTH_OK;
}

static enum hth_status make_writer(struct gguf_writer **out)
{
    enum hth_status status = gguf_writer_create(out, test_log());
    if (status != HTH_OK)
        return status;
    struct gguf_writer *w = *out;
    gguf_put_str(w, "general.architecture", STR("llama"));
    gguf_put_u32(w, "u32", 4000000000u);
    gguf_put_u64(w, "u64", UINT64_MAX);
    gguf_put_i32(w, "i32", -7);
    gguf_put_f32(w, "f32", 0.25f);
    gguf_put_bool(w, "yes", true);
    gguf_put_bool(w, "no", false);
    gguf_put_str(w, "empty", (struct str){0});
    put_plain_arrays(w);
    for (size_t i = 0; i < sizeof blocks; i++)
        blocks[i] = (unsigned char)(i * 7);
    gguf_put_tensor(w, "zeta", &dtype_f32, 1, vector, values, NULL, NULL);
    gguf_put_tensor(w, "alpha", &dtype_q8_0, 2, matrix, NULL, half_of_it, blocks);
    gguf_put_tensor(w, "beta", &dtype_i32, 1, vector, values, NULL, NULL);
    return HTH_OK;
}

static void make_bytes(struct strbuf *out)
{
    struct gguf_writer *writer;
    assert_int_equal(make_writer(&writer), HTH_OK);
    assert_int_equal(gguf_writer_save_memory(writer, out), HTH_OK);
    gguf_writer_destroy(writer);
}

static struct gguf *open_bytes(const struct strbuf *bytes)
{
    struct gguf *gguf;
    test_log_clear();
    enum hth_status status =
        gguf_open_memory(&gguf, bytes->ptr, bytes->len, "memory.gguf", test_log());
    if (status != HTH_OK)
        fail_msg("%s", test_log_text());
    return gguf;
}

static void check_tensors(const struct gguf *gguf)
{
    static const char *const names[] = {"zeta", "alpha", "beta"};
    assert_int_equal(gguf_n_tensors(gguf), 3);
    for (size_t i = 0; i < 3; i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
        assert_true(str_equal(tensor->name, str_of(names[i])));
        assert_ptr_equal(gguf_tensor_find(gguf, names[i]), tensor);
        assert_int_equal(tensor->part, 0);
    }
    const struct gguf_tensor *alpha = gguf_tensor_find(gguf, "alpha");
    assert_ptr_equal(alpha->dtype, &dtype_q8_0);
    assert_int_equal(alpha->n_dims, 2);
    assert_int_equal(alpha->ne[0], 64);
    assert_int_equal(alpha->ne[1], 3);
    assert_int_equal(alpha->ne[2], 1);
    assert_int_equal(alpha->ne[3], 1);
    assert_int_equal(alpha->size_bytes, sizeof blocks);
    assert_memory_equal(alpha->data, blocks, sizeof blocks);
    assert_memory_equal(gguf_tensor_find(gguf, "zeta")->data, values, sizeof values);
    assert_null(gguf_tensor_at(gguf, 3));
    assert_null(gguf_tensor_find(gguf, "alph"));
    assert_null(gguf_tensor_find(gguf, "zetaa"));
    assert_null(gguf_tensor_find(gguf, ""));
}

TEST(round_trip_of_tensors_and_facts)
{
    struct strbuf bytes = {0};
    make_bytes(&bytes);
    struct gguf *gguf = open_bytes(&bytes);
    check_tensors(gguf);
    assert_string_equal(gguf_path(gguf), "memory.gguf");
    assert_int_equal(gguf_version(gguf), 3);
    assert_int_equal(gguf_file_bytes(gguf), bytes.len);
    assert_int_equal(gguf_alignment(gguf), 32);
    assert_int_equal(bytes.len % 32, 0);
    assert_int_equal(gguf_n_keys(gguf), 22);
    assert_null(gguf_key_at(gguf, 22));
    for (size_t i = 0; i < 22; i++) {
        const struct gguf_key *key = gguf_key_at(gguf, i);
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)key->name.len, key->name.ptr);
        assert_ptr_equal(gguf_key_find(gguf, name), key);
    }
    assert_true(str_equal(gguf_key_at(gguf, 1)->name, STR("u32")));
    assert_null(gguf_key_find(gguf, "u"));
    assert_null(gguf_key_find(gguf, "u322"));
    gguf_close(gguf);
    gguf_close(NULL);
    strbuf_free(&bytes);
}

/* --- values -------------------------------------------------------------------------------------
 */

/* Which getters take an element, and what they say; the others must leave the output alone. */
struct value {
    const char *key;
    uint64_t index;
    const char *takes; /* of "u" u64, "i" i64, "f" f64, "b" bool */
    uint64_t u;
    int64_t i;
    double f;
};

static void check_value(const struct gguf *gguf, const struct value *v)
{
    const struct gguf_key *key = gguf_key_find(gguf, v->key);
    assert_non_null(key);
    uint64_t u = 77;
    int64_t i = 77;
    double f = 77;
    bool b = true;
    assert_int_equal(gguf_get_u64(key, v->index, &u), strchr(v->takes, 'u') != NULL);
    assert_int_equal(gguf_get_i64(key, v->index, &i), strchr(v->takes, 'i') != NULL);
    assert_int_equal(gguf_get_f64(key, v->index, &f), strchr(v->takes, 'f') != NULL);
    assert_int_equal(gguf_get_bool(key, v->index, &b), strchr(v->takes, 'b') != NULL);
    assert_true(u == (strchr(v->takes, 'u') ? v->u : 77));
    assert_true(i == (strchr(v->takes, 'i') ? v->i : 77));
    assert_true(f == (strchr(v->takes, 'f') ? v->f : 77));
    assert_true(b == (strchr(v->takes, 'b') ? v->u != 0 : true));
}

/* Keys and shapes without the tensors' bytes. */
TEST(a_directory_alone)
{
    struct gguf_writer *writer;
    struct gguf *gguf, *whole;
    struct strbuf directory = {0}, file = {0};
    assert_int_equal(make_writer(&writer), HTH_OK);
    assert_int_equal(gguf_writer_save_directory(writer, &directory), HTH_OK);
    assert_int_equal(gguf_writer_save_memory(writer, &file), HTH_OK);
    assert_true(directory.len < file.len);
    assert_memory_equal(directory.ptr, file.ptr, directory.len);
    assert_int_equal(gguf_open_memory(&whole, file.ptr, file.len, "whole", test_log()), HTH_OK);
    assert_int_equal(gguf_open_directory(&gguf, strbuf_str(&directory), "part", test_log()),
                     HTH_OK);
    assert_int_equal(gguf_n_tensors(gguf), gguf_n_tensors(whole));
    assert_int_equal(gguf_n_keys(gguf), gguf_n_keys(whole));
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *a = gguf_tensor_at(gguf, i), *b = gguf_tensor_at(whole, i);
        assert_true(str_equal(a->name, b->name));
        assert_int_equal(a->size_bytes, b->size_bytes);
        assert_null(a->data);
    }
    gguf_close(gguf);
    gguf_close(whole);
    assert_int_not_equal(gguf_open_memory(&gguf, directory.ptr, directory.len, "part", test_log()),
                         HTH_OK);
    gguf_writer_destroy(writer);
    strbuf_free(&directory);
    strbuf_free(&file);
}

TEST(values_convert_without_loss_or_not_at_all)
{
    static const struct value all[] = {
        {"u32", 0, "uif", 4000000000u, 4000000000, 4e9},
        {"u64", 0, "u", UINT64_MAX, 0, 0}, /* 2^64 - 1 is no double */
        {"i32", 0, "if", 0, -7, -7},
        {"f32", 0, "f", 0, 0, 0.25},
        {"yes", 0, "b", 1, 0, 0},
        {"no", 0, "b", 0, 0, 0},
        {"empty", 0, "", 0, 0, 0},
        {"u32", 1, "", 0, 0, 0},
        {"u32", UINT64_MAX, "", 0, 0, 0},
        {"a.u8", 1, "uif", 255, 255, 255},
        {"a.u8", 2, "", 0, 0, 0},
        {"a.i8", 0, "if", 0, -128, -128},
        {"a.i8", 1, "uif", 127, 127, 127},
        {"a.i8", 2, "if", 0, -1, -1},
        {"a.u16", 1, "uif", 65535, 65535, 65535},
        {"a.i16", 0, "if", 0, -32768, -32768},
        {"a.i16", 1, "uif", 32767, 32767, 32767},
        {"a.u32", 1, "uif", UINT32_MAX, UINT32_MAX, 4294967295.0},
        {"a.i32", 0, "if", 0, INT32_MIN, -2147483648.0},
        {"a.f32", 0, "f", 0, 0, 0.5},
        {"a.f32", 1, "f", 0, 0, -INFINITY},
        {"a.bool", 0, "b", 0, 0, 0},
        {"a.bool", 2, "b", 1, 0, 0},
        {"a.bool", 3, "", 0, 0, 0},
        {"a.u64", 1, "uif", 1, 1, 1},
        {"a.u64", 2, "ui", ODD, (int64_t)ODD, 0},
        {"a.u64", 3, "uif", ODD - 1, (int64_t)ODD - 1, 0x1p53},
        {"a.i64", 0, "if", 0, INT64_MIN, -0x1p63},
        {"a.i64", 1, "ui", INT64_MAX, INT64_MAX, 0}, /* 2^63 - 1 is no double */
        {"a.f64", 0, "f", 0, 0, 0.1},
        {"a.f64", 1, "f", 0, 0, 1e300},
        {"a.empty", 0, "", 0, 0, 0},
        {"a.strs", 0, "", 0, 0, 0},
    };
    struct strbuf bytes = {0};
    make_bytes(&bytes);
    struct gguf *gguf = open_bytes(&bytes);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        check_value(gguf, &all[i]);
    uint64_t u = 77;
    assert_false(gguf_get_u64(NULL, 0, &u));
    assert_int_equal(u, 77);
    assert_string_equal(gguf_type_name(GGUF_STRING), "string");
    assert_string_equal(gguf_type_name(GGUF_F64), "f64");
    assert_string_equal(gguf_type_name((enum gguf_type)99), "unknown type");
    gguf_close(gguf);
    strbuf_free(&bytes);
}

TEST(strings_and_their_arrays)
{
    struct strbuf bytes = {0};
    make_bytes(&bytes);
    struct gguf *gguf = open_bytes(&bytes);
    struct str text = STR("before");
    assert_true(gguf_get_str(gguf_key_find(gguf, "general.architecture"), &text));
    assert_true(str_equal(text, STR("llama")));
    assert_false(gguf_get_str(gguf_key_find(gguf, "a.strs"), &text));
    assert_false(gguf_get_str(gguf_key_find(gguf, "u32"), &text));
    assert_false(gguf_get_str(NULL, &text));
    assert_true(str_equal(text, STR("llama")));
    assert_true(gguf_get_str(gguf_key_find(gguf, "empty"), &text));
    assert_int_equal(text.len, 0);
    const struct gguf_key *strs = gguf_key_find(gguf, "a.strs");
    assert_int_equal(strs->count, 3);
    struct gguf_strings cursor = {0};
    static const struct str expected[] = {{"one", 3}, {"", 0}, {"th\0ree", 6}};
    for (size_t i = 0; i < 3; i++) {
        assert_true(gguf_next_str(strs, &cursor, &text));
        assert_true(str_equal(text, expected[i]));
    }
    assert_false(gguf_next_str(strs, &cursor, &text));
    cursor = (struct gguf_strings){0};
    assert_false(gguf_next_str(gguf_key_find(gguf, "a.nostrs"), &cursor, &text));
    assert_false(gguf_next_str(gguf_key_find(gguf, "a.u8"), &cursor, &text));
    assert_false(gguf_next_str(gguf_key_find(gguf, "empty"), &cursor, &text));
    assert_false(gguf_next_str(NULL, &cursor, &text));
    gguf_close(gguf);
    strbuf_free(&bytes);
}

/* --- the writer ---------------------------------------------------------------------------------
 */

TEST(copying_every_key_gives_the_same_bytes)
{
    struct strbuf bytes = {0}, again = {0};
    make_bytes(&bytes);
    struct gguf *gguf = open_bytes(&bytes);
    struct gguf_writer *writer;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    for (size_t i = 0; i < gguf_n_keys(gguf); i++)
        gguf_put_key(writer, gguf_key_at(gguf, i));
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(gguf, i);
        char name[16];
        snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.ptr);
        gguf_put_tensor(writer, name, t->dtype, t->n_dims, t->ne, t->data, NULL, NULL);
    }
    strbuf_append(&again, STR("before"));
    assert_int_equal(gguf_writer_save_memory(writer, &again), HTH_OK);
    assert_int_equal(again.len, bytes.len + 6);
    assert_memory_equal(again.ptr + 6, bytes.ptr, bytes.len);
    const char *path = test_temp_path("saved.gguf");
    assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
    strbuf_clear(&again);
    assert_int_equal(file_read(path, 1 << 20, &again, test_log()), HTH_OK);
    assert_true(str_equal(strbuf_str(&again), strbuf_str(&bytes)));
    gguf_writer_destroy(writer);
    gguf_writer_destroy(NULL);
    gguf_close(gguf);
    assert_int_equal(gguf_open(&gguf, path, test_log()), HTH_OK);
    check_tensors(gguf);
    assert_string_equal(gguf_path(gguf), path);
    gguf_close(gguf);
    strbuf_free(&bytes);
    strbuf_free(&again);
}

TEST(the_writer_follows_the_alignment_it_is_told)
{
    struct gguf_writer *writer;
    struct strbuf bytes = {0};
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_u32(writer, "general.alignment", 4096);
    gguf_put_tensor(writer, "a", &dtype_f32, 1, vector, values, NULL, NULL);
    gguf_put_tensor(writer, "b", &dtype_f32, 1, vector, values, NULL, NULL);
    assert_int_equal(gguf_writer_save_memory(writer, &bytes), HTH_OK);
    gguf_writer_destroy(writer);
    assert_int_equal(bytes.len, 3 * 4096);
    struct gguf *gguf = open_bytes(&bytes);
    assert_int_equal(gguf_alignment(gguf), 4096);
    assert_ptr_equal(gguf_tensor_find(gguf, "b")->data, bytes.ptr + 8192);
    gguf_close(gguf);
    strbuf_free(&bytes);
}

static enum hth_status too_little(void *user, const struct gguf_tensor *tensor,
                                  struct gguf_writer *writer)
{
    gguf_emit(writer, user, (size_t)tensor->size_bytes - 1);
    return HTH_OK;
}

static enum hth_status gives_up(void *user, const struct gguf_tensor *tensor,
                                struct gguf_writer *writer)
{
    (void)tensor;
    gguf_emit(writer, user, 1);
    return HTH_ERROR_CANCELLED;
}

/* What may be asked of the writer, each wrong in its way. */
static void ask_wrongly(struct gguf_writer *w, int what)
{
    static const int64_t odd[] = {33, 2}, zero[] = {32, 0}, huge[] = {INT64_MAX, INT64_MAX};
    const struct dtype *f32 = &dtype_f32;
    switch (what) {
    case 0:
        gguf_put_u32(w, "twice", 1);
        gguf_put_u32(w, "once", 1);
        gguf_put_u32(w, "twice", 1);
        break;
    case 1:
        gguf_put_tensor(w, "t", f32, 1, vector, values, NULL, NULL);
        gguf_put_tensor(w, "t", f32, 1, vector, values, NULL, NULL);
        break;
    case 2: gguf_put_tensor(w, "t", &dtype_q8_0, 2, odd, values, NULL, NULL); break;
    case 3: gguf_put_tensor(w, "t", f32, 2, zero, values, NULL, NULL); break;
    case 4: gguf_put_tensor(w, "t", f32, 2, huge, values, NULL, NULL); break;
    case 5: gguf_put_tensor(w, "t", f32, 0, vector, values, NULL, NULL); break;
    case 6: gguf_put_tensor(w, "t", f32, 5, vector, values, NULL, NULL); break;
    case 7: gguf_put_tensor(w, "t", f32, 1, vector, NULL, NULL, NULL); break;
    case 8: gguf_put_tensor(w, "", f32, 1, vector, values, NULL, NULL); break;
    case 9: gguf_put_array(w, "k", GGUF_STRING, values, 1); break;
    case 10: gguf_put_array(w, "k", GGUF_F64, values, UINT64_MAX / 4); break;
    case 11: gguf_put_u32(w, "general.alignment", 48); break;
    case 12: gguf_put_str(w, "general.alignment", STR("32")); break;
    case 13:
        gguf_put_tensor(w, "t", f32, 1, vector, NULL, too_little, (void *)(uintptr_t)values);
        break;
    }
}

TEST(the_writer_refuses_what_no_reader_takes)
{
    static const char *const says[] = {
        "cannot write key twice: it was put twice",
        "cannot write tensor t: it was put twice",
        "cannot write tensor t: row length 33 is no multiple of the 32 elements of a Q8_0 block",
        "cannot write tensor t: dimension 2 of 2 is 0",
        "cannot write tensor t: its dimensions make more than 2^63 elements or bytes",
        "cannot write tensor t: it must have 1 to 4 dimensions, and data or a source",
        "cannot write tensor t: it must have 1 to 4 dimensions, and data or a source",
        "cannot write tensor t: it must have 1 to 4 dimensions, and data or a source",
        "cannot write tensor : its name must have 1 to 65535 bytes and no zero byte",
        "cannot write key k: it is no array of a plain type",
        "cannot write key k: it is no array of a plain type",
        "cannot write key general.alignment: it must be a power of two of at least 8",
        "cannot write key general.alignment: it must be a power of two of at least 8",
        "cannot write tensor t: its source gave 19 bytes, and its shape needs 20",
    };
    const char *path = test_temp_path("refused.gguf");
    for (int i = 0; i < (int)ARRAY_LEN(says); i++) {
        struct gguf_writer *writer;
        struct strbuf bytes = {0}, expected = {0};
        test_log_clear();
        strbuf_printf(&expected, "%s\n", says[i]);
        assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
        ask_wrongly(writer, i);
        gguf_put_u32(writer, "later", 1);
        assert_int_equal(gguf_writer_save_memory(writer, &bytes), HTH_ERROR_ARGUMENT);
        assert_string_equal(test_log_text(), expected.ptr);
        assert_int_equal(bytes.len, 0);
        assert_int_equal(gguf_writer_save(writer, path), HTH_ERROR_ARGUMENT);
        assert_int_equal(os_stat(path, NULL, NULL), OS_FILE_NONE);
        gguf_writer_destroy(writer);
        strbuf_free(&bytes);
        strbuf_free(&expected);
    }
}

TEST(a_failed_save_leaves_the_old_file)
{
    struct strbuf bytes = {0};
    make_bytes(&bytes);
    const char *path = test_temp_path("kept.gguf");
    struct gguf_writer *writer;
    struct gguf *gguf;
    assert_int_equal(make_writer(&writer), HTH_OK);
    assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
    gguf_put_tensor(writer, "last", &dtype_f32, 1, vector, NULL, gives_up, blocks);
    assert_int_equal(gguf_writer_save(writer, path), HTH_ERROR_CANCELLED);
    assert_int_equal(gguf_open(&gguf, path, test_log()), HTH_OK);
    check_tensors(gguf);
    gguf_close(gguf);
#if !defined(_WIN32)
    if (os_stat("/dev/full", NULL, NULL) == OS_FILE_OTHER) {
        gguf_writer_destroy(writer);
        assert_int_equal(make_writer(&writer), HTH_OK);
        test_log_clear();
        assert_int_equal(gguf_writer_save(writer, "/dev/full"), HTH_ERROR_IO);
        assert_logged("/dev/full: cannot be written: No space left on device\n");
    }
#endif
    gguf_writer_destroy(writer);
    strbuf_free(&bytes);
}

/* --- allocations and time -----------------------------------------------------------------------
 */

static enum hth_status save_and_open(void *arg)
{
    const char *path = arg;
    struct gguf_writer *writer;
    struct gguf *gguf;
    struct strbuf bytes = {0};
    enum hth_status status = make_writer(&writer);
    if (status != HTH_OK)
        return status;
    status = gguf_writer_save_memory(writer, &bytes);
    if (status == HTH_OK)
        status = gguf_writer_save(writer, path);
    gguf_writer_destroy(writer);
    if (status == HTH_OK)
        status = gguf_open_memory(&gguf, bytes.ptr, bytes.len, "memory", NULL);
    strbuf_free(&bytes);
    if (status != HTH_OK)
        return status;
    gguf_close(gguf);
    status = gguf_open(&gguf, path, NULL);
    gguf_close(gguf);
    return status;
}

TEST(failing_allocations)
{
    char path[1200];
    snprintf(path, sizeof path, "%s", test_temp_path("alloc.gguf"));
    test_each_allocation_fails(save_and_open, path);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MAX_OPEN_MS = 300 };
#elif defined(__has_feature)
enum { MAX_OPEN_MS = __has_feature(address_sanitizer) ? 300 : 30 };
#else
enum { MAX_OPEN_MS = 30 };
#endif

TEST(a_large_vocabulary_opens_fast)
{
    enum { N = 150000 };
    struct str *words = mem_calloc(N, sizeof *words);
    float *scores = mem_calloc(N, sizeof *scores);
    char *text = mem_calloc(N, 12);
    struct gguf_writer *writer;
    assert_true(words && scores && text);
    for (int i = 0; i < N; i++)
        words[i] = (struct str){text + 12 * i, (size_t)snprintf(text + 12 * i, 12, "w%d", i)};
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_strs(writer, "tokenizer.ggml.tokens", words, N);
    gguf_put_strs(writer, "tokenizer.ggml.merges", words, N);
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, scores, N);
    const char *path = test_temp_path("vocabulary.gguf");
    assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
    gguf_writer_destroy(writer);
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 10; i++) {
        struct gguf *gguf;
        uint64_t start = os_time_ns();
        assert_int_equal(gguf_open(&gguf, path, test_log()), HTH_OK);
        uint64_t took = os_time_ns() - start;
        best = took < best ? took : best;
        gguf_close(gguf);
    }
    printf("%.2f ms\n", (double)best * 1e-6);
    assert_true(best < (uint64_t)MAX_OPEN_MS * 1000000);
    mem_free(words);
    mem_free(scores);
    mem_free(text);
}
