/* What the self-test makes of numbers that are nearly right. */
#include <math.h>
#include <string.h>

#include "gpu/selftest_part.h"
#include "products.h"

static const struct selftest_size size = {.rows = 144, .tokens = 36, .experts = 8, .pos = 6};

static const struct row *row_named(const char *name)
{
    const struct row *row;
    size_t i = 0;
    while ((row = row_at(i, NULL)) && strcmp(row->name, name) != 0)
        i++;
    assert_non_null(row);
    return row;
}

/* A product whose result is as it should be. */
static void begin(struct selftest_case *c, float **got, size_t *n)
{
    struct product p;
    product_begin(&p, &dtype_q4_0, 4096, 512, 512);
    assert_int_equal(selftest_case_create(c, p.op, 512, &size, test_log()), HTH_OK);
    assert_int_equal(selftest_case_fill(c, test_log()), HTH_OK);
    product_end(&p);
    memcpy(c->got, c->expected, c->map.size_bytes);
    *got = (float *)(void *)(c->got + c->map.offsets[c->op->out[0]->id]);
    *n = (size_t)(c->op->out[0]->ne[0] * c->batch.n_tokens);
}

static double rms_of(const float *values, size_t n)
{
    double power = 0;
    for (size_t i = 0; i < n; i++)
        power += (double)values[i] * values[i];
    return sqrt(power / (double)n);
}

static struct selftest_result judged(const struct selftest_case *c, const char *row)
{
    struct selftest_result result = {0};
    selftest_case_judge(c, row_named(row), &result);
    return result;
}

/* Its NMSE may be within what rows of integers are allowed. */
TEST(one_element_that_is_missing)
{
    struct selftest_case c;
    struct selftest_result result;
    char text[128];
    float *got;
    size_t n, at = 0;
    begin(&c, &got, &n);
    double rms = rms_of(got, n);
    assert_int_equal(judged(&c, "matmul_int").verdict, SELFTEST_RIGHT);
    while (fabs(got[at]) < 0.5 * rms || fabs(got[at]) > rms)
        at++;
    got[at] = 0;
    result = judged(&c, "matmul_int");
    assert_int_equal(result.verdict, SELFTEST_WRONG);
    assert_true(result.nmse < result.tolerance);
    assert_true(result.worst >= 0.5 && result.worst <= 1);
    selftest_explain(&result, text, sizeof text);
    assert_non_null(strstr(text, "an element is off by 0."));
    got[at] = NAN;
    result = judged(&c, "matmul_int");
    assert_int_equal(result.verdict, SELFTEST_WRONG);
    assert_true(result.worst == 0);
    selftest_explain(&result, text, sizeof text);
    assert_non_null(strstr(text, "NMSE inf, allowed 0.000"));
    selftest_case_free(&c);
}

/* Errors as large as they may be, all alike, and one of six times that. */
TEST(errors_as_they_may_be)
{
    struct selftest_case c;
    float *got;
    size_t n;
    begin(&c, &got, &n);
    double error = 0.9 * rms_of(got, n) * sqrt(op_def_of(OP_MATMUL)->tolerance_int);
    for (size_t i = 0; i < n; i++)
        got[i] += (float)(i % 2 ? error : -error);
    assert_int_equal(judged(&c, "matmul_int").verdict, SELFTEST_RIGHT);
    got[7] += (float)(5 * error);
    assert_int_equal(judged(&c, "matmul_int").verdict, SELFTEST_RIGHT);
    assert_int_equal(judged(&c, "matmul_f32").verdict, SELFTEST_WRONG);
    got[7] += (float)(5 * error);
    assert_int_equal(judged(&c, "matmul_int").verdict, SELFTEST_WRONG);
    selftest_case_free(&c);
}
