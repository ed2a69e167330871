/* eval, bench and rows: what other programs read. */
#include "spawn.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/os.h"
#include "gguf/gguf_write.h"

enum { N_IDS = 21 };
static const char ids_text[] = "1,5,9,300,301,302,17,18,19,20,400,401,402,403,404,7,8,9,10,11,12";

struct logits {
    struct gguf *gguf;
    const float *values;
    int64_t n_vocab, n_rows;
    const struct gguf_tensor *tokens;
};

static struct logits open_logits(const char *path)
{
    struct logits l = {0};
    assert_int_equal(gguf_open(&l.gguf, path, test_log()), HTH_OK);
    const struct gguf_tensor *tensor = gguf_tensor_find(l.gguf, "logits");
    l.tokens = gguf_tensor_find(l.gguf, "tokens");
    assert_non_null(tensor);
    assert_non_null(l.tokens);
    assert_ptr_equal(tensor->dtype, &dtype_f32);
    assert_ptr_equal(l.tokens->dtype, &dtype_i32);
    l.values = tensor->data;
    l.n_vocab = tensor->ne[0];
    l.n_rows = tensor->ne[1];
    return l;
}

/* Runs eval over the ids with more options (up to three words); fails unless it succeeds. */
static struct logits eval(const char *name, const char *a, const char *b, const char *c)
{
    struct spawn s = {0};
    const char *path = spawn_temp(name);
    RUN(&s, "eval", spawn_tiny_model(), "--ids", ids_text, "--logits", path, "--float", "--kv",
        "f32", a ? a : "-v", b, b ? c : NULL);
    assert_code(&s, 0);
    assert_string_equal(s.out.ptr, "");
    spawn_free(&s);
    return open_logits(path);
}

static void expect_near(const struct logits *all, const struct logits *some, double limit)
{
    int64_t skip = all->n_rows - some->n_rows;
    double error = test_nmse(all->values + skip * all->n_vocab, some->values,
                             (size_t)(some->n_rows * all->n_vocab));
    if (!(error <= limit))
        fail_msg("NMSE %g exceeds %g", error, limit);
}

TEST(eval_writes_tokens_and_logits)
{
    struct logits all = eval("all.gguf", "--device", "cpu", NULL);
    assert_int_equal(all.n_rows, N_IDS);
    assert_int_equal(all.n_vocab, 2048);
    assert_int_equal(all.tokens->ne[0], N_IDS);
    const int32_t *ids = all.tokens->data;
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[N_IDS - 1], 12);
    gguf_close(all.gguf);
}

TEST(eval_in_pieces_is_the_same)
{
    struct logits all = eval("all.gguf", "--device", "cpu", NULL);
    static const char *const batches[] = {"--batch=1", "--batch=4", "--batch=7", "--batch=20"};
    for (size_t i = 0; i < ARRAY_LEN(batches); i++) {
        struct logits pieces = eval("pieces.gguf", "--device=cpu", batches[i], NULL);
        assert_int_equal(pieces.n_rows, N_IDS);
        expect_near(&all, &pieces, 1e-9);
        gguf_close(pieces.gguf);
    }
    gguf_close(all.gguf);
}

TEST(eval_of_the_last_rows)
{
    struct logits all = eval("all.gguf", "--device", "cpu", NULL);
    static const char *const lasts[] = {"--last=1", "--last=5", "--last=20", "--last=999"};
    for (size_t i = 0; i < ARRAY_LEN(lasts); i++) {
        struct logits last = eval("last.gguf", "--device=cpu", lasts[i], "--batch=4");
        int64_t wanted = atoi(lasts[i] + 7);
        assert_int_equal(last.n_rows, wanted < N_IDS ? wanted : N_IDS);
        assert_int_equal(last.tokens->ne[0], N_IDS);
        expect_near(&all, &last, 1e-9);
        gguf_close(last.gguf);
    }
    gguf_close(all.gguf);
}

