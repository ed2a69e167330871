/* inspect, tokenize, template, devices, synth: tools around a model. */
#include "spawn.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/os.h"
#include "gguf/gguf_write.h"
#include "hearth/hearth.h"

static json_t *parse(const struct spawn *s)
{
    json_error_t error;
    assert_code(s, 0);
    json_t *json = json_loads(s->out.ptr, 0, &error);
    if (!json)
        fail_msg("line %d: %s in:\n%s", error.line, error.text, s->out.ptr);
    return json;
}

static json_int_t integer(const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);
    if (!json_is_integer(value))
        fail_msg("no integer \"%s\"", key);
    return json_integer_value(value);
}

static const char *text(const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);
    if (!json_is_string(value))
        fail_msg("no string \"%s\"", key);
    return json_string_value(value);
}

/* --- inspect ---------------------------------------------------------------------------------- */

/* A file with a key of every kind and some tensors, of no architecture. */
static const char *odd_file(void)
{
    const char *path = spawn_temp("odd.gguf");
    static const float values[64] = {1.5f, -2, 0.25f, 3e38f, 1e-40f};
    static const int32_t ids[3] = {-1, 7, 2000000000};
    uint16_t many[20] = {0};
    struct gguf_writer *writer;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "greeting", STR("Gr\xc3\xbc\xc3\x9f \"Gott\"\n\x1b[31m\xc2\x9b"));
    gguf_put_u64(writer, "huge", UINT64_MAX);
    gguf_put_i32(writer, "negative", -5);
    gguf_put_bool(writer, "yes", true);
    gguf_put_f32(writer, "half", 0.5f);
    gguf_put_array(writer, "short", GGUF_I32, ids, 3);
    gguf_put_array(writer, "long", GGUF_U16, many, 20);
    gguf_put_strs(writer, "words", (const struct str[]){STR("a"), STR("b\xff")}, 2);
    const int64_t ne[2] = {32, 2};
    unsigned char blocks[2 * 34];
    dtype_q8_0.encode(values, blocks, 64);
    gguf_put_tensor(writer, "plain", &dtype_f32, 2, ne, values, NULL, NULL);
    gguf_put_tensor(writer, "blocks", &dtype_q8_0, 2, ne, blocks, NULL, NULL);
    gguf_put_tensor(writer, "ids", &dtype_i32, 1, (const int64_t[]){3}, ids, NULL, NULL);
    assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
    gguf_writer_destroy(writer);
    return path;
}

TEST(inspect_shows_keys_and_tensors)
{
    struct spawn s = {0};
    RUN(&s, "inspect", odd_file());
    assert_code(&s, 0);
    assert_contains(
        s.out.ptr, "greeting = \"Gr\xc3\xbc\xc3\x9f \\\"Gott\\\"\\n\\x1b[31m\\xc2\\x9b\" (string)");
    assert_contains(s.out.ptr, "huge = 18446744073709551615 (u64)");
    assert_contains(s.out.ptr, "negative = -5");
    assert_contains(s.out.ptr, "yes = true");
    assert_contains(s.out.ptr, "half = 0.5");
    assert_contains(s.out.ptr, "short = [-1, 7, 2000000000]");
    assert_contains(s.out.ptr, "20 in all]");
    assert_contains(s.out.ptr, "32 × 2");
    assert_contains(s.out.ptr, "Q8_0");
    assert_null(strchr(s.out.ptr, '\033'));
    spawn_free(&s);
}

TEST(inspect_as_json)
{
    struct spawn s = {0};
    RUN(&s, "inspect", odd_file(), "--json");
    json_t *json = parse(&s), *keys = json_object_get(json, "keys");
    assert_int_equal(integer(json, "version"), 3);
    assert_int_equal(integer(json, "parts"), 1);
    assert_string_equal(text(keys, "greeting"), "Gr\xc3\xbc\xc3\x9f \"Gott\"\n\x1b[31m\xc2\x9b");
    assert_string_equal(text(keys, "huge"), "18446744073709551615");
    assert_int_equal(integer(keys, "negative"), -5);
    assert_true(json_is_true(json_object_get(keys, "yes")));
    assert_int_equal(json_array_size(json_object_get(keys, "short")), 3);
    assert_int_equal(integer(json_object_get(keys, "long"), "count"), 20);
    assert_string_equal(json_string_value(json_array_get(json_object_get(keys, "words"), 1)),
                        "b\xef\xbf\xbd");
    const json_t *tensor = json_array_get(json_object_get(json, "tensors"), 1);
    assert_string_equal(text(tensor, "name"), "blocks");
    assert_string_equal(text(tensor, "type"), "Q8_0");
    assert_int_equal(integer(tensor, "bytes"), 68);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(tensor, "shape"), 0)), 32);
    json_decref(json);
    spawn_free(&s);
}

