/* hearth selftest, and shares of a roof. */
#include "spawn.h"

#include <jansson.h>

TEST(kernels_of_a_model_are_right)
{
    struct spawn s = {0};
    spawn_need_device();
    RUN(&s, "selftest", "synth:tiny-llama:q4_0", "--device", "vulkan:0", "--rows", "rms_norm");
    assert_code(&s, 0);
    assert_contains(s.out.ptr, "llvmpipe");
    assert_contains(s.out.ptr, "rms_norm (rms_norm): GROUP=");
    assert_contains(s.out.ptr, " kernels: all are right\n");
    assert_null(strstr(s.out.ptr, "matmul"));
    spawn_free(&s);
}

/* Rows that selection would not choose are tested, too. */
TEST(the_report_as_json)
{
    struct spawn s = {0};
    spawn_need_device();
    RUN(&s, "selftest", "synth:tiny-llama:q4_0", "--device", "vulkan:0", "--rows", "matmul",
        "--json");
    assert_code(&s, 0);
    json_t *report = json_loads(s.out.ptr, 0, NULL);
    assert_non_null(report);
    assert_int_equal(json_integer_value(json_object_get(report, "n_wrong")), 0);
    assert_true(json_array_size(json_object_get(report, "kernels")) >= 3);
    assert_non_null(json_string_value(json_object_get(report, "driver")));
    assert_contains(s.out.ptr, "\"matmul_f32\"");
    assert_contains(s.out.ptr, "\"matmul_f16\"");
    json_decref(report);
    spawn_free(&s);
}

TEST(nothing_to_test)
{
    struct spawn s = {0};
    RUN(&s, "selftest", "--device", "cpu");
    spawn_assert_refused(&s, 2, "there is no Vulkan GPU to test");
    spawn_free(&s);
    spawn_need_device();
    RUN(&s, "selftest", "synth:tiny-llama:q4_0", "--device", "vulkan:0", "--rows", "matvecs");
    assert_code(&s, 2);
    assert_contains(s.err.ptr, "has the name \"matvecs\"");
    spawn_free(&s);
}

/* --- roofs ------------------------------------------------------------------------------------ */

static const char ROOF[] = "{\"device\": \"CPU\", \"read\": [{\"memory\": \"device memory\", "
                           "\"bytes_per_s\": 1e12}], \"math\": [{\"math\": \"fp32\", "
                           "\"flop_per_s\": 1e15}], \"matrix\": []}";

TEST(bench_beside_a_roof)
{
    struct spawn s = {0};
    const char *roof = spawn_file("roof.json", ROOF, sizeof ROOF - 1);
    RUN(&s, "bench", spawn_tiny_model(), "-p", "8", "-n", "2", "-r", "1", "--device", "cpu",
        "--roof", roof);
    assert_code(&s, 0);
    assert_contains(s.out.ptr, " % of the roof (read)\n");
    assert_null(strstr(s.err.ptr, "another device"));
    spawn_free(&s);
}

TEST(roofs_that_are_none)
{
    static const char *const wrong[] = {"", "[]", "{}", "{\"device\": \"CPU\"}", ROOF + 1};
    struct spawn s = {0};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        const char *roof = spawn_file("roof.json", wrong[i], strlen(wrong[i]));
        RUN(&s, "bench", spawn_tiny_model(), "--device", "cpu", "--roof", roof);
        spawn_assert_refused(&s, 1, "is not what bench/roof --json prints");
        spawn_free(&s);
    }
    RUN(&s, "bench", spawn_tiny_model(), "--device", "cpu", "--roof", spawn_temp("absent.json"));
    spawn_assert_refused(&s, 1, "absent.json");
    spawn_free(&s);
}
