/* Files that are damaged or made to do harm: each gets one sentence, and costs no memory. */
#include "harness/test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/rng.h"
#include "gguf/gguf.h"

/* Fields of the small file below, whose places are noted while it is built. */
enum field {
    MAGIC,
    VERSION,
    N_TENSORS,
    N_KEYS,
    ALIGNMENT_NAME_LEN,
    ALIGNMENT_NAME,
    ALIGNMENT_TYPE,
    ALIGNMENT,
    TEXT_TYPE,
    TEXT_LEN,
    TEXT,
    FLAG,
    FLAGS_COUNT,
    FLAGS,
    NUMS_ELEM,
    NUMS_COUNT,
    NUMS,
    STRS_ELEM,
    STRS_COUNT,
    STRS,
    STRS_1,
    KEYA_NAME,
    KEYB_NAME_LEN,
    KEYB_NAME,
    KEYB_TYPE,
    Q_NAME_LEN,
    Q_NAME,
    Q_N_DIMS,
    Q_NE0,
    Q_NE1,
    Q_NE2,
    Q_TYPE,
    Q_OFFSET,
    F_NAME_LEN,
    F_NAME,
    F_N_DIMS,
    F_NE0,
    F_TYPE,
    F_OFFSET,
    N_FIELDS,
};

struct sample {
    struct strbuf bytes;
    uint64_t at[N_FIELDS];
};

static void put(struct sample *sample, enum field field, const void *data, size_t size)
{
    sample->at[field] = sample->bytes.len;
    strbuf_append(&sample->bytes, (struct str){data, size});
}

static void put_u32(struct sample *sample, enum field field, uint32_t value)
{
    put(sample, field, &value, sizeof value);
}

static void put_u64(struct sample *sample, enum field field, uint64_t value)
{
    put(sample, field, &value, sizeof value);
}

static void put_name(struct sample *sample, enum field field, const char *name)
{
    put_u64(sample, field, strlen(name));
    put(sample, (enum field)(field + 1), name, strlen(name));
}

static void skip_str(struct sample *sample, const char *text)
{
    uint64_t len = strlen(text);
    strbuf_append(&sample->bytes, (struct str){(const char *)&len, sizeof len});
    strbuf_append(&sample->bytes, str_of(text));
}

static void skip_u32(struct sample *sample, uint32_t value)
{
    strbuf_append(&sample->bytes, (struct str){(const char *)&value, sizeof value});
}

static void build_keys(struct sample *s)
{
    put_name(s, ALIGNMENT_NAME_LEN, "general.alignment");
    put_u32(s, ALIGNMENT_TYPE, GGUF_U32);
    put_u32(s, ALIGNMENT, 64);
    skip_str(s, "text");
    put_u32(s, TEXT_TYPE, GGUF_STRING);
    put_u64(s, TEXT_LEN, 5);
    put(s, TEXT, "hello", 5);
    skip_str(s, "flag");
    skip_u32(s, GGUF_BOOL);
    put(s, FLAG, "\1", 1);
    skip_str(s, "flags");
    skip_u32(s, GGUF_ARRAY);
    skip_u32(s, GGUF_BOOL);
    put_u64(s, FLAGS_COUNT, 3);
    put(s, FLAGS, "\0\1\0", 3);
    skip_str(s, "nums");
    skip_u32(s, GGUF_ARRAY);
    put_u32(s, NUMS_ELEM, GGUF_U16);
    put_u64(s, NUMS_COUNT, 3);
    put(s, NUMS, "\1\0\2\0\3\0", 6);
    skip_str(s, "strs");
    skip_u32(s, GGUF_ARRAY);
    put_u32(s, STRS_ELEM, GGUF_STRING);
    put_u64(s, STRS_COUNT, 2);
    put_u64(s, STRS, 1);
    strbuf_append(&s->bytes, STR("a"));
    put_u64(s, STRS_1, 2);
    strbuf_append(&s->bytes, STR("bc"));
    skip_str(s, "keya");
    s->at[KEYA_NAME] = s->bytes.len - 4;
    skip_u32(s, GGUF_U8);
    strbuf_append_char(&s->bytes, 1);
    put_name(s, KEYB_NAME_LEN, "keyb");
    put_u32(s, KEYB_TYPE, GGUF_U8);
    strbuf_append_char(&s->bytes, 2);
}