TEST(inspect_writes_a_tensor_as_floats)
{
    const char *path = odd_file();
    struct spawn plain = {0}, blocks = {0}, ids = {0};
    RUN(&plain, "inspect", path, "--tensor", "plain", "--raw-f32");
    assert_code(&plain, 0);
    assert_int_equal(plain.out.len, 256);
    const float expected[5] = {1.5f, -2, 0.25f, 3e38f, 1e-40f};
    assert_memory_equal(plain.out.ptr, expected, sizeof expected);
    RUN(&blocks, "inspect", path, "--tensor", "blocks", "--raw-f32");
    struct gguf *gguf;
    float decoded[64];
    assert_int_equal(gguf_open(&gguf, path, test_log()), HTH_OK);
    dtype_q8_0.decode(gguf_tensor_find(gguf, "blocks")->data, decoded, 64);
    gguf_close(gguf);
    assert_int_equal(blocks.out.len, sizeof decoded);
    assert_memory_equal(blocks.out.ptr, decoded, sizeof decoded);
    RUN(&ids, "inspect", path, "--tensor", "ids", "--raw-f32");
    const float id_values[3] = {-1, 7, 2e9f};
    assert_int_equal(ids.out.len, sizeof id_values);
    assert_memory_equal(ids.out.ptr, id_values, sizeof id_values);
    spawn_free(&plain);
    spawn_free(&blocks);
    spawn_free(&ids);
}

TEST(inspect_one_tensor)
{
    const char *path = odd_file();
    struct spawn human = {0}, json = {0}, absent = {0};
    RUN(&human, "inspect", path, "--tensor", "ids");
    assert_code(&human, 0);
    assert_contains(human.out.ptr, "3 values from -1 to 2e+09");
    assert_null(strstr(human.out.ptr, "blocks"));
    RUN(&json, "inspect", path, "--tensor", "plain", "--json");
    json_t *root = parse(&json);
    assert_string_equal(text(root, "type"), "F32");
    assert_int_equal(integer(json_object_get(root, "values"), "min"), -2);
    json_decref(root);
    RUN(&absent, "inspect", path, "--tensor", "nothing", "--raw-f32");
    spawn_assert_refused(&absent, 1, "has no tensor \"nothing\"");
    spawn_free(&human);
    spawn_free(&json);
    spawn_free(&absent);
}

TEST(inspect_to_a_closed_pipe)
{
    struct spawn s = {.closed_pipe = true};
    RUN(&s, "inspect", spawn_tiny_model(), "--tensor", "token_embd.weight", "--raw-f32");
    assert_code(&s, 1);
    assert_string_equal(s.err.ptr, "");
    spawn_free(&s);
}

/* --- tokenize --------------------------------------------------------------------------------- */

/* The ids that the library gives, as the program prints them. */
static void expect_ids(struct strbuf *out, struct str input, bool bos, bool special)
{
    struct hth_model *model;
    struct hth_model_options options = {.vocabulary_only = true};
    int32_t *ids;
    size_t count;
    assert_int_equal(hth_model_open(&model, spawn_tiny_model(), &options), HTH_OK);
    assert_int_equal(hth_tokenize(model, input.ptr, input.len, bos, special, &ids, &count), HTH_OK);
    for (size_t i = 0; i < count; i++)
        strbuf_printf(out, "%s%d", i ? " " : "", ids[i]);
    strbuf_append(out, STR("\n"));
    hth_free(ids);
    hth_model_close(model);
}

