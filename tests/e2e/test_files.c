/* Files that are not what they should be: one sentence, exit 1, nothing half-written. */
#include "spawn.h"

#include <stdio.h>

#include "base/file.h"
#include "base/os.h"
#include "gguf/gguf_write.h"

/* Every command that opens a model refuses it with the same words. */
static void expect_refusal(const char *path, const char *text)
{
    const char *out = spawn_temp("refused.gguf");
    const char *const lines[][9] = {
        {"run", path, "-p", "x", "--device", "cpu"},
        {"chat", path, "--device", "cpu"},
        {"eval", path, "--ids", "1", "--logits", out, "--device", "cpu"},
        {"bench", path, "-p", "2", "-n", "0", "--device", "cpu"},
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct spawn s = {0};
        spawn_run(&s, lines[i]);
        spawn_assert_refused(&s, 1, text);
        spawn_free(&s);
    }
    assert_int_equal(os_stat(out, NULL, NULL), OS_FILE_NONE);
}

/* The same for those that read a file's keys only. */
static void expect_no_gguf(const char *path, const char *text)
{
    const char *const lines[][4] = {{"inspect", path}, {"tokenize", path}};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct spawn s = {0};
        spawn_run(&s, lines[i]);
        spawn_assert_refused(&s, 1, text);
        spawn_free(&s);
    }
    expect_refusal(path, text);
}

TEST(no_such_file)
{
    expect_no_gguf(spawn_temp("absent.gguf"), "absent.gguf");
}

TEST(a_folder)
{
    spawn_tiny_model();
    expect_no_gguf("/", "folder");
}

TEST(an_empty_file)
{
    expect_no_gguf(spawn_file("empty.gguf", "", 0), "empty");
}

TEST(files_of_other_programs_are_named)
{
    static const char safetensors[] = "\x08\0\0\0\0\0\0\0{\"a\":{}}";
    static const char pickle[] = "\x80\x02}q\0(X\x05\0\0\0model";
    static const char zip[] = "PK\x03\x04\x14\0\0\0\0\0archive/data.pkl";
    expect_no_gguf(spawn_file("a.safetensors", safetensors, sizeof safetensors - 1), "safetensors");
    expect_no_gguf(spawn_file("a.bin", pickle, sizeof pickle - 1), "pickle");
    expect_no_gguf(spawn_file("a.pt", zip, sizeof zip - 1), "zip archive");
    expect_no_gguf(spawn_file("a.txt", "just some text, nothing else", 28), "GGUF");
}

TEST(a_truncated_model)
{
    struct strbuf bytes = {0};
    assert_int_equal(file_read(spawn_tiny_model(), 1 << 28, &bytes, test_log()), HTH_OK);
    const char *path = spawn_file("cut.gguf", bytes.ptr, bytes.len / 2);
    expect_no_gguf(path, "cut.gguf");
    path = spawn_file("cut2.gguf", bytes.ptr, 100);
    expect_no_gguf(path, "cut2.gguf");
    strbuf_free(&bytes);
}

/* The tiny model with one thing changed. */
struct change {
    const char *architecture; /* instead of its own */
    const char *without;      /* this tensor */
    const char *reshaped;     /* this one gets another shape */
};

static const char *changed_model(const char *name, const struct change *change)
{
    const char *path = spawn_temp(name);
    struct gguf *gguf;
    struct gguf_writer *writer;
    assert_int_equal(gguf_open(&gguf, spawn_tiny_model(), test_log()), HTH_OK);
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    for (size_t i = 0; i < gguf_n_keys(gguf); i++) {
        const struct gguf_key *key = gguf_key_at(gguf, i);
        if (change->architecture && str_equal(key->name, STR("general.architecture")))
            gguf_put_str(writer, "general.architecture", str_of(change->architecture));
        else
            gguf_put_key(writer, key);
    }
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
        char tensor_name[128];
        snprintf(tensor_name, sizeof tensor_name, "%.*s", (int)tensor->name.len, tensor->name.ptr);
        int64_t ne[GGUF_MAX_DIMS];
        memcpy(ne, tensor->ne, sizeof ne);
        if (change->without && strcmp(tensor_name, change->without) == 0)
            continue;
        if (change->reshaped && strcmp(tensor_name, change->reshaped) == 0)
            ne[1] /= 2;
        gguf_put_tensor(writer, tensor_name, tensor->dtype, tensor->n_dims, ne, tensor->data, NULL,
                        NULL);
    }
    assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
    gguf_writer_destroy(writer);
    gguf_close(gguf);
    return path;
}