/* Q8_0 of 64 × 2 × 3 (408 bytes) and F32 of 8 elements, to the last byte of the file. */
static struct sample build(void)
{
    struct sample s = {0};
    put(&s, MAGIC, "GGUF", 4);
    put_u32(&s, VERSION, 3);
    put_u64(&s, N_TENSORS, 2);
    put_u64(&s, N_KEYS, 8);
    build_keys(&s);
    put_name(&s, Q_NAME_LEN, "t.q");
    put_u32(&s, Q_N_DIMS, 3);
    put_u64(&s, Q_NE0, 64);
    put_u64(&s, Q_NE1, 2);
    put_u64(&s, Q_NE2, 3);
    put_u32(&s, Q_TYPE, 8);
    put_u64(&s, Q_OFFSET, 0);
    put_name(&s, F_NAME_LEN, "t.f");
    put_u32(&s, F_N_DIMS, 1);
    put_u64(&s, F_NE0, 8);
    put_u32(&s, F_TYPE, 0);
    put_u64(&s, F_OFFSET, 448);
    while (s.bytes.len % 64)
        strbuf_append_char(&s.bytes, 0);
    for (int i = 0; i < 448 + 32; i++)
        strbuf_append_char(&s.bytes, (char)i);
    assert_false(s.bytes.failed);
    return s;
}

/* --- opening with a bound on memory -------------------------------------------------------------
 */

static bool count_bytes(void *user, size_t size)
{
    *(uint64_t *)user += size;
    return true;
}

static unsigned touched;

/* Everything a user could ask for. */
static void use(const struct gguf *gguf)
{
    for (size_t i = 0; i < gguf_n_keys(gguf); i++) {
        const struct gguf_key *key = gguf_key_at(gguf, i);
        struct gguf_strings cursor = {0};
        struct str text = {0};
        uint64_t u;
        double d;
        bool b;
        assert_true(key->type != GGUF_ARRAY || key->elem != GGUF_ARRAY);
        for (uint64_t k = 0; k < key->count && k < 100; k++) {
            touched += gguf_get_u64(key, k, &u) + gguf_get_f64(key, k, &d);
            touched += gguf_get_bool(key, k, &b);
        }
        while (gguf_next_str(key, &cursor, &text))
            touched += text.len ? (unsigned char)text.ptr[text.len - 1] : 0;
        if (gguf_get_str(key, &text) && text.len)
            touched += (unsigned char)text.ptr[text.len - 1];
    }
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
        const unsigned char *data = tensor->data;
        assert_true(tensor->size_bytes > 0);
        touched += (unsigned)data[0] + data[tensor->size_bytes - 1];
    }
}

/* Opens an exact copy of the bytes, so that ASan sees a read beyond; asserts that no more memory is
 * asked for than the size of the file allows, and that a failure says one line. */
static enum hth_status open_bytes(const char *bytes, size_t size)
{
    char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    if (size)
        memcpy(copy, bytes, size);
    struct gguf *gguf;
    uint64_t asked = 0;
    test_log_clear();
    log_info(test_log(), "%500s", ""); /* room for the line, so that it is not counted below */
    log_info(test_log(), "%500s", "");
    test_log_clear();
    mem_set_hook(count_bytes, &asked);
    enum hth_status status = gguf_open_memory(&gguf, copy, size, "x.gguf", test_log());
    mem_set_hook(NULL, NULL);
    assert_true(asked <= 6 * size + 1024);
    const char *text = test_log_text(), *end = strchr(text, '\n');
    if (status == HTH_OK) {
        assert_string_equal(text, "");
        use(gguf);
    } else {
        assert_null(gguf);
        assert_true(end && end[1] == '\0');
        assert_true(strncmp(text, "x.gguf: ", 8) == 0);
    }
    gguf_close(gguf);
    free(copy);
    return status;
}

/* --- one field wrong ----------------------------------------------------------------------------
 */

/* `value` of `bytes` bytes written over `field`; the message begins with "x.gguf: damaged at byte "
 * and the place of `at`, or is `says` alone for other errors than damage. */
