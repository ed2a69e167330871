/* Every file of golden/quant: its blocks decode to its values, bit for bit. */
#include "harness/test.h"

#include <dirent.h>
#include <stdio.h>

#include "base/half.h"
#include "gguf/gguf.h"
#include "quant/dtype.h"

enum { N_VALUES = 8 * 512 };

/* Formats that no build may leave out. */
static const char *const required[] = {
    "F16",   "BF16",   "Q8_0",   "Q4_0",  "Q4_1",  "Q5_0",    "Q5_1",   "Q2_K",  "Q3_K",
    "Q4_K",  "Q5_K",   "Q6_K",   "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS",
    "IQ3_S", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4",   "NVFP4"};

static uint32_t ordered(float value)
{
    uint32_t bits = f32_to_bits(value);
    return bits & 0x80000000 ? 0x80000000 - (bits & 0x7fffffff) : 0x80000000 + bits;
}

static void check_file(const char *stem, const struct dtype *type)
{
    struct gguf *gguf = NULL;
    assert_int_equal(gguf_open(&gguf, test_golden_path("quant/%s.gguf", stem), test_log()), HTH_OK);
    const struct gguf_tensor *blocks = gguf_tensor_find(gguf, "blocks");
    const struct gguf_tensor *values = gguf_tensor_find(gguf, "values");
    assert_non_null(blocks);
    assert_non_null(values);
    assert_ptr_equal(blocks->dtype, type);
    assert_int_equal(blocks->ne[0] * blocks->ne[1], N_VALUES);
    assert_int_equal(values->ne[0] * values->ne[1], N_VALUES);
    assert_int_equal(blocks->size_bytes, dtype_row_bytes(type, N_VALUES));
    assert_int_equal(values->size_bytes, N_VALUES * sizeof(float));
    static float got[N_VALUES], want[N_VALUES];
    memcpy(want, values->data, sizeof want);
    for (size_t i = 0; i < N_VALUES; i++)
        got[i] = f32_from_bits(0x7fc01234);
    type->decode(blocks->data, got, N_VALUES);
    for (size_t i = 0; i < N_VALUES; i++)
        if (ordered(got[i]) != ordered(want[i]))
            fail_msg("%s: value %zu is %a, should be %a", stem, i, got[i], want[i]);
    gguf_close(gguf);
}

/* A file "q4_K.gguf" is for the type of that name; false for anything else. */
static bool type_of_file(const char *file, char *stem, size_t size)
{
    size_t len = strlen(file);
    if (len < 5 || len - 5 >= size || strcmp(file + len - 5, ".gguf") != 0)
        return false;
    memcpy(stem, file, len - 5);
    stem[len - 5] = 0;
    return true;
}

TEST(decode_is_exact)
{
    DIR *folder = opendir(test_golden_path("quant"));
    assert_non_null(folder);
    size_t n_exact = 0, n_skipped = 0, n_required = 0;
    for (const struct dirent *entry; (entry = readdir(folder));) {
        char stem[64];
        if (!type_of_file(entry->d_name, stem, sizeof stem))
            continue;
        const struct dtype *type = dtype_by_name(str_of(stem));
        if (!type || !type->decode) {
            printf("%s: not a format of this build, skipped\n", stem);
            n_skipped++;
            continue;
        }
        check_file(stem, type);
        n_exact++;
        for (size_t i = 0; i < ARRAY_LEN(required); i++)
            n_required += strcmp(type->name, required[i]) == 0;
    }
    closedir(folder);
    printf("%zu formats exact, %zu skipped\n", n_exact, n_skipped);
    assert_int_equal(n_required, ARRAY_LEN(required));
}
