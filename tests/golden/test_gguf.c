#include "harness/test.h"

#include <dirent.h>

#include "base/os.h"
#include "gguf/gguf.h"

struct tally {
    int n_files, n_open, n_unknown_type;
    unsigned sum; /* of bytes touched, so that the reads are not removed */
};

static void touch(const struct gguf *gguf, struct tally *tally)
{
    for (size_t i = 0; i < gguf_n_keys(gguf); i++) {
        const struct gguf_key *key = gguf_key_at(gguf, i);
        struct gguf_strings cursor = {0};
        struct str text;
        uint64_t n = 0;
        while (gguf_next_str(key, &cursor, &text))
            n++;
        if (key->type == GGUF_ARRAY && key->elem == GGUF_STRING) {
            assert_int_equal(n, key->count);
            assert_int_equal(cursor.offset, key->size_bytes);
        }
    }
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
        const unsigned char *data = tensor->data;
        tally->sum += (unsigned)data[0] + data[tensor->size_bytes - 1];
        uint64_t rows = 1;
        for (uint32_t d = 1; d < GGUF_MAX_DIMS; d++)
            rows *= (uint64_t)tensor->ne[d];
        assert_int_equal(tensor->size_bytes,
                         rows * dtype_row_bytes(tensor->dtype, (uint64_t)tensor->ne[0]));
        assert_int_equal((uintptr_t)data % gguf_alignment(gguf), 0);
    }
}

static void read_one(const char *path, struct tally *tally)
{
    struct gguf *gguf;
    test_log_clear();
    enum hth_status status = gguf_open(&gguf, path, test_log());
    tally->n_files++;
    if (status == HTH_ERROR_UNSUPPORTED) {
        assert_logged("which this build of hearth does not know");
        tally->n_unknown_type++;
        return;
    }
    if (status != HTH_OK)
        fail_msg("%s", test_log_text());
    assert_string_equal(test_log_text(), "");
    tally->n_open++;
    touch(gguf, tally);
    gguf_close(gguf);
}

static void walk(const char *folder, struct tally *tally, int depth)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        struct strbuf path = {0};
        strbuf_printf(&path, "%s/%s", folder, entry->d_name);
        enum os_file_kind kind = os_stat(path.ptr, NULL, NULL);
        if (kind == OS_FILE_FOLDER && depth < 4)
            walk(path.ptr, tally, depth + 1);
        else if (kind == OS_FILE_REGULAR && str_ends_with(strbuf_str(&path), STR(".gguf")))
            read_one(path.ptr, tally);
        strbuf_free(&path);
    }
    closedir(dir);
}

TEST(every_golden_file)
{
    struct tally tally = {0};
    walk(test_golden(), &tally, 0);
    printf("%d files: %d read, %d of types this build does not know (%u)\n", tally.n_files,
           tally.n_open, tally.n_unknown_type, tally.sum);
    assert_true(tally.n_open > 60);
}
