/* Models in several files. */
#include "harness/test.h"

#include <stdio.h>

#include "base/os.h"
#include "gguf/gguf.h"
#include "gguf/gguf_write.h"

static const int64_t vector[] = {5};
static const float values[5] = {1, -2, 3.5f, 0, 1e30f};

struct part_spec {
    uint16_t no, count;
    int32_t n_tensors;
    const char *tensor;
};

static void write_part(const char *path, const struct part_spec *spec)
{
    struct gguf_writer *writer;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    if (spec->no == 0)
        gguf_put_str(writer, "general.architecture", STR("llama"));
    gguf_put_array(writer, "unused", GGUF_U8, values, spec->no);
    gguf_put_key(writer, &(struct gguf_key){STR("split.no"), GGUF_U16, GGUF_U16, 1, &spec->no, 2});
    gguf_put_key(writer,
                 &(struct gguf_key){STR("split.count"), GGUF_U16, GGUF_U16, 1, &spec->count, 2});
    gguf_put_i32(writer, "split.tensors.count", spec->n_tensors);
    if (spec->tensor)
        gguf_put_tensor(writer, spec->tensor, &dtype_f32, 1, vector, values, NULL, NULL);
    assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
    gguf_writer_destroy(writer);
}

static void path_of_part(char path[1200], const char *stem, int no, int count)
{
    snprintf(path, 1200, "%s", test_temp_path("%s-%05d-of-%05d.gguf", stem, no, count));
}

/* Writes three parts: keys only, tensor "b", tensor "a". */
static void write_split(const char *stem)
{
    static const struct part_spec specs[] = {{0, 3, 2, NULL}, {1, 3, 2, "b"}, {2, 3, 2, "a"}};
    char path[1200];
    for (int i = 0; i < 3; i++) {
        path_of_part(path, stem, i + 1, 3);
        write_part(path, &specs[i]);
    }
}

TEST(split_models_open_from_any_part)
{
    char path[1200];
    write_split("split");
    for (int i = 1; i <= 3; i++) {
        struct gguf *gguf;
        uint64_t size, total = 0;
        test_log_clear();
        path_of_part(path, "split", i, 3);
        assert_int_equal(gguf_open(&gguf, path, test_log()), HTH_OK);
        assert_string_equal(test_log_text(), "");
        assert_string_equal(gguf_path(gguf), path);
        assert_non_null(gguf_key_find(gguf, "general.architecture"));
        assert_int_equal(gguf_key_find(gguf, "unused")->count, 0);
        assert_int_equal(gguf_n_tensors(gguf), 2);
        assert_true(str_equal(gguf_tensor_at(gguf, 0)->name, STR("b")));
        assert_int_equal(gguf_tensor_find(gguf, "b")->part, 1);
        assert_int_equal(gguf_tensor_find(gguf, "a")->part, 2);
        assert_memory_equal(gguf_tensor_find(gguf, "a")->data, values, sizeof values);
        for (int k = 1; k <= 3; k++) {
            path_of_part(path, "split", k, 3);
            assert_int_equal(os_stat(path, &size, NULL), OS_FILE_REGULAR);
            total += size;
        }
        assert_int_equal(gguf_file_bytes(gguf), total);
        gguf_close(gguf);
    }
}

TEST(split_models_with_a_part_missing_or_foreign)
{
    static const struct {
        int no;                /* the part that is replaced … */
        struct part_spec spec; /* … by this; count 0: removed */
        enum hth_status status;
        const char *says;
    } wrong[] = {
        {2,
         {0, 0, 0, NULL},
         HTH_ERROR_IO,
         "-00002-of-00003.gguf: part 2 of 3 of this model is missing; put it beside the other"},
        {3,
         {1, 3, 2, "a"},
         HTH_ERROR_FORMAT,
         "-00003-of-00003.gguf: says that it is part 2 of 3 of a model of 2 tensors, where part 3"},
        {2,
         {1, 4, 2, "b"},
         HTH_ERROR_FORMAT,
         "says that it is part 2 of 4 of a model of 2 tensors"},
        {2,
         {1, 3, 9, "b"},
         HTH_ERROR_FORMAT,
         "says that it is part 2 of 3 of a model of 9 tensors"},
        {2, {1, 3, 2, "a"}, HTH_ERROR_FORMAT, "tensor a appears twice; download the file again"},
        {3,
         {2, 3, 2, NULL},
         HTH_ERROR_FORMAT,
         "-00001-of-00003.gguf: the 3 parts of this model hold 1 tensors, and "
         "split.tensors.count says 2; download them again"},
    };
    char path[1200], first[1200];
    path_of_part(first, "wrong", 1, 3);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct gguf *gguf;
        write_split("wrong");
        path_of_part(path, "wrong", wrong[i].no, 3);
        if (wrong[i].spec.count)
            write_part(path, &wrong[i].spec);
        else
            assert_true(os_remove(path));
        test_log_clear();
        assert_int_equal(gguf_open(&gguf, first, test_log()), wrong[i].status);
        assert_null(gguf);
        assert_logged(wrong[i].says);
    }
}

TEST(split_models_that_contradict_their_names)
{
    static const struct part_spec second = {1, 3, 2, "b"}, bad = {3, 3, 2, "b"},
                                  alone = {0, 1, 1, "b"}, negative = {0, 3, -2, "b"};
    const char *path = test_temp_path("renamed.gguf");
    struct gguf *gguf;
    test_log_clear();
    write_part(path, &second);
    assert_int_equal(gguf_open(&gguf, path, test_log()), HTH_ERROR_FORMAT);
    assert_logged("renamed.gguf: is part 2 of 3 of a model, and its name must end in "
                  "-00002-of-00003.gguf so that the other parts can be found; rename it");
    struct strbuf bytes = {0};
    assert_int_equal(file_read(path, 1 << 20, &bytes, test_log()), HTH_OK);
    assert_int_equal(gguf_open_memory(&gguf, bytes.ptr, bytes.len, "part", test_log()),
                     HTH_ERROR_UNSUPPORTED);
    assert_logged("part: is part 2 of 3 of a model, and parts are read from files only");
    strbuf_free(&bytes);
    write_part(path, &bad);
    assert_int_equal(gguf_open(&gguf, path, test_log()), HTH_ERROR_FORMAT);
    assert_logged("keys split.no and split.count: say part 3 of 3, counted from 0");
    write_part(path, &negative);
    assert_int_equal(gguf_open(&gguf, path, test_log()), HTH_ERROR_FORMAT);
    assert_logged("key split.tensors.count: is no unsigned integer");
    write_part(path, &alone);
    assert_int_equal(gguf_open(&gguf, path, test_log()), HTH_OK);
    gguf_close(gguf);
}

static enum hth_status open_split(void *arg)
{
    struct gguf *gguf;
    enum hth_status status = gguf_open(&gguf, arg, NULL);
    if (status != HTH_OK)
        assert_null(gguf);
    gguf_close(gguf);
    return status;
}

TEST(failing_allocations)
{
    char path[1200];
    write_split("alloc");
    path_of_part(path, "alloc", 2, 3);
    test_each_allocation_fails(open_split, path);
}
