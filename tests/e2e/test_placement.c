/* Where a model lives, as a user says it: to run, eval, bench and plan alike. */
#include "spawn.h"

#include <jansson.h>

/* cost: 15 */

/* After this prompt no word is a close call: every division answers the same well beyond six
 * tokens. After "Hello" the fourth is one, which the rounding of the activations decides. */
#define SMALL "-c", "128", "-b", "32", "-n", "6", "-p", "Why?"

static void run_on_device(struct spawn *s, const char *option, const char *value)
{
    const char *args[] = {"run", spawn_tiny_model(), "--device", "vulkan:0", SMALL, option, value,
                          NULL};
    spawn_need_device();
    spawn_run(s, args);
    assert_code(s, 0);
}

TEST(what_fits_is_on_the_device)
{
    struct spawn whole = {0}, some = {0}, none = {0};
    run_on_device(&whole, NULL, NULL);
    assert_null(strstr(whole.err.ptr, "with the CPU"));
    run_on_device(&some, "--vram", "2M");
    assert_contains(some.err.ptr, "MiB of the 2.0 to use");
    assert_contains(some.err.ptr, "MiB of weights and the keys and values of ");
    assert_string_equal(some.out.ptr, whole.out.ptr);
    run_on_device(&none, "--vram", "1");
    assert_contains(none.err.ptr, "all of it is with the CPU and nothing on ");
    assert_contains(none.err.ptr, "hearth: CPU: ");
    assert_string_equal(none.out.ptr, whole.out.ptr);
    spawn_free(&whole);
    spawn_free(&some);
    spawn_free(&none);
}

/* The software device stands in for two GPUs, of which none has room for all. */
TEST(two_devices_share_a_model)
{
    struct spawn whole = {0}, both = {0}, plan = {0};
    run_on_device(&whole, NULL, NULL);
    RUN(&both, "run", spawn_tiny_model(), "--device", "vulkan:0,vulkan:0", SMALL, "--vram",
        "1500K");
    assert_code(&both, 0);
    assert_contains(both.err.ptr, "and no GPU has more than 1.5 to use");
    assert_contains(spawn_last_line(&both), ") and ");
    assert_string_equal(both.out.ptr, whole.out.ptr);
    RUN(&plan, "plan", spawn_tiny_model(), "--device", "vulkan:0,vulkan:0", "--vram", "1500K");
    assert_code(&plan, 0);
    const char *first = strstr(plan.out.ptr, "vulkan:0");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "vulkan:0"));
    spawn_free(&whole);
    spawn_free(&both);
    spawn_free(&plan);
}

/* Each option divides the model, and the answer stays. */
TEST(options_divide_and_the_answer_stays)
{
    static const char *const options[][2] = {
        {"--ngl", "2"},          {"--gpu-layers", "0"},        {"--gpu-layers", "9"},
        {"--place", "attn=cpu"}, {"--place", "ffn_up=cpu"},    {"--place", "blk\\.2\\.=cpu"},
        {"--place", "norm=cpu"}, {"--place", "_q.weight=cpu"},
    };
    struct spawn whole = {0};
    run_on_device(&whole, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        struct spawn s = {0};
        run_on_device(&s, options[i][0], options[i][1]);
        assert_string_equal(s.out.ptr, whole.out.ptr);
        bool divides = strcmp(options[i][1], "9") != 0 && strcmp(options[i][1], "norm=cpu") != 0;
        if (divides)
            assert_contains(s.err.ptr, " asked for");
        spawn_free(&s);
    }
    spawn_free(&whole);
}

TEST(experts_stay_with_the_cpu)
{
    struct spawn s = {0};
    spawn_need_device();
    RUN(&s, "bench", "synth:tiny-moe:q8_0", "-p", "8", "-n", "2", "-r", "1", "--device", "vulkan:0",
        "--cpu-moe");
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "the keys and values of 4 of 4 layers are on ");
    spawn_free(&s);
    RUN(&s, "bench", "synth:tiny-moe:q8_0", "-p", "8", "-n", "2", "-r", "1", "--device", "vulkan:0",
        "--n-cpu-moe", "3", "--vram", "40M");
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "MiB of weights with the CPU");
    spawn_free(&s);
}

