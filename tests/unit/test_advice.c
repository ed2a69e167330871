/* What a model's file advises for sampling. */
#include "harness/test.h"

#include <math.h>
#include <stdio.h>

#include "gguf/gguf_write.h"
#include "sample/advice.h"

/* A file of these keys alone: texts, or numbers. */
struct key {
    const char *name, *text;
    double number;
};

static void read_keys(struct advice *advice, const struct key *keys, size_t count)
{
    struct gguf_writer *writer;
    struct gguf *gguf;
    struct strbuf bytes = {0};
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    for (size_t i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "general.sampling.%s", keys[i].name);
        if (keys[i].text)
            gguf_put_str(writer, name, str_of(keys[i].text));
        else if (i % 2)
            gguf_put_f32(writer, name, (float)keys[i].number);
        else
            gguf_put_key(writer, &(struct gguf_key){str_of(name), GGUF_F64, GGUF_F64, 1,
                                                    &keys[i].number, sizeof(double)});
    }
    assert_int_equal(gguf_writer_save_memory(writer, &bytes), HTH_OK);
    gguf_writer_destroy(writer);
    assert_int_equal(gguf_open_memory(&gguf, bytes.ptr, bytes.len, "a.gguf", test_log()), HTH_OK);
    test_log_clear();
    assert_int_equal(advice_read(advice, gguf, test_log()), HTH_OK);
    gguf_close(gguf);
    strbuf_free(&bytes);
}

#define READ(advice, ...)                                                                          \
    read_keys(advice, (const struct key[]){__VA_ARGS__},                                           \
              sizeof((const struct key[]){__VA_ARGS__}) / sizeof(struct key))

TEST(every_key_is_an_option)
{
    struct advice advice;
    READ(&advice, {"temp", NULL, 0.6}, {"top_k", NULL, 20}, {"top_p", NULL, 0.95},
         {"min_p", NULL, 0.05}, {"xtc_probability", NULL, 0.5}, {"xtc_threshold", NULL, 0.2},
         {"penalty_last_n", NULL, -1}, {"penalty_repeat", NULL, 1.05}, {"mirostat", NULL, 2},
         {"mirostat_tau", NULL, 4}, {"mirostat_eta", NULL, 0.2},
         {"sequence", "top_k;min_p;temperature", 0});
    const struct hth_sampler_options *o = &advice.options;
    assert_true(o->temp == 0.6f && o->top_k == 20 && o->top_p == 0.95f && o->min_p == 0.05f);
    assert_true(o->xtc_probability == 0.5f && o->xtc_threshold == 0.2f);
    assert_true(o->repeat_last_n == -1 && o->repeat_penalty == 1.05f);
    assert_true(o->mirostat == 2 && o->mirostat_tau == 4.0f && o->mirostat_eta == 0.2f);
    assert_string_equal(o->samplers, "top_k;min_p;temperature");
    assert_string_equal(test_log_text(), "");
    advice_free(&advice);
}

TEST(a_file_may_say_nothing)
{
    struct advice advice;
    READ(&advice, {"other", NULL, 3});
    assert_memory_equal(&advice.options, &(struct hth_sampler_options){0}, sizeof advice.options);
    assert_string_equal(test_log_text(), "");
    READ(&advice, {"top_k", NULL, -1}, {"penalty_repeat", NULL, 1.3}, {"penalty_last_n", NULL, 0});
    assert_int_equal(advice.options.top_k, 0);          /* all */
    assert_true(advice.options.repeat_penalty == 0.0f); /* of no tokens */
    assert_string_equal(test_log_text(), "");
}

static void expect_ignored(const char *name, const char *text, double number, const char *why)
{
    struct advice advice;
    READ(&advice, {name, text, number});
    assert_memory_equal(&advice.options, &(struct hth_sampler_options){0}, sizeof advice.options);
    char key[80];
    snprintf(key, sizeof key, "a.gguf: general.sampling.%s is", name);
    assert_logged(key);
    assert_logged(why);
    advice_free(&advice);
}

TEST(absurd_values_are_ignored_with_a_warning)
{
    expect_ignored("temp", NULL, -1, "-1, and is ignored: it must be a number from 0 to 100");
    expect_ignored("temp", NULL, 1e9, "from 0 to 100");
    expect_ignored("temp", "hot", 0, "no number");
    expect_ignored("top_p", NULL, (double)NAN, "is nan");
    expect_ignored("min_p", NULL, (double)INFINITY, "is inf");
    expect_ignored("top_k", NULL, 2.5, "a whole number from -1 to 2147483647");
    expect_ignored("top_k", NULL, 1e12, "from -1 to 2147483647");
    expect_ignored("penalty_repeat", NULL, 0, "from 0.01 to 100");
    expect_ignored("mirostat", NULL, 1, "there is mirostat 2");
    expect_ignored("mirostat", NULL, 3, "from 0 to 2");
    expect_ignored("sequence", NULL, 3, "names with semicolons");
    expect_ignored("sequence", "", 0, "names with semicolons");
    expect_ignored("sequence", "top_k;infill", 0, "there is no sampler \"infill\"");
}

static enum hth_status read_sequence(void *arg)
{
    struct advice advice;
    enum hth_status status = advice_read(&advice, arg, test_log());
    if (status)
        assert_null(advice.samplers);
    advice_free(&advice);
    return status;
}

TEST(no_memory)
{
    struct gguf_writer *writer;
    struct gguf *gguf;
    struct strbuf bytes = {0};
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "general.sampling.sequence", STR("top_k"));
    assert_int_equal(gguf_writer_save_memory(writer, &bytes), HTH_OK);
    gguf_writer_destroy(writer);
    assert_int_equal(gguf_open_memory(&gguf, bytes.ptr, bytes.len, "a.gguf", test_log()), HTH_OK);
    test_each_allocation_fails(read_sequence, gguf);
    gguf_close(gguf);
    strbuf_free(&bytes);
}