TEST(eval_takes_tokens_from_a_file)
{
    struct logits all = eval("all.gguf", "--device", "cpu", NULL);
    struct spawn s = {0};
    /* what eval writes, eval reads */
    RUN(&s, "eval", spawn_tiny_model(), "--tokens", gguf_path(all.gguf), "--logits",
        spawn_temp("again.gguf"), "--float", "--kv", "F32", "--device", "cpu");
    assert_code(&s, 0);
    struct logits again = open_logits(spawn_temp("again.gguf"));
    expect_near(&all, &again, 0);
    RUN(&s, "eval", spawn_tiny_model(), "--tokens", spawn_tiny_model(), "--logits",
        spawn_temp("x.gguf"));
    spawn_assert_refused(&s, 1, "has no tensor \"tokens\"");
    gguf_close(all.gguf);
    gguf_close(again.gguf);
    spawn_free(&s);
}

TEST(eval_takes_text)
{
    struct spawn s = {0}, ids = {.input = STR("Some text.")};
    RUN(&ids, "tokenize", spawn_tiny_model());
    RUN(&s, "eval", spawn_tiny_model(), "-f", spawn_file("text", "Some text.", 10), "--logits",
        spawn_temp("text.gguf"), "--device", "cpu");
    assert_code(&s, 0);
    struct logits text = open_logits(spawn_temp("text.gguf"));
    struct strbuf printed = {0};
    for (int64_t i = 0; i < text.tokens->ne[0]; i++)
        strbuf_printf(&printed, "%s%d", i ? " " : "", ((const int32_t *)text.tokens->data)[i]);
    strbuf_append(&printed, STR("\n"));
    assert_string_equal(printed.ptr, ids.out.ptr);
    gguf_close(text.gguf);
    RUN(&s, "eval", spawn_tiny_model(), "-f", spawn_file("bad", "\xff", 1), "--logits",
        spawn_temp("bad.gguf"), "--device", "cpu");
    spawn_assert_refused(&s, 1, "not UTF-8");
    strbuf_free(&printed);
    spawn_free(&s);
    spawn_free(&ids);
}

/* Templates write the BOS that the vocabulary puts in front anyway. */
TEST(eval_of_text_has_one_bos)
{
    static const char *const texts[] = {"<s>Some text.", "Some text."};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct spawn s = {0};
        RUN(&s, "eval", spawn_tiny_model(), "-f", spawn_file("text", texts[i], strlen(texts[i])),
            "--logits", spawn_temp("text.gguf"), "--device", "cpu");
        assert_code(&s, 0);
        struct logits text = open_logits(spawn_temp("text.gguf"));
        const int32_t *ids = text.tokens->data;
        assert_true(text.tokens->ne[0] > 2);
        assert_int_equal(ids[0], 1);
        assert_int_not_equal(ids[1], 1);
        gguf_close(text.gguf);
        spawn_free(&s);
    }
}

TEST(eval_refuses_tokens_that_are_none)
{
    const char *path = spawn_temp("kept.gguf");
    static const char *const bad[] = {"1,2,2048", "-1", "1,99999999"};
    spawn_file("kept.gguf", "old", 3);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct spawn s = {0};
        RUN(&s, "eval", spawn_tiny_model(), "--ids", bad[i], "--logits", path, "--device", "cpu");
        spawn_assert_refused(&s, 1, "is outside of the vocabulary (0 to 2047)");
        spawn_free(&s);
    }
    struct spawn s = {0};
    RUN(&s, "eval", spawn_tiny_model(), "--ids", "1,2,3", "--ctx", "2", "--logits", path,
        "--device", "cpu");
    spawn_assert_refused(&s, 1, "--ctx");
    struct strbuf kept = {0};
    assert_int_equal(file_read(path, 100, &kept, test_log()), HTH_OK);
    assert_string_equal(kept.ptr, "old");
    strbuf_free(&kept);
    spawn_free(&s);
}