TEST(eval_keeps_to_memory_with_all_logits)
{
    struct spawn s = {0};
    spawn_need_device();
    RUN(&s, "eval", spawn_tiny_model(), "--ids", "1,2,3,4,5,6,7,8", "--logits",
        spawn_temp("l.gguf"), "--device", "vulkan:0", "--vram", "1500K");
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "of the 1.5 to use");
    spawn_free(&s);
}

TEST(a_pattern_that_matches_nothing_is_a_warning)
{
    struct spawn s = {0};
    RUN(&s, "run", spawn_tiny_model(), "--device", "cpu", SMALL, "--place", "blok=cpu");
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "--place blok=cpu: matches no tensor");
    spawn_free(&s);
}

TEST(what_was_expected_is_told_beside_what_was_achieved)
{
    struct spawn s = {0};
    RUN(&s, "run", spawn_tiny_model(), "--device", "cpu", SMALL);
    assert_code(&s, 0);
    const char *line = spawn_last_line(&s);
    const char *prompt = strstr(line, "tokens/s ("), *answer = strstr(line, "answer ");
    assert_non_null(prompt);
    assert_non_null(answer);
    assert_true(prompt < answer);
    assert_non_null(strstr(answer, "tokens/s ("));
    spawn_free(&s);
}

/* On a software device, too, with all of the model or a part of it there. */
TEST(what_a_software_device_should_do_is_told)
{
    static const char *const limits[][2] = {{NULL, NULL}, {"--vram", "2M"}};
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct spawn s = {0};
        run_on_device(&s, limits[i][0], limits[i][1]);
        const char *answer = strstr(spawn_last_line(&s), "answer ");
        assert_non_null(answer);
        assert_non_null(strstr(answer, "tokens/s ("));
        spawn_free(&s);
    }
}

/* Until there is a prediction: on a busy machine a time may come out as none. */
static void bench_small(struct spawn *s)
{
    for (int tries = 0; tries < 5 && !(s->out.ptr && strstr(s->out.ptr, " (predicted ")); tries++) {
        spawn_free(s);
        RUN(s, "bench", "synth:tiny-llama:q4_0", "--device", "cpu", "-p", "8", "-n", "3000", "-r",
            "1");
        assert_code(s, 0);
    }
    assert_contains(s->out.ptr, " (predicted ");
    assert_null(strstr(s->out.ptr, "(estimated"));
}

static size_t n_runs(const json_t *root, const char *phase)
{
    return json_array_size(json_object_get(json_object_get(root, "runs"), phase));
}

/* bench measures what was not, predicts by it, and keeps what came of that. */
TEST(what_bench_achieves_is_kept)
{
    char env[1100], path[1200];
    const char *cache = spawn_temp("cache");
    snprintf(env, sizeof env, "HEARTH_CACHE=%s", cache);
    snprintf(path, sizeof path, "%s/measured/cpu.json", cache);
    struct spawn s = {.env = {env}};
    bench_small(&s);
    spawn_free(&s);
    json_t *root = json_load_file(path, 0, NULL);
    assert_non_null(json_object_get(json_object_get(root, "formats"), "Q4_0"));
    assert_int_equal(n_runs(root, "prompt"), 0); /* too short to tell something */
    assert_int_equal(n_runs(root, "answer"), 1);
    json_decref(root);
    test_put_text(path, "{"); /* broken: measured again, with a line */
    RUN(&s, "bench", "synth:tiny-llama:q4_0", "--device", "cpu", "-p", "0", "-n", "2", "-r", "1");
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "is ignored, as it is no JSON");
    spawn_free(&s);
}

/* A model that is larger than all memory runs from its file, and that is said. */
TEST(what_has_no_room_stays_in_the_file)
{
    const char *model = test_real_model();
    struct spawn all = {0}, some = {0}, plan = {0};
    RUN(&all, "run", model, "-p", "a", "-n", "4", "--device", "cpu", "--no-repack", "-c", "128",
        "-b", "16");
    assert_code(&all, 0);
    assert_null(strstr(all.err.ptr, "RAM is too small"));
    RUN(&some, "run", model, "-p", "a", "-n", "4", "--device", "cpu", "--ram", "100M", "-c", "128",
        "-b", "16");
    assert_code(&some, 0);
    assert_contains(some.err.ptr, "RAM is too small: ");
    assert_string_equal(some.out.ptr, all.out.ptr);
    RUN(&plan, "plan", model, "--device", "cpu", "--ram", "100M", "-c", "128", "-b", "16");
    assert_code(&plan, 0);
    assert_contains(plan.out.ptr, "is read from the file for every token");
    spawn_free(&all);
    spawn_free(&some);
    spawn_free(&plan);
}

