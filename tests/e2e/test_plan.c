/* `hearth plan` as a user runs it: results, options that say where, and what is refused. */
#include "spawn.h"

#include <jansson.h>

#define MODEL "synth:llama-8b:q4_k_m"
#define MOE   "synth:mixtral-8x7b:q4_k_m"

static const char *card(void)
{
    return test_data_path("machines/card-8.json");
}

static json_t *plan_json(struct spawn *s, const char *const *args)
{
    json_error_t error;
    spawn_run(s, args);
    assert_code(s, 0);
    json_t *root = json_loadb(s->out.ptr, s->out.len, 0, &error);
    assert_non_null(root);
    return root;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("no number \"%s\"", key);
    return json_number_value(value);
}

/* Bytes of units on a device whose name contains `part`. */
static double bytes_on(const json_t *root, const char *device, const char *part)
{
    double sum = 0;
    size_t i;
    json_t *unit;
    json_array_foreach(json_object_get(root, "units"), i, unit)
    {
        const char *name = json_string_value(json_object_get(unit, "name"));
        const char *where = json_string_value(json_object_get(unit, "device"));
        assert_non_null(json_object_get(unit, "layout"));
        if (strcmp(where, device) == 0 && strstr(name, part))
            sum += number(unit, "bytes");
    }
    return sum;
}

#define PLAN(...)                                                                                  \
    plan_json(&s, (const char *const[]){"plan", __VA_ARGS__, "--json", "--profile", card(), NULL})

TEST(says_where_and_how_fast)
{
    struct spawn s = {0};
    RUN(&s, "plan", MODEL, "--profile", card());
    assert_code(&s, 0);
    assert_contains(s.out.ptr, "tokens/s");
    assert_contains(s.out.ptr, "% of each token is spent reading");
    assert_contains(s.out.ptr, "one more GiB on vulkan:0");
    assert_contains(s.out.ptr, "(estimated)");
    spawn_free(&s);
}

TEST(json_adds_up)
{
    struct spawn s = {0};
    json_t *root = PLAN(MOE);
    size_t i;
    json_t *heap;
    assert_true(number(root, "prompt_tokens_per_s") > 0);
    assert_true(number(root, "answer_tokens_per_s") > 0);
    assert_true(json_is_string(json_object_get(root, "bottleneck")));
    json_array_foreach(json_object_get(root, "heaps"), i, heap)
    {
        const char *device = json_string_value(json_object_get(heap, "device"));
        double planned = number(heap, "planned_bytes");
        assert_true(planned <= number(heap, "budget_bytes"));
        assert_true(planned >= number(heap, "kv_bytes") + number(heap, "weight_bytes"));
        if (i > 0)
            assert_true(bytes_on(root, device, "") == number(heap, "weight_bytes") +
                                                          number(heap, "expert_cache_bytes") +
                                                          number(heap, "kv_bytes"));
    }
    assert_int_equal(json_array_size(json_object_get(root, "heaps")), 2);
    json_decref(root);
    spawn_free(&s);
}

TEST(options_say_where)
{
    struct spawn s = {0};
    json_t *root = PLAN(MODEL, "--gpu-layers", "0");
    assert_true(bytes_on(root, "vulkan:0", "") == 0);
    json_decref(root);
    spawn_free(&s);
    root = PLAN(MODEL, "-c", "1024", "--ngl", "33");
    assert_true(bytes_on(root, "cpu", "") == 0);
    json_decref(root);
    spawn_free(&s);
    root = PLAN(MODEL, "--ngl", "10");
    assert_true(bytes_on(root, "vulkan:0", "blk.22.") > 0);
    assert_true(bytes_on(root, "vulkan:0", "blk.21.") == 0);
    assert_true(bytes_on(root, "vulkan:0", "output") == 0);
    json_decref(root);
    spawn_free(&s);
    root = PLAN(MOE, "--cpu-moe");
    assert_true(bytes_on(root, "vulkan:0", "experts") == 0);
    assert_true(bytes_on(root, "vulkan:0", "attention") > 0);
    json_decref(root);
    spawn_free(&s);
    root = PLAN(MOE, "--n-cpu-moe", "16");
    assert_true(bytes_on(root, "vulkan:0", "blk.15.experts") == 0);
    assert_true(bytes_on(root, "vulkan:0", "blk.16.experts") > 0);
    json_decref(root);
    spawn_free(&s);
    root = PLAN(MODEL, "--place", "blk\\.[0-9]\\.ffn=cpu", "--place", "blk\\.3\\.ffn_up=vulkan:0");
    assert_true(bytes_on(root, "cpu", "blk.4.ffn") > 0);
    assert_true(bytes_on(root, "vulkan:0", "blk.3.ffn") > 0);
    assert_true(bytes_on(root, "vulkan:0", "blk.10.ffn") > 0);
    json_decref(root);
    spawn_free(&s);
}