TEST(eval_to_a_full_disk)
{
    if (os_stat("/dev/full", NULL, NULL) != OS_FILE_OTHER)
        test_skip("this system has no /dev/full");
    struct spawn s = {0};
    RUN(&s, "eval", spawn_tiny_model(), "--ids", "1,2,3", "--logits", "/dev/full", "--device",
        "cpu");
    spawn_assert_refused(&s, 1, "/dev/full: cannot be written");
    assert_int_equal(os_stat("/dev/full", NULL, NULL), OS_FILE_OTHER);
    spawn_free(&s);
}

TEST(eval_on_a_device_agrees_with_the_cpu)
{
    spawn_need_device();
    struct logits cpu = eval("cpu.gguf", "--device", "cpu", NULL);
    struct logits gpu = eval("gpu.gguf", "--device", "vulkan:0", NULL);
    expect_near(&cpu, &gpu, 1e-6);
    gguf_close(gpu.gguf);
    gpu = eval("gpu.gguf", "--device=vulkan:0", "--batch=5", "--last=3");
    expect_near(&cpu, &gpu, 1e-6);
    gguf_close(cpu.gguf);
    gguf_close(gpu.gguf);
}

TEST(eval_with_every_cache_type)
{
    struct logits exact = eval("all.gguf", "--device", "cpu", NULL);
    static const char *const types[] = {"f16", "q8_0", "q4_0"};
    static const double near[] = {1e-2, 1e-2, 0.1}; /* blocks of four bits lose about 1 % */
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct logits l = eval("kv.gguf", "--device=cpu", "--kv", types[i]);
        expect_near(&exact, &l, near[i]);
        assert_memory_not_equal(exact.values, l.values, sizeof(float) * 2048 * N_IDS);
        gguf_close(l.gguf);
    }
    gguf_close(exact.gguf);
}

/* --- bench ------------------------------------------------------------------------------------ */

static json_t *parse(const struct spawn *s)
{
    json_error_t error;
    assert_code(s, 0);
    json_t *json = json_loads(s->out.ptr, 0, &error);
    if (!json)
        fail_msg("line %d: %s in:\n%s", error.line, error.text, s->out.ptr);
    assert_true(json_is_array(json));
    return json;
}

static void check_test(const json_t *test, const char *name)
{
    assert_string_equal(json_string_value(json_object_get(test, "test")), name);
    assert_true(json_number_value(json_object_get(test, "tokens_per_s")) > 0);
    assert_true(json_number_value(json_object_get(test, "gb_per_s")) > 0);
    json_int_t file = json_integer_value(json_object_get(test, "weight_bytes_file"));
    json_int_t resident = json_integer_value(json_object_get(test, "weight_bytes_resident"));
    assert_true(file > 1000000);
    assert_true(resident >= file && (double)resident < 1.1 * (double)file);
    assert_true(json_array_size(json_object_get(test, "rows")) > 3);
    assert_true(json_is_string(json_array_get(json_object_get(test, "rows"), 0)));
}

TEST(bench_as_json)
{
    struct spawn s = {0};
    RUN(&s, "bench", "synth:tiny-llama:q4_0", "-p", "40,3", "-n", "5", "-d", "70", "-r", "2",
        "--json", "--device", "cpu");
    json_t *json = parse(&s);
    assert_int_equal(json_array_size(json), 3);
    check_test(json_array_get(json, 0), "pp40");
    check_test(json_array_get(json, 1), "pp3");
    check_test(json_array_get(json, 2), "tg5");
    json_decref(json);
    spawn_free(&s);
}