/* tune tries what it says, keeps what it found, and what is opened then goes by it. */
TEST(what_tune_finds_is_kept)
{
    char env[1100];
    snprintf(env, sizeof env, "HEARTH_CACHE=%s", spawn_temp("cache"));
    struct spawn s = {.env = {env}};
    RUN(&s, "tune", "synth:tiny-llama:q4_0", "--ctx", "128", "--device", "cpu", "--json");
    assert_code(&s, 0);
    json_t *root = json_loads(s.out.ptr, 0, NULL), *tried = json_object_get(root, "tried");
    assert_true(json_is_true(json_object_get(root, "complete")));
    assert_true(json_array_size(tried) >= 2);
    assert_true(json_number_value(json_object_get(json_array_get(tried, 0), "gain")) == 1);
    assert_true(json_number_value(json_object_get(root, "gain")) >= 1);
    assert_true(json_number_value(json_object_get(root, "predicted_answer_tokens_per_s")) > 0);
    bool planned = json_string_value(json_object_get(root, "best"))[0] == '\0';
    json_decref(root);
    spawn_free(&s);
    RUN(&s, "run", "synth:tiny-llama:q4_0", "--raw", "-p", "a", "-n", "2", "--device", "cpu", "-v");
    assert_code(&s, 0);
    assert_true(!strstr(s.err.ptr, "as hearth tune found best") == planned);
    spawn_free(&s);
}

TEST(tune_ends_when_its_time_is_over)
{
    char env[1100];
    snprintf(env, sizeof env, "HEARTH_CACHE=%s", spawn_temp("cache"));
    struct spawn s = {.env = {env}};
    RUN(&s, "tune", spawn_tiny_model(), "--minutes", "0.0001", "--device", "cpu");
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "the time is over before all was tried");
    assert_contains(s.out.ptr, "as planned");
    spawn_free(&s);
    RUN(&s, "tune", "synth:nothing:q4_0");
    spawn_assert_refused(&s, 2, "cannot make a model with the shape");
    spawn_free(&s);
}

#define REFUSE(code, text, ...)                                                                    \
    do {                                                                                           \
        struct spawn s = {0};                                                                      \
        RUN(&s, "run", spawn_tiny_model(), SMALL, __VA_ARGS__);                                    \
        spawn_assert_refused(&s, (code), (text));                                                  \
        spawn_free(&s);                                                                            \
    } while (0)

TEST(options_that_make_no_sense_are_refused)
{
    REFUSE(2, "--gpu-layers 3: there is no GPU that hearth can use; without it the CPU has all",
           "--device", "cpu", "--ngl", "3");
    REFUSE(2, "is no regular expression: at character", "--device", "cpu", "--place", "blk(=cpu");
    REFUSE(2, "there is no device \"gpu\"", "--device", "cpu", "--place", "blk=gpu");
    REFUSE(2, "write PATTERN=cpu", "--device", "cpu", "--place", "blk");
    REFUSE(2, "and the host has", "--device", "cpu", "--ram", "900000G");
    REFUSE(2, "no such device \"vulkan:0,cpu\"", "--device", "vulkan:0,cpu");
    REFUSE(1, "fits with this --kv, of which q4_0 takes least", "--device", "cpu", "-c",
           "2000000000");
    REFUSE(1, "a smaller model or more memory (--vram, --ram) would", "--device", "cpu", "--ram",
           "1M");
}

TEST(more_memory_than_the_device_has_is_refused)
{
    spawn_need_device();
    REFUSE(2, "no GPU has more than", "--device", "vulkan:0", "--vram", "900000G");
    REFUSE(2, "there is no device \"vulkan:7\"", "--device", "vulkan:0", "--place", "blk=vulkan:7");
}