/* Units on a device whose name contains `part` and that lie there as `layout` says. */
static int n_laid_out(const json_t *root, const char *device, const char *part, const char *layout)
{
    int n = 0;
    size_t i;
    json_t *unit;
    json_array_foreach(json_object_get(root, "units"), i, unit)
    {
        n += strcmp(json_string_value(json_object_get(unit, "device")), device) == 0 &&
             strstr(json_string_value(json_object_get(unit, "name")), part) &&
             strcmp(json_string_value(json_object_get(unit, "layout")), layout) == 0;
    }
    return n;
}

/* Only on the CPU, and only of formats that have such a form. */
TEST(the_cpu_has_rows_side_by_side)
{
    struct spawn s = {0};
    json_t *root = PLAN(MODEL, "--ngl", "10");
    assert_int_equal(n_laid_out(root, "cpu", ".ffn", "cpu"), 22);
    assert_int_equal(n_laid_out(root, "cpu", ".cache", "cpu"), 0);
    assert_int_equal(n_laid_out(root, "vulkan:0", "", "cpu"), 0);
    json_decref(root);
    spawn_free(&s);
    root = PLAN(MODEL, "--ngl", "10", "--no-repack");
    assert_int_equal(n_laid_out(root, "cpu", "", "cpu"), 0);
    json_decref(root);
    spawn_free(&s);
    root = PLAN("synth:llama-8b:iq4_xs", "--ngl", "10");
    assert_int_equal(n_laid_out(root, "cpu", ".ffn", "file"), 22);
    json_decref(root);
    spawn_free(&s);
}

TEST(less_memory_is_kept_to)
{
    struct spawn s = {0};
    static const char *const sizes[] = {"1G", "2G", "3G", "4G", "5G", "6G", "7G"};
    double before = 0;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        json_t *root = PLAN(MOE, "--vram", sizes[i]);
        const json_t *heap = json_array_get(json_object_get(root, "heaps"), 1);
        assert_true(number(heap, "planned_bytes") <= (double)(i + 1) * (1 << 30));
        assert_true(number(root, "answer_tokens_per_s") >= before);
        before = number(root, "answer_tokens_per_s");
        json_decref(root);
        spawn_free(&s);
    }
}

/* Less than a GPU needs to do anything at all: it has no part, not even in prompts. */
TEST(a_gpu_without_memory_does_nothing)
{
    struct spawn s = {0};
    static const char *const sizes[] = {"1", "60M", "100M", "200M", "400M"};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        json_t *root = PLAN(MOE, "--vram", sizes[i]);
        const json_t *heap = json_array_get(json_object_get(root, "heaps"), 1);
        assert_true(number(heap, "planned_bytes") <= number(heap, "budget_bytes"));
        if (i < 2)
            assert_true(number(heap, "planned_bytes") == 0);
        json_decref(root);
        spawn_free(&s);
    }
}

TEST(draws_a_picture)
{
    struct spawn s = {0};
    const char *path = spawn_temp("plan.svg");
    struct strbuf svg = {0};
    RUN(&s, "plan", MODEL, "--profile", card(), "--svg", path);
    assert_code(&s, 0);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    for (int c; (c = fgetc(file)) != EOF;)
        strbuf_append_char(&svg, (char)c);
    fclose(file);
    assert_contains(svg.ptr, "<svg xmlns=");
    assert_contains(svg.ptr, "prefers-color-scheme:dark");
    assert_contains(svg.ptr, "<title>blk.31.ffn, ");
    assert_contains(svg.ptr, "</svg>\n");
    strbuf_free(&svg);
    spawn_free(&s);
}

TEST(a_pattern_that_matches_nothing_is_a_warning)
{
    struct spawn s = {0};
    RUN(&s, "plan", MODEL, "--profile", card(), "--place", "blok=cpu");
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "matches no tensor");
    spawn_free(&s);
}

TEST(what_is_asked_for_and_has_no_room_is_a_warning)
{
    struct spawn s = {0};
    RUN(&s, "plan", MODEL, "--profile", card(), "--ngl", "33", "-c", "60000");
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "have no room in its 7782.4 MiB, and stay with the CPU");
    spawn_free(&s);
}

static void refuse(const char *const *args, const char *text)
{
    struct spawn s = {0};
    spawn_run(&s, args);
    spawn_assert_refused(&s, 1, text);
    spawn_free(&s);
}

