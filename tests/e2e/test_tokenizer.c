/* `hearth tokenize` with each tokenizer model, on files that hold a vocabulary and no more. */
#include "spawn.h"

#include "data/tokenizer/tiny_kinds.h"

static const struct row {
    const char *model, *text, *with, *without; /* what the vocabulary adds */
    const char *key;                           /* a flag that is true, or NULL */
} rows[] = {
    {"bert", "hes, caf\xc3\xa9", "2 4 12 7 9 3\n", "4 12 7 9\n", NULL},
    {"bert", "", "2 3\n", "\n", NULL},
    {"bert", "[MASK", "2 1 1 3\n", "1 1\n", NULL},
    {"bert", "he[SEP]he", "2 4 3 4 3\n", "4 3 4\n", NULL},
    {"t5", "a b", "4 3 5 1\n", "4 3 5\n", NULL},
    {"t5", "a b", "7 3 5 1\n", "7 3 5\n", "tokenizer.ggml.add_space_prefix"},
    {"rwkv", "hello\n\n", "258 259\n", "258 259\n", NULL},
    {"plamo2", "ab", "262\n", "262\n", NULL},
    {"plamo2", "ab", "262 2\n", "262\n", "tokenizer.ggml.add_eos_token"},
    {"plamo3", "ab", "1 262\n", "262\n", "tokenizer.ggml.add_bos_token"},
    {"hybriddna", "he<dna>ACGTAC</dna>", "256 270 273 271\n", "256 270 273 271\n", NULL},
    {"whitespace", "he  he", "256 256\n", "256 256\n", NULL},
};

static void check_row(const struct row *row)
{
    struct gguf_writer *writer;
    const char *path = spawn_temp("vocabulary.gguf");
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "general.architecture", STR("none"));
    tiny_put_kind(writer, row->model);
    if (row->key)
        gguf_put_bool(writer, row->key, true);
    assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
    gguf_writer_destroy(writer);
    struct spawn with = {.input = str_of(row->text)}, without = {.input = str_of(row->text)};
    RUN(&with, "tokenize", path);
    assert_code(&with, 0);
    assert_string_equal(with.out.ptr, row->with);
    RUN(&without, "tokenize", path, "--no-bos");
    assert_code(&without, 0);
    assert_string_equal(without.out.ptr, row->without);
    spawn_free(&with);
    spawn_free(&without);
}

TEST(every_tokenizer_model)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_row(&rows[i]);
}

/* The program goes on, with a warning. */
TEST(an_unknown_pretokenizer_is_named_with_the_nearest)
{
    static const char *const names[][2] = {
        {"qwen-2", "the pre-tokenizer \"qwen-2\" (the nearest it knows is \"qwen2\"); \"default\""},
        {"zzzzzzzz", "the pre-tokenizer \"zzzzzzzz\"; \"default\" is used"},
        {"", "does not say how text is cut into words; \"default\" is used"},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct gguf_writer *writer;
        const char *path = spawn_temp("pre.gguf");
        assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
        gguf_put_str(writer, "general.architecture", STR("none"));
        tiny_put_bpe(writer, names[i][0]);
        assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
        gguf_writer_destroy(writer);
        struct spawn s = {.input = STR("he")};
        RUN(&s, "tokenize", path);
        assert_code(&s, 0);
        assert_string_equal(s.out.ptr, "256\n");
        assert_contains(s.err.ptr, "hearth: warning: ");
        assert_contains(s.err.ptr, names[i][1]);
        spawn_free(&s);
    }
}

TEST(an_unknown_tokenizer_model_is_named_with_those_known)
{
    struct gguf_writer *writer;
    const char *path = spawn_temp("unknown.gguf");
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "general.architecture", STR("none"));
    gguf_put_str(writer, "tokenizer.ggml.model", STR("abacus"));
    assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
    gguf_writer_destroy(writer);
    struct spawn s = {.input = STR("he")};
    RUN(&s, "tokenize", path);
    spawn_assert_refused(&s, 1, "\"abacus\"; it knows ");
    for (size_t i = 0; i < TINY_MODELS; i++)
        assert_contains(s.err.ptr, tiny_models[i]);
    spawn_free(&s);
}
