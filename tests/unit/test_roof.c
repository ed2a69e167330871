/* The limits of a device as they are read, and which of them is a row's. */
#include "harness/test.h"

#include <stdio.h>
#include <string.h>

#include "engine/roof.h"
#include "gpu/row.h"

#define BEGIN                                                                                      \
    "{\"device\": \"card\", \"read\": [{\"memory\": \"device memory\", \"bytes_per_s\": 1e11}], "  \
    "\"math\": [{\"math\": \"fp32\", \"flop_per_s\": 1e12}, "                                      \
    "{\"math\": \"fp16\", \"flop_per_s\": 2e12}, "                                                 \
    "{\"math\": \"int8 dot product\", \"flop_per_s\": null, \"why\": \"lacks it\"}], "             \
    "\"matrix\": ["
#define SHAPE(input, sum, rate)                                                                    \
    "{\"shape\": \"16x16x16\", \"input\": \"" input "\", \"sum\": \"" sum                          \
    "\", \"flop_per_s\": " rate "}"

static enum hth_status read_text(struct roof *roof, const char *text)
{
    const char *path = test_temp_path("roof.json");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
    return roof_read(roof, path, test_log());
}

static const struct row *row_named(const char *name)
{
    for (size_t i = 0; row_at(i, NULL); i++)
        if (strcmp(row_at(i, NULL)->name, name) == 0)
            return row_at(i, NULL);
    fail_msg("there is no row %s", name);
    return NULL;
}

/* Each row against the rate of its own arithmetic: of matrices the best shape of its types. */
TEST(rates_of_rows)
{
    static const char *const shapes[] = {
        SHAPE("f16", "f16", "90e12"),  SHAPE("f16", "f32", "30e12"), SHAPE("f16", "f32", "40e12"),
        SHAPE("bf16", "f32", "35e12"), SHAPE("s8", "s32", "80e12"),  SHAPE("u8", "u32", "95e12"),
    };
    char text[2048] = BEGIN;
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        strcat(text, i ? ", " : "");
        strcat(text, shapes[i]);
    }
    strcat(text, "]}");
    struct roof roof;
    assert_int_equal(read_text(&roof, text), HTH_OK);
    assert_true(roof_row_flop(&roof, row_named("matmul_coop_f16")) == 40e12);
    assert_true(roof_row_flop(&roof, row_named("matmul_coop_bf16")) == 35e12);
    assert_true(roof_row_flop(&roof, row_named("matmul_coop_s8")) == 80e12);
    assert_true(roof_row_flop(&roof, row_named("matmul_f16")) == 2e12);
    assert_true(roof_row_flop(&roof, row_named("matmul_f32")) == 1e12);
    assert_true(roof_row_flop(&roof, row_named("matmul_int")) == 0); /* was not measured */
    assert_true(roof_named_flop(&roof, "matmul_coop_bf16") == 35e12);
    assert_true(roof_named_flop(&roof, "no such row") == 80e12);
    assert_true(roof_best_flop(&roof) == 80e12);
    assert_string_equal(roof.device, "card");
}

/* What no kernel can be measured against has no share of arithmetic. */
TEST(rates_that_are_not_there)
{
    struct roof roof;
    const char *bound;
    assert_int_equal(read_text(&roof, BEGIN SHAPE("f16", "f32", "null") "]}"), HTH_OK);
    assert_true(roof_row_flop(&roof, row_named("matmul_coop_f16")) == 0);
    const struct roof_work work = {
        .bytes = 1e9, .flop = 1e15, .flop_per_s = roof.matrix_f16_flop, .seconds = 0.02};
    assert_float_equal(roof_share(&roof, &work, &bound), 0.5, 1e-9);
    assert_string_equal(bound, "read");
}

TEST(what_is_no_roof)
{
    struct roof roof;
    assert_int_equal(read_text(&roof, "{\"device\": \"card\"}"), HTH_ERROR_FORMAT);
    assert_logged("is not what bench/roof --json prints");
    assert_int_equal(read_text(&roof, "["), HTH_ERROR_FORMAT);
    assert_int_equal(
        read_text(&roof, BEGIN SHAPE("f16", "f32", "-1") ", " SHAPE("s8", "s32", "-1") "]}"),
        HTH_OK);
    assert_true(roof.matrix_s8_flop == 0);
}