#define REFUSE(text, ...)                                                                          \
    refuse((const char *const[]){"plan", MODEL, "--profile", card(), __VA_ARGS__, NULL}, (text))

TEST(options_that_make_no_sense_are_refused)
{
    REFUSE("no GPU has more than 8.0", "--vram", "24G");
    REFUSE("the host has 32.0", "--ram", "64G");
    REFUSE("at most --ctx ", "-c", "100000000");
    REFUSE("is no regular expression: at character", "--place", "blk(=cpu");
    REFUSE("there is no device \"gpu\"", "--place", "blk=gpu");
    REFUSE("there is no device \"vulkan:7\"", "--place", "blk=vulkan:7");
    REFUSE("write PATTERN=cpu", "--place", "blk");
}

static void refuse_profile(const char *json, const char *text)
{
    struct spawn s = {0};
    const char *path = spawn_file("profile.json", json, strlen(json));
    RUN(&s, "plan", MODEL, "--profile", path);
    spawn_assert_refused(&s, 1, text);
    spawn_free(&s);
}

#define CPU "{\"name\": \"c\", \"kind\": \"cpu\", \"memory_gib\": 32}"

TEST(profiles_that_make_no_sense_are_refused)
{
    refuse_profile("{", "is no JSON: line 1");
    refuse_profile("[]", "is no JSON object");
    refuse_profile("{}", "has no list \"devices\"");
    refuse_profile("{\"devices\": []}", "has no list \"devices\"");
    refuse_profile("{\"devices\": [7]}", "an object with a \"name\"");
    refuse_profile("{\"devices\": [{\"name\": \"x\", \"kind\": \"tpu\", \"memory_gib\": 1}]}",
                   "none of cpu, discrete, integrated");
    refuse_profile("{\"devices\": [{\"name\": \"x\", \"kind\": \"discrete\", \"memory_gib\": 8}]}",
                   "no device of kind cpu");
    refuse_profile("{\"devices\": [" CPU ", " CPU "]}", "two devices of kind cpu");
    refuse_profile("{\"devices\": [{\"name\": \"x\", \"kind\": \"cpu\"}]}", "no \"memory_gib\"");
    refuse_profile("{\"devices\": [{\"name\": \"x\", \"kind\": \"cpu\", \"memory_gib\": -4}]}",
                   "must be a number above 0");
    refuse_profile("{\"devices\": [{\"name\": \"x\", \"kind\": \"cpu\", \"memory_gib\": \"4\"}]}",
                   "must be a number above 0");
    refuse_profile("{\"devices\": [{\"name\": \"x\", \"kind\": \"cpu\", \"memory_gib\": 4, "
                   "\"read_gb_per_s\": 1e6, \"hop_us\": 9e6}]}",
                   "which no machine has");
    static const char *const threads[] = {"0", "-2", "0.5", "1e4", "\"8\"", "null"};
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        char json[200];
        snprintf(json, sizeof json,
                 "{\"devices\": [{\"name\": \"x\", \"kind\": \"cpu\", \"memory_gib\": 4, "
                 "\"threads\": %s}]}",
                 threads[i]);
        refuse_profile(json, "\"threads\" must be a whole number from 1 to 1024");
    }
    refuse_profile("{\"devices\": [" CPU ", {\"name\": \"x\", \"kind\": \"discrete\", "
                   "\"memory_gib\": 4, \"threads\": 8}]}",
                   "x has \"threads\", which are a CPU's alone");
    refuse_profile("{\"file_gb_per_s\": 1e-300, \"devices\": [" CPU "]}",
                   "the model's file is read at 1e-291 bytes/s, which no machine does");
    refuse_profile("{\"devices\": [{\"name\": \"x\", \"kind\": \"cpu\", \"memory_gib\": 4, "
                   "\"read_gbps\": 40}]}",
                   "\"read_gbps\", which hearth does not know");
    struct spawn s = {0};
    RUN(&s, "plan", MODEL, "--profile", "/does/not/exist.json");
    spawn_assert_refused(&s, 1, "/does/not/exist.json");
    spawn_free(&s);
}

TEST(this_machine_is_planned_for_without_a_profile)
{
    struct spawn s = {0};
    RUN(&s, "plan", "synth:smollm2-135m:q8_0");
    assert_code(&s, 0);
    assert_contains(s.out.ptr, "cpu ");
    spawn_free(&s);
    RUN(&s, "plan", "synth:smollm2-135m:q8_0", "--device", "cpu", "--json");
    assert_code(&s, 0);
    spawn_free(&s);
    RUN(&s, "plan", spawn_tiny_model(), "--device", "cpu");
    assert_code(&s, 0);
    spawn_free(&s);
}