static const struct {
    enum field field;
    int bytes;
    uint64_t value;
    enum field at;
    const char *says;
} cases[] = {
    {N_KEYS, 8, UINT64_MAX, N_KEYS, "header: 18446744073709551615 keys do not fit into the file's"},
    {N_KEYS, 8, 70, N_KEYS, "header: 70 keys do not fit into the file's 864 bytes"},
    {N_TENSORS, 8, UINT64_C(1) << 40, N_TENSORS, "header: 1099511627776 tensors do not fit into"},
    {N_TENSORS, 8, 60, N_TENSORS, "header: 60 tensors do not fit into the file's 864 bytes"},
    {ALIGNMENT_NAME_LEN, 8, 0, ALIGNMENT_NAME_LEN,
     "key number 0: its name has 0 bytes, and must have 1 to 65535"},
    {ALIGNMENT_NAME_LEN, 8, 65536, ALIGNMENT_NAME_LEN, "key number 0: its name has 65536 bytes"},
    {ALIGNMENT_NAME_LEN, 8, UINT64_MAX, ALIGNMENT_NAME_LEN,
     "key number 0: its name has 18446744073709551615 bytes"},
    {ALIGNMENT_NAME_LEN, 8, 60000, ALIGNMENT_NAME,
     "key number 0: its name needs 60000 bytes, and the file ends after 832"},
    {ALIGNMENT_NAME, 1, 0, ALIGNMENT_NAME_LEN, "key number 0: its name contains a zero byte"},
    {ALIGNMENT, 4, 0, ALIGNMENT, "key general.alignment: is 0, and must be a power of two"},
    {ALIGNMENT, 4, 48, ALIGNMENT, "key general.alignment: is 48, and must be a power of two"},
    {ALIGNMENT, 4, 4, ALIGNMENT, "key general.alignment: is 4, and must be a power of two of at"},
    {ALIGNMENT_TYPE, 4, GGUF_F32, ALIGNMENT, "key general.alignment: is f32, and must be an"},
    {ALIGNMENT, 4, 0x80000000, Q_OFFSET, "tensor t.q: its 408 bytes at offset 0 reach beyond the"},
    {ALIGNMENT, 4, 128, F_OFFSET, "tensor t.f: its offset 448 is no multiple of the alignment 128"},
    {TEXT_TYPE, 4, GGUF_TYPE_COUNT, TEXT_TYPE, "key text: has a value of type 13, which does not"},
    {KEYB_TYPE, 4, UINT32_MAX, KEYB_TYPE, "key keyb: has a value of type 4294967295, which does"},
    {TEXT_LEN, 8, UINT64_MAX, TEXT, "key text: its value needs 18446744073709551615 bytes"},
    {TEXT_LEN, 8, 100000, TEXT, "key text: its value needs 100000 bytes, and the file ends after"},
    {FLAG, 1, 2, FLAG, "key flag: a bool is 2, neither 0 nor 1"},
    {FLAGS, 1, 255, FLAGS, "key flags: a bool is 255, neither 0 nor 1"},
    {FLAGS_COUNT, 8, 10000, FLAGS_COUNT, "key flags: its 10000 elements do not fit into the"},
    {NUMS_ELEM, 4, GGUF_ARRAY, NUMS_ELEM, "key nums: is an array of arrays, which"},
    {NUMS_ELEM, 4, 99, NUMS_ELEM, "key nums: is an array of type 99, which does not exist"},
    {NUMS_COUNT, 8, UINT64_MAX / 2 + 2, NUMS_COUNT, "key nums: its 9223372036854775809 elements"},
    {NUMS_COUNT, 8, UINT64_MAX, NUMS_COUNT, "key nums: its 18446744073709551615 elements do not"},
    {STRS_COUNT, 8, UINT64_C(1) << 61, STRS_COUNT, "key strs: its 2305843009213693952 elements do"},
    {STRS, 8, UINT64_MAX - 7, STRS, "key strs: string 0 of 2 needs 18446744073709551608 bytes"},
    {STRS_1, 8, 5000, STRS_1, "key strs: string 1 of 2 needs 5000 bytes, and the file ends after"},
    {KEYB_NAME, 4, 0x6179656b, KEYB_NAME, "key keya appears twice"},
    {Q_NAME_LEN, 8, 0, Q_NAME_LEN, "tensor number 0: its name has 0 bytes"},
    {F_NAME_LEN, 8, UINT64_C(1) << 63, F_NAME_LEN, "tensor number 1: its name has 92233720368547"},
    {F_NAME, 1, 0, F_NAME_LEN, "tensor number 1: its name contains a zero byte"},
    {F_NAME, 3, 0x712e74, F_NAME, "tensor t.q appears twice"},
    {Q_N_DIMS, 4, 0, Q_N_DIMS, "tensor t.q: has 0 dimensions, and must have 1 to 4"},
    {Q_N_DIMS, 4, 5, Q_N_DIMS, "tensor t.q: has 5 dimensions, and must have 1 to 4"},
    {Q_N_DIMS, 4, UINT32_MAX, Q_N_DIMS, "tensor t.q: has 4294967295 dimensions"},
    {Q_NE1, 8, 0, Q_NE0, "tensor t.q: dimension 2 of 3 is 0"},
    {Q_NE0, 8, 0, Q_NE0, "tensor t.q: dimension 1 of 3 is 0"},
    {Q_NE2, 8, UINT64_MAX, Q_NE0, "tensor t.q: dimension 3 of 3 is -1"},
    {F_NE0, 8, UINT64_C(1) << 63, F_NE0, "tensor t.f: dimension 1 of 1 is -9223372036854775808"},
    {Q_NE0, 8, 65, Q_NE0, "tensor t.q: row length 65 is no multiple of the 32 elements of a Q8_0"},
    {Q_NE1, 8, INT64_MAX, Q_NE0, "tensor t.q: its dimensions make more than 2^63 elements or"},
    {Q_NE0, 8, INT64_MAX - 31, Q_NE0, "tensor t.q: its dimensions make more than 2^63 elements"},
    {F_NE0, 8, INT64_MAX, F_NE0, "tensor t.f: its dimensions make more than 2^63 elements or"},
    {F_NE0, 8, UINT64_C(1) << 61, F_NE0, "tensor t.f: its dimensions make more than 2^63 elements"},
    {F_NE0, 8, UINT64_C(1) << 60, F_OFFSET,
     "tensor t.f: its 4611686018427387904 bytes at offset 448 reach beyond the end of the file, "
     "which has 864 bytes (the data begins at 384)"},
    {F_NE0, 8, 9, F_OFFSET, "tensor t.f: its 36 bytes at offset 448 reach beyond the end of"},
    {F_OFFSET, 8, 449, F_OFFSET, "tensor t.f: its offset 449 is no multiple of the alignment 64"},
    {F_OFFSET, 8, 512, F_OFFSET, "tensor t.f: its 32 bytes at offset 512 reach beyond the end"},
    {F_OFFSET, 8, UINT64_MAX - 63, F_OFFSET, "tensor t.f: its 32 bytes at offset 18446744073709"},
    {F_OFFSET, 8, UINT64_MAX - 511, F_OFFSET, "tensor t.f: its 32 bytes at offset 1844674407370"},
    {F_OFFSET, 8, 384, F_NAME, "tensors t.q and t.f overlap at byte 768"},
    {F_OFFSET, 8, 0, F_NAME, "tensors t.q and t.f overlap at byte 384"},
    {Q_OFFSET, 8, 64, F_NAME, "tensors t.q and t.f overlap at byte 832"},
    {Q_TYPE, 4, 4, N_FIELDS, "x.gguf: tensor t.q has type number 4 (at byte "},
    {F_TYPE, 4, UINT32_MAX, N_FIELDS, "x.gguf: tensor t.f has type number 4294967295 (at byte "},
    {VERSION, 4, 1, N_FIELDS, "x.gguf: is GGUF version 1, and this build reads 2 and 3; download"},
    {VERSION, 4, 4, N_FIELDS, "x.gguf: is GGUF version 4, and this build reads 2 and 3; update"},
    {VERSION, 4, 0, N_FIELDS, "x.gguf: is GGUF version 0, and this build reads 2 and 3;"},
    {VERSION, 4, 0x03000000, N_FIELDS, "x.gguf: is a big-endian GGUF file; use the little-endian"},
};