TEST(bench_for_people)
{
    struct spawn s = {0}, wrong = {0};
    RUN(&s, "bench", spawn_tiny_model(), "-p", "8", "-n", "0", "-r", "1", "--device", "cpu");
    assert_code(&s, 0);
    assert_contains(s.out.ptr, "pp8");
    assert_contains(s.out.ptr, "tokens/s");
    assert_null(strstr(s.out.ptr, "tg"));
    RUN(&wrong, "bench", "synth:nothing:q4_0");
    assert_int_not_equal(wrong.code, 0);
    assert_contains(wrong.err.ptr, "nothing");
    spawn_free(&s);
    spawn_free(&wrong);
}

/* A prompt, its rest and an answer take few kernels. */
static void check_pipelines(const json_t *json)
{
    json_int_t before = 0;
    for (size_t i = 0; i < json_array_size(json); i++) {
        const json_t *test = json_array_get(json, i);
        json_int_t n = json_integer_value(json_object_get(test, "pipelines"));
        assert_in_range(n, 6, 60);
        assert_true(n >= before);
        assert_true(json_integer_value(json_object_get(test, "pipelines_compiled")) <= n);
        before = n;
    }
}

TEST(bench_on_a_device_names_its_rows)
{
    spawn_need_device();
    struct spawn s = {0}, forced = {0};
    RUN(&s, "bench", "synth:tiny-llama:q4_0", "-p", "40", "-n", "3", "-r", "1", "--json",
        "--device", "vulkan:0");
    json_t *json = parse(&s);
    check_test(json_array_get(json, 0), "pp40");
    check_test(json_array_get(json, 1), "tg3");
    check_pipelines(json);
    assert_contains(s.out.ptr, "\"matvec");
    assert_contains(s.out.ptr, "\"matmul_");
    json_decref(json);
    RUN(&forced, "bench", "synth:tiny-llama:q4_0", "-p", "40", "-n", "0", "-r", "1", "--json",
        "--device", "vulkan:0", "--rows", "matmul_f32");
    assert_code(&forced, 0);
    assert_contains(forced.out.ptr, "\"matmul_f32\"");
    assert_null(strstr(forced.out.ptr, "\"matmul_f16"));
    assert_null(strstr(forced.out.ptr, "\"matmul_lanes"));
    spawn_free(&s);
    spawn_free(&forced);
}

/* The kernels of a test, the longest first; returns what they took in all, µs. */
static double check_kernels(const json_t *test, const char *one_of_them)
{
    const json_t *kernels = json_object_get(test, "kernels");
    double total = 0, before = 1e300;
    bool found = false;
    assert_true(json_array_size(kernels) > 3);
    for (size_t i = 0; i < json_array_size(kernels); i++) {
        const json_t *kernel = json_array_get(kernels, i);
        double time_us = json_number_value(json_object_get(kernel, "time_us"));
        const char *name = json_string_value(json_object_get(kernel, "kernel"));
        assert_true(time_us <= before && time_us > 0);
        assert_true(json_integer_value(json_object_get(kernel, "calls")) > 0);
        assert_true(json_is_integer(json_object_get(kernel, "bytes")));
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(
                json_string_value(json_object_get(json_array_get(kernels, k), "kernel")), name);
        found |= strncmp(name, one_of_them, strlen(one_of_them)) == 0;
        before = time_us;
        total += time_us;
    }
    assert_true(found);
    return total;
}

/* What kernels take is less than the whole, and most of it: of the last of three batches, beside
 * the median of all, so that a busy machine is asked more than once. */
static void assert_kernels_of_prompt(struct spawn *s)
{
    enum { ATTEMPTS = 4 };
    double whole_us, kernels_us;
    bool good = false;
    for (int i = 0; i < ATTEMPTS && !good; i++) {
        RUN(s, "bench", "synth:tiny-llama:q4_0", "-p", "200", "-n", "0", "-r", "3", "--json",
            "--kernels", "--device", "vulkan:0");
        json_t *json = parse(s), *test = json_array_get(json, 0);
        whole_us = 200e6 / json_number_value(json_object_get(test, "tokens_per_s"));
        kernels_us = check_kernels(test, "matmul");
        good = kernels_us < 1.5 * whole_us && kernels_us > 0.1 * whole_us;
        json_decref(json);
    }
    if (!good)
        fail_msg("kernels took %.0f of %.0f µs", kernels_us, whole_us);
}

