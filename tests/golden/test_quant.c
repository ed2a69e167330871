/* Every file of golden/quant: its blocks decode to its values, bit for bit. */
#include "harness/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/half.h"
#include "gguf/gguf.h"
#include "quant/dtype.h"

/* File stems, as the golden folder has them; a file is for the type of the same name. */
static const char *const stems[] = {
    "f16",   "bf16",   "q8_0",   "q4_0",  "q4_1",  "q4_K",    "q5_K",   "q6_K",  "q2_K",
    "q3_K",  "q5_0",   "q5_1",   "iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs",
    "iq3_s", "iq4_nl", "iq4_xs", "tq1_0", "tq2_0", "mxfp4",   "nvfp4",
};
/* The first nine may never be absent from a build. */
enum { N_REQUIRED = 8, N_VALUES = 8 * 512 };

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

TEST(decode_is_exact)
{
    size_t n_skipped = 0;
    test_golden();
    for (size_t i = 0; i < ARRAY_LEN(stems); i++) {
        const struct dtype *type = dtype_by_name(str_of(stems[i]));
        if (type && type->decode) {
            check_file(stems[i], type);
            continue;
        }
        assert_true(i >= N_REQUIRED);
        printf("%s: not a format of this build, skipped\n", stems[i]);
        n_skipped++;
    }
    printf("%zu formats exact, %zu skipped\n", ARRAY_LEN(stems) - n_skipped, n_skipped);
}