TEST(one_wrong_field_gets_its_sentence)
{
    struct sample sample = build();
    assert_int_equal(open_bytes(sample.bytes.ptr, sample.bytes.len), HTH_OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char expected[400];
        int len = 0;
        if (cases[i].at < N_FIELDS)
            len = snprintf(expected, sizeof expected, "x.gguf: damaged at byte %" PRIu64 ": ",
                           sample.at[cases[i].at]);
        snprintf(expected + len, sizeof expected - (size_t)len, "%s", cases[i].says);
        char *field = sample.bytes.ptr + sample.at[cases[i].field], saved[8];
        memcpy(saved, field, (size_t)cases[i].bytes);
        memcpy(field, &cases[i].value, (size_t)cases[i].bytes);
        enum hth_status status = open_bytes(sample.bytes.ptr, sample.bytes.len);
        memcpy(field, saved, (size_t)cases[i].bytes);
        if (strncmp(test_log_text(), expected, strlen(expected)) != 0)
            fail_msg("case %zu: expected \"%s\", got \"%s\"", i, expected, test_log_text());
        assert_int_equal(status, cases[i].at < N_FIELDS ? HTH_ERROR_FORMAT : HTH_ERROR_UNSUPPORTED);
        if (cases[i].at < N_FIELDS)
            assert_logged("; download the file again\n");
    }
    strbuf_free(&sample.bytes);
}