TEST(tokenize_prints_ids_on_one_line)
{
    static const struct str inputs[] = {STR("Hello, world"), STR("two\nlines\n"),
                                        STR("\xff\xfe\0x"), STR("<s>a</s>"), STR(" ")};
    static const char *const flags[][3] = {
        {NULL}, {"--no-bos"}, {"--no-special"}, {"--no-bos", "--no-special"}};
    const char *model = spawn_tiny_model();
    for (size_t i = 0; i < ARRAY_LEN(inputs); i++)
        for (size_t f = 0; f < ARRAY_LEN(flags); f++) {
            struct spawn s = {.input = inputs[i]};
            struct strbuf expected = {0};
            expect_ids(&expected, inputs[i], f % 2 == 0, f < 2);
            RUN(&s, "tokenize", model, "-f", "-", flags[f][0], flags[f][0] ? flags[f][1] : NULL);
            assert_code(&s, 0);
            assert_string_equal(s.out.ptr, expected.ptr);
            strbuf_free(&expected);
            spawn_free(&s);
        }
}

TEST(tokenize_nothing_is_an_empty_line)
{
    struct spawn s = {0}, file = {0};
    RUN(&s, "tokenize", spawn_tiny_model(), "--no-bos");
    assert_code(&s, 0);
    assert_string_equal(s.out.ptr, "\n");
    RUN(&file, "tokenize", spawn_tiny_model(), "--no-bos", "-f", spawn_file("nothing", "", 0));
    assert_code(&file, 0);
    assert_string_equal(file.out.ptr, "\n");
    RUN(&file, "tokenize", spawn_tiny_model(), "-f", spawn_temp("absent"));
    spawn_assert_refused(&file, 1, "absent");
    spawn_free(&s);
    spawn_free(&file);
}

/* --- template --------------------------------------------------------------------------------- */

static void render(struct spawn *s, const char *source, const char *context, const char *now)
{
    RUN(s, "template", "--template", spawn_file("t.jinja", source, strlen(source)), "--context",
        spawn_file("c.json", context, strlen(context)), now ? "--now" : NULL, now);
}

TEST(template_renders_exactly)
{
    struct spawn s = {0};
    render(&s, "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n\n{% endfor %}",
           "{\"messages\": [{\"role\": \"user\", \"content\": \"a \\u00fc\"}]}", NULL);
    assert_code(&s, 0);
    assert_string_equal(s.out.ptr, "[user]a \xc3\xbc\n\n");
    render(&s, "{{ strftime_now('%Y-%m-%d %H:%M:%S') }}", "{}", "2026-07-04T12:30:15");
    assert_code(&s, 0);
    assert_string_equal(s.out.ptr, "2026-07-04 12:30:15");
    render(&s, "{{ strftime_now('%d %b %Y') }}", "{}", "2024-02-29T00:00:00");
    assert_string_equal(s.out.ptr, "29 Feb 2024");
    spawn_free(&s);
}