TEST(bench_by_kernel)
{
    spawn_need_device();
    struct spawn s = {0};
    assert_kernels_of_prompt(&s);
    RUN(&s, "bench", "synth:tiny-llama:q4_0", "-p", "0", "-n", "3", "-r", "1", "--json",
        "--kernels", "--device", "vulkan:0");
    json_t *json = parse(&s);
    check_kernels(json_array_get(json, 0), "attention");
    json_decref(json);
    RUN(&s, "bench", "synth:tiny-llama:q4_0", "-p", "8", "-n", "0", "-r", "1", "--kernels",
        "--device", "vulkan:0");
    assert_contains(s.out.ptr, "GFLOP/s");
    assert_contains(s.out.ptr, "attention");
    RUN(&s, "bench", spawn_tiny_model(), "--kernels", "--device", "cpu");
    spawn_assert_refused(&s, 2, "nothing of this model is on a GPU");
    spawn_free(&s);
}

/* --- rows ------------------------------------------------------------------------------------- */

TEST(rows_of_the_cpu)
{
    struct spawn s = {0};
    RUN(&s, "rows", "--json", "--device", "cpu");
    json_t *json = parse(&s);
    assert_true(json_array_size(json) > 8);
    assert_true(json_is_string(json_object_get(json_array_get(json, 0), "row")));
    json_decref(json);
    spawn_free(&s);
}

/* Every item is whole; returns how many of a row there are. */
static size_t count_rows(const json_t *list, const char *row)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        assert_true(json_is_string(json_object_get(item, "blob")));
        assert_true(json_is_object(json_object_get(item, "specialization")));
        assert_true(json_is_object(json_object_get(item, "stats")));
        n += strcmp(json_string_value(json_object_get(item, "row")), row) == 0;
    }
    return n;
}

TEST(rows_of_a_device)
{
    spawn_need_device();
    struct spawn all = {0}, one = {0}, stats = {0}, more = {0}, absent = {0};
    RUN(&all, "rows", "--json", "--device", "vulkan:0");
    json_t *all_rows = parse(&all);
    RUN(&one, "rows", spawn_tiny_model(), "--json", "--device", "vulkan:0");
    json_t *one_rows = parse(&one);
    assert_true(json_array_size(all_rows) > json_array_size(one_rows));
    assert_true(count_rows(all_rows, "get_rows") > count_rows(one_rows, "get_rows"));
    assert_int_equal(count_rows(one_rows, "router"), 0);
    assert_true(count_rows(all_rows, "router") > 0);
    RUN(&stats, "rows", spawn_tiny_model(), "--stats", "--json", "--device", "vulkan:0");
    json_t *stats_rows = parse(&stats);
    assert_true(json_array_size(stats_rows) >= json_array_size(one_rows));
    RUN(&more, "rows", spawn_tiny_model(), "--fallbacks", "--json", "--device", "vulkan:0");
    json_t *more_rows = parse(&more);
    assert_true(count_rows(one_rows, "matvec_lanes_f32") > 0);
    assert_int_equal(count_rows(one_rows, "matvec_f32"), 0);
    assert_true(count_rows(more_rows, "matvec_lanes_f32") > 0);
    assert_true(count_rows(more_rows, "matvec_f32") > 0);
    RUN(&absent, "rows", "absent.gguf", "--device", "vulkan:0");
    spawn_assert_refused(&absent, 1, "absent.gguf");
    json_decref(all_rows);
    json_decref(one_rows);
    json_decref(stats_rows);
    json_decref(more_rows);
    spawn_free(&more);
    spawn_free(&all);
    spawn_free(&one);
    spawn_free(&stats);
    spawn_free(&absent);
}