TEST(what_is_allowed_opens)
{
    static const struct {
        enum field field;
        int bytes;
        uint64_t value;
    } allowed[] = {
        {VERSION, 4, 2},
        {ALIGNMENT, 4, 32},
        {ALIGNMENT_TYPE, 4, GGUF_I32},
        {Q_NE2, 8, 1},
        {Q_NE0, 8, 32},
        {Q_TYPE, 4, 24 /* I8 */},
        {KEYB_TYPE, 4, GGUF_I8},
        {F_NE0, 8, 1},
        {NUMS_ELEM, 4, GGUF_I16},
        {F_NAME, 3, 0xfffefd},
        {TEXT, 1, 0},
        {F_TYPE, 4, 26 /* I32 */},
        {KEYB_TYPE, 4, GGUF_BOOL} /* 2 is no bool: see below */,
    };
    struct sample sample = build();
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
        char *field = sample.bytes.ptr + sample.at[allowed[i].field], saved[8];
        memcpy(saved, field, (size_t)allowed[i].bytes);
        memcpy(field, &allowed[i].value, (size_t)allowed[i].bytes);
        enum hth_status status = open_bytes(sample.bytes.ptr, sample.bytes.len);
        memcpy(field, saved, (size_t)allowed[i].bytes);
        if (status != (i + 1 < ARRAY_LEN(allowed) ? HTH_OK : HTH_ERROR_FORMAT))
            fail_msg("case %zu: %s", i, test_log_text());
    }
    strbuf_free(&sample.bytes);
}

static void set(struct sample *sample, enum field field, uint64_t value, size_t bytes)
{
    memcpy(sample->bytes.ptr + sample->at[field], &value, bytes);
}

TEST(tensors_may_touch_in_any_order_but_not_overlap)
{
    struct sample sample = build();
    set(&sample, F_OFFSET, 0, 8);
    set(&sample, Q_OFFSET, 64, 8);
    assert_int_equal(open_bytes(sample.bytes.ptr, sample.bytes.len), HTH_OK);
    set(&sample, ALIGNMENT, 8, 4);
    set(&sample, Q_OFFSET, 32, 8);
    assert_int_equal(open_bytes(sample.bytes.ptr, sample.bytes.len), HTH_OK);
    set(&sample, Q_OFFSET, 24, 8);
    assert_int_equal(open_bytes(sample.bytes.ptr, sample.bytes.len), HTH_ERROR_FORMAT);
    assert_logged("tensors t.f and t.q overlap at byte ");
    strbuf_free(&sample.bytes);
}

/* --- many bytes wrong ---------------------------------------------------------------------------
 */

TEST(every_truncation_fails)
{
    struct sample sample = build();
    for (size_t len = 0; len < sample.bytes.len; len++) {
        enum hth_status status = open_bytes(sample.bytes.ptr, len);
        if (status != HTH_ERROR_FORMAT)
            fail_msg("%zu of %zu bytes: %s", len, sample.bytes.len, hth_status_name(status));
        if (len > 4)
            assert_logged("damaged at byte");
    }
    strbuf_free(&sample.bytes);
}