TEST(an_unknown_architecture_is_named_with_those_known)
{
    const char *path = changed_model("odd.gguf", &(struct change){.architecture = "frobnitz"});
    expect_refusal(path, "frobnitz");
    expect_refusal(path, "llama");
    struct spawn inspect = {0}, tokenize = {.input = STR("abc")};
    RUN(&inspect, "inspect", path);
    assert_code(&inspect, 0);
    assert_contains(inspect.out.ptr, "frobnitz");
    RUN(&tokenize, "tokenize", path);
    assert_code(&tokenize, 0);
    spawn_free(&inspect);
    spawn_free(&tokenize);
}

TEST(a_missing_tensor_is_named)
{
    const struct change change = {.without = "blk.1.ffn_up.weight"};
    expect_refusal(changed_model("missing.gguf", &change), "blk.1.ffn_up.weight");
}

TEST(a_wrong_shape_is_named)
{
    const struct change change = {.reshaped = "blk.0.attn_q.weight"};
    expect_refusal(changed_model("shape.gguf", &change), "blk.0.attn_q.weight");
}

TEST(a_model_without_a_vocabulary_can_still_be_evaluated)
{
    const char *path = spawn_temp("mute.gguf"), *out = spawn_temp("mute-logits.gguf");
    struct gguf *gguf;
    struct gguf_writer *writer;
    assert_int_equal(gguf_open(&gguf, spawn_tiny_model(), test_log()), HTH_OK);
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    for (size_t i = 0; i < gguf_n_keys(gguf); i++)
        if (!str_starts_with(gguf_key_at(gguf, i)->name, STR("tokenizer.")))
            gguf_put_key(writer, gguf_key_at(gguf, i));
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(gguf, i);
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.ptr);
        gguf_put_tensor(writer, name, t->dtype, t->n_dims, t->ne, t->data, NULL, NULL);
    }
    assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
    gguf_writer_destroy(writer);
    gguf_close(gguf);
    struct spawn eval = {0}, run = {0}, tokenize = {0};
    RUN(&eval, "eval", path, "--ids", "1,2", "--logits", out, "--device", "cpu");
    assert_code(&eval, 0);
    RUN(&run, "run", path, "-p", "x", "--device", "cpu");
    assert_code(&run, 1);
    assert_contains(run.err.ptr, "has no tokenizer");
    RUN(&tokenize, "tokenize", path);
    spawn_assert_refused(&tokenize, 1, "has no tokenizer");
    spawn_free(&eval);
    spawn_free(&run);
    spawn_free(&tokenize);
}

TEST(an_unwritable_place_is_named)
{
    struct spawn eval = {0}, synth = {0}, folder = {0};
    RUN(&eval, "eval", spawn_tiny_model(), "--ids", "1", "--device", "cpu", "--logits",
        "/nowhere/at/all.gguf");
    spawn_assert_refused(&eval, 1, "/nowhere/at/all.gguf");
    RUN(&synth, "synth", "--like", "tiny-llama", "-o", "/nowhere/at/all.gguf");
    spawn_assert_refused(&synth, 1, "/nowhere/at/all.gguf");
    RUN(&folder, "synth", "--like", "tiny-llama", "-o", "/");
    spawn_assert_refused(&folder, 1, "folder");
    spawn_free(&eval);
    spawn_free(&synth);
    spawn_free(&folder);
}

/* Names, prompts and what is written, in letters that no code page has all of. */
TEST(names_are_utf8)
{
    static const char word[] = "gr\xc3\xbc\xc3\x9f \xe6\xa8\xa1 \xf0\x9f\x91\x8b";
    struct strbuf bytes = {0};
    struct spawn plain = {0}, named = {0}, file = {0}, piped = {.input = str_of(word)}, none = {0};
    assert_int_equal(file_read(spawn_tiny_model(), SIZE_MAX, &bytes, test_log()), HTH_OK);
    const char *model =
        spawn_file("\xc3\xa9 \xe6\xa8\xa1\xf0\x9f\x91\x8b.gguf", bytes.ptr, bytes.len);
    RUN(&plain, "run", spawn_tiny_model(), "-p", word, "-n", "8", "--device", "cpu");
    RUN(&named, "run", model, "-p", word, "-n", "8", "--device", "cpu");
    RUN(&file, "run", model, "-f", spawn_file("\xc3\xa9.txt", word, sizeof word - 1), "-n", "8",
        "--device", "cpu");
    assert_code(&plain, 0);
    assert_string_equal(named.out.ptr, plain.out.ptr);
    assert_string_equal(file.out.ptr, plain.out.ptr);
    RUN(&piped, "run", model, "-", "-n", "8", "--device", "cpu");
    assert_string_equal(piped.out.ptr, plain.out.ptr);
    RUN(&none, "run", spawn_temp("\xe6\xa8\xa1.gguf"), "-p", "x");
    spawn_assert_refused(&none, 1, "\xe6\xa8\xa1.gguf");
    spawn_free(&plain);
    spawn_free(&named);
    spawn_free(&file);
    spawn_free(&piped);
    spawn_free(&none);
    strbuf_free(&bytes);
}