TEST(template_of_a_model_knows_its_tokens)
{
    struct spawn s = {0}, none = {0};
    static const char messages[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi there\"}]}";
    const char *context = spawn_file("m.json", messages, sizeof messages - 1);
    RUN(&s, "template", spawn_tiny_model(), "--context", context);
    assert_code(&s, 0);
    assert_contains(s.out.ptr, "Hi there");
    RUN(&none, "template", odd_file(), "--context", context);
    spawn_assert_refused(&none, 1, "tokenizer.chat_template");
    spawn_free(&s);
    spawn_free(&none);
}

TEST(template_errors)
{
    struct spawn s = {0};
    render(&s, "before {{ raise_exception('Only user and assistant roles!') }}", "{}", NULL);
    spawn_assert_refused(&s, 1, "Only user and assistant roles!");
    render(&s, "{% for %}", "{}", NULL);
    spawn_assert_refused(&s, 1, "line 1");
    render(&s, "x", "{\"messages\": [}", NULL);
    spawn_assert_refused(&s, 1, "c.json: line 1");
    render(&s, "x", "", NULL);
    spawn_assert_refused(&s, 1, "c.json: is empty, and must be a JSON object");
    render(&s, "x", "[1]", NULL);
    spawn_assert_refused(&s, 1, "must be a JSON object");
    RUN(&s, "template", "--template", spawn_temp("absent"), "--context", odd_file());
    assert_code(&s, 1);
    spawn_free(&s);
}

/* --- devices ---------------------------------------------------------------------------------- */

TEST(devices_lists_the_cpu_without_a_driver)
{
    struct spawn s = {.env = {"VK_DRIVER_FILES=/nowhere", "VK_ICD_FILENAMES=/nowhere"}};
    RUN(&s, "devices");
    assert_code(&s, 0);
    assert_contains(s.out.ptr, "CPU");
    assert_contains(s.err.ptr, "no Vulkan device");
    RUN(&s, "devices", "--json");
    json_t *json = parse(&s);
    assert_int_equal(json_array_size(json), 1);
    assert_string_equal(text(json_array_get(json, 0), "id"), "cpu");
    assert_true(integer(json_array_get(json, 0), "threads") >= 1);
    json_decref(json);
    spawn_free(&s);
}

TEST(devices_tells_what_a_device_can)
{
    spawn_need_device();
    struct spawn s = {0}, json = {0};
    RUN(&s, "devices");
    assert_code(&s, 0);
    assert_contains(s.out.ptr, "vulkan:0  llvmpipe");
    assert_contains(s.out.ptr, "only by name");
    RUN(&json, "devices", "--json");
    json_t *list = parse(&json), *device = json_array_get(list, 0);
    assert_string_equal(text(device, "kind"), "software");
    assert_string_equal(text(device, "id"), "vulkan:0");
    assert_true(integer(device, "memory_bytes") > 1 << 20);
    assert_true(json_array_size(json_object_get(device, "heaps")) >= 1);
    assert_true(json_is_boolean(json_object_get(device, "fp16")));
    assert_true(json_is_true(json_object_get(device, "supported")));
    assert_true(json_is_false(json_object_get(device, "default")));
    json_decref(list);
    spawn_free(&s);
    spawn_free(&json);
}

/* --- synth ------------------------------------------------------------------------------------ */

TEST(synth_makes_the_same_bytes_for_the_same_seed)
{
    static const char *const seeds[] = {"3", "3", "4"};
    struct strbuf files[3] = {{0}};
    for (int i = 0; i < 3; i++) {
        struct spawn s = {0};
        const char *path = spawn_temp("made.gguf");
        RUN(&s, "synth", "--like", "TINY-LLAMA", "--quant", "Q4_K_m", "-o", path, "--seed",
            seeds[i], "--threads", i ? "1" : "2");
        assert_code(&s, 0);
        assert_int_equal(file_read(path, 1 << 28, &files[i], test_log()), HTH_OK);
        spawn_free(&s);
    }
    assert_int_equal(files[0].len, files[1].len);
    assert_memory_equal(files[0].ptr, files[1].ptr, files[0].len);
    assert_memory_not_equal(files[0].ptr, files[2].ptr, files[0].len);
    for (int i = 0; i < 3; i++)
        strbuf_free(&files[i]);
}

TEST(synth_names_shapes_and_types)
{
    struct spawn help = {0}, shape = {0}, type = {0};
    const char *path = spawn_temp("never.gguf");
    RUN(&help, "synth", "--help");
    static const char *const names[] = {"smollm2-135m", "llama-1b", "llama-8b",      "llama-70b",
                                        "qwen3-4b",     "moe-4b",   "qwen3-30b-a3b", "mixtral-8x7b",
                                        "tiny-moe",     "Q4_K",     "q4_k_m"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_contains(help.out.ptr, names[i]);
    RUN(&shape, "synth", "--like", "llama-3b", "--quant", "q4_0", "-o", path);
    spawn_assert_refused(&shape, 2, "llama-8b");
    RUN(&type, "synth", "--like", "tiny-moe", "--quant", "q9", "-o", path);
    spawn_assert_refused(&type, 2, "q9");
    assert_int_equal(os_stat(path, NULL, NULL), OS_FILE_NONE);
    spawn_free(&help);
    spawn_free(&shape);
    spawn_free(&type);
}