TEST(random_flips_do_no_harm)
{
    struct sample sample = build();
    struct rng rng = rng_seed(20);
    char *bytes = mem_alloc(sample.bytes.len);
    int n_ok = 0;
    assert_non_null(bytes);
    uint32_t directory = (uint32_t)sample.at[F_OFFSET] + 8;
    for (int i = 0; i < 100000; i++) {
        memcpy(bytes, sample.bytes.ptr, sample.bytes.len);
        for (uint32_t n = 1 + rng_below(&rng, 4); n > 0; n--) {
            uint32_t at = 4 + rng_below(&rng, directory - 4);
            bytes[at] = rng_below(&rng, 2) ? (char)(bytes[at] ^ 1 << rng_below(&rng, 8))
                                           : (char)rng_u32(&rng);
        }
        size_t len =
            rng_below(&rng, 8) ? sample.bytes.len : rng_below(&rng, (uint32_t)sample.bytes.len);
        n_ok += open_bytes(bytes, len) == HTH_OK;
    }
    printf("%d of 100000 opened (%u)\n", n_ok, touched);
    assert_true(n_ok > 1000 && n_ok < 90000);
    mem_free(bytes);
    strbuf_free(&sample.bytes);
}

/* --- other files --------------------------------------------------------------------------------
 */

TEST(other_formats_are_named)
{
    static const struct {
        struct str bytes;
        const char *says;
    } files[] = {
        {{"", 0}, "x.gguf: is empty; download the file again"},
        {{"\x10\0\0\0\0\0\0\0{\"__metadata__\"}", 24},
         "is a safetensors file; download the model as"},
        {{"\x02\0\0\0\0\0\0\0{}", 10}, "is a safetensors file; download the model as a .gguf"},
        {{"PK\x03\x04 and so on", 14}, "is a zip archive, most likely PyTorch weights"},
        {{"\x80\x02}q\x01.", 6}, "is a Python pickle, most likely PyTorch weights"},
        {{"\x80\x04\x95", 3}, "is a Python pickle, most likely PyTorch weights"},
        {{"lmgg\1\0\0\0", 8}, "is in the GGML format of before"},
        {{"fmgg\1\0\0\0", 8}, "is in the GGMF format of before"},
        {{"tjgg\3\0\0\0", 8}, "is in the GGJT format of before"},
        {{"algg\1\0\0\0", 8}, "is a GGLA adapter of before"},
        {{"version https://git-lfs.github.com/spec/v1\n", 43}, "is a Git LFS pointer"},
        {{"<!DOCTYPE html>", 15}, "is a web page, not a model; download the file itself"},
        {{"<html><body>", 12}, "is a web page, not a model; download the file itself"},
        {{"\0\0\0\0\0\0\0\0\0\0", 10}, "begins with zeros: its download did not finish"},
        {{"Hello", 5}, "is not a GGUF file (it begins with 48 65 6c 6c, not with \"GGUF\")"},
        {{"Hi", 2}, "is not a GGUF file (it begins with 48 69, not with \"GGUF\")"},
        {{"GGU", 3},
         "damaged at byte 0: header: the magic needs 4 bytes, and the file ends after 3"},
        {{"GGUF", 4}, "damaged at byte 4: header: the version needs 4 bytes, and the file ends"},
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        assert_int_equal(open_bytes(files[i].bytes.ptr, files[i].bytes.len), HTH_ERROR_FORMAT);
        assert_logged(files[i].says);
    }
}

TEST(paths_that_are_no_files)
{
    struct gguf *gguf;
    const char *folder = test_temp_path("folder.gguf"), *empty = test_temp_path("empty.gguf");
    test_log_clear();
    assert_int_equal(gguf_open(&gguf, test_temp_path("absent.gguf"), test_log()), HTH_ERROR_IO);
    assert_logged("absent.gguf: cannot be opened: ");
    assert_null(gguf);
    assert_true(os_make_folders(folder));
    assert_int_equal(gguf_open(&gguf, folder, test_log()), HTH_ERROR_IO);
    assert_logged("folder.gguf: is a folder; name the .gguf file inside it");
    struct file_writer writer;
    assert_int_equal(file_begin(&writer, empty, test_log()), HTH_OK);
    assert_int_equal(file_commit(&writer), HTH_OK);
    assert_int_equal(gguf_open(&gguf, empty, test_log()), HTH_ERROR_FORMAT);
    assert_logged("empty.gguf: is empty; download the file again");
    assert_null(gguf);
#if !defined(_WIN32)
    assert_int_equal(gguf_open(&gguf, "/dev/null", test_log()), HTH_ERROR_IO);
    assert_logged("/dev/null: is a device or a pipe");
#endif
    /* a NULL log is silent */
    assert_int_equal(gguf_open(&gguf, folder, NULL), HTH_ERROR_IO);
    assert_int_equal(gguf_open_memory(&gguf, "junk", 4, "junk", NULL), HTH_ERROR_FORMAT);
}
