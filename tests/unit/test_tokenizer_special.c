/* What a token's text alone decides, and which special tokens take spaces with them. The rows are
 * what llama.cpp does with the same texts (llama_vocab::impl::load in src/llama-vocab.cpp), worked
 * out by hand. */
#include "harness/test.h"

#include "data/tokenizer/tiny_vocab.h"

enum { MAX_TOKENS = 96, N_PLAIN = 4 };

/* A vocabulary of these texts, all of one type, behind "<unk>", "a", a space and "ends". "ends" is
 * the EOS of the file, so that no other token ends an answer but by its text. */
struct texts {
    struct str texts[MAX_TOKENS];
    int32_t types[MAX_TOKENS];
    size_t n;
};

static struct texts no_texts(void)
{
    return (struct texts){.texts = {STR("<unk>"), STR("a"), STR("\xe2\x96\x81"), STR("ends")},
                          .types = {TOKEN_UNKNOWN, TOKEN_NORMAL, TOKEN_NORMAL, TOKEN_NORMAL},
                          .n = N_PLAIN};
}

/* Returns the id. */
static int32_t add_text(struct texts *texts, const char *text, int type)
{
    assert_true(texts->n < MAX_TOKENS);
    texts->texts[texts->n] = str_of(text);
    texts->types[texts->n] = type;
    return (int32_t)texts->n++;
}

struct naming {
    const char *key, *value; /* a text key beside the vocabulary; NULL for none */
    int32_t eos;             /* 0: "ends" */
};

static struct tiny open_texts(const struct texts *texts, const struct naming *naming)
{
    static const float scores[MAX_TOKENS];
    struct gguf_writer *writer;
    struct tiny tiny;
    test_log_clear();
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "tokenizer.ggml.model", STR("llama"));
    gguf_put_strs(writer, "tokenizer.ggml.tokens", texts->texts, texts->n);
    gguf_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, texts->types, texts->n);
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, scores, texts->n);
    gguf_put_u32(writer, "tokenizer.ggml.eos_token_id", (uint32_t)(naming->eos ? naming->eos : 3));
    gguf_put_bool(writer, "tokenizer.ggml.add_space_prefix", false);
    if (naming->key)
        gguf_put_str(writer, naming->key, str_of(naming->value));
    if (tiny_open_writer(&tiny, writer, test_log()) != HTH_OK)
        fail_msg("%s", test_log_text());
    return tiny;
}

enum effect {
    ENDS,    /* ends an answer; a control token */
    MARKS,   /* a control token */
    SHOWN,   /* recognised in any text and written out */
    PLAIN,   /* text like any other */
    CONTROL, /* as MARKS: what the file says of a text without a rule */
};

static bool encodes_to(const struct tokenizer *tokenizer, struct str text, unsigned flags,
                       int32_t id)
{
    struct token_list got = {0};
    assert_int_equal(tokenizer_encode(tokenizer, text, flags, &got), HTH_OK);
    bool same = got.count == 1 && got.ids[0] == id;
    token_list_free(&got);
    return same;
}

static bool decodes_to(const struct tokenizer *tokenizer, int32_t id, bool special,
                       struct str expected)
{
    struct strbuf text = {0};
    assert_int_equal(tokenizer_decode(tokenizer, &id, 1, special, &text), HTH_OK);
    bool same = str_equal(strbuf_str(&text), expected);
    strbuf_free(&text);
    return same;
}

static void check_effect(const struct tiny *tiny, const char *text, enum effect effect)
{
    const struct tokenizer *tokenizer = tiny->tokenizer;
    struct str whole = str_of(text);
    int32_t id = tokenizer_find(tokenizer, whole);
    assert_true(id >= 0);
    if (tokenizer_is_end(tokenizer, id) != (effect == ENDS))
        fail_msg("%s: %s an answer", text, effect == ENDS ? "does not end" : "ends");
    if (encodes_to(tokenizer, whole, TOKEN_PARSE_SPECIAL, id) != (effect != PLAIN))
        fail_msg("%s: %s where special tokens are", text,
                 effect == PLAIN ? "is recognised" : "is not recognised");
    if (encodes_to(tokenizer, whole, 0, id) != (effect == SHOWN))
        fail_msg("%s: %s in plain text", text,
                 effect == SHOWN ? "is not recognised" : "is recognised");
    bool hidden = effect != SHOWN && effect != PLAIN;
    if (!decodes_to(tokenizer, id, false, hidden ? STR("") : whole))
        fail_msg("%s: is %s", text, hidden ? "written out" : "hidden");
    if (!decodes_to(tokenizer, id, true, whole))
        fail_msg("%s: is not written out on request", text);
}

static const struct text_effect {
    const char *text;
    enum effect effect;
} text_effects[] = {
    {"</s>", ENDS},
    {"<eos>", ENDS},
    {"<EOT>", ENDS},
    {"_<EOT>", ENDS},
    {"[EOT]", ENDS},
    {"[EOS]", ENDS},
    {"[e~[", ENDS},
    {"<|end|>", ENDS},
    {"<|endoftext|>", ENDS},
    {"<|end_of_text|>", ENDS},
    {"<|eot_id|>", ENDS},
    {"<|eom_id|>", ENDS},
    {"<|im_end|>", ENDS},
    {"<|ifm|im_end|>", ENDS},
    {"<|return|>", ENDS},
    {"<|call|>", ENDS},
    {"<|calls|>", ENDS},
    {"<|flush|>", ENDS},
    {"<end_of_turn>", ENDS},
    {"<turn|>", ENDS},
    {"<|tool_response>", ENDS},
    {"<end_of_utterance>", ENDS},
    /* with U+FF5C and U+2581 */
    {"<\xef\xbd\x9c"
     "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
     ENDS},
    {"<|fim_pad|>", ENDS},
    {"<fim-pad>", ENDS},
    {"<fim_pad>", ENDS},
    {"<|fim_repo|>", ENDS},
    {"<|repo_name|>", ENDS},
    {"<fim-repo>", ENDS},
    {"<reponame>", ENDS},
    {"<|file_sep|>", ENDS},
    {"<|fim_prefix|>", MARKS},
    {"<fim-prefix>", MARKS},
    {"<fim_prefix>", MARKS},
    {"<\xef\xbd\x9c"
     "fim\xe2\x96\x81"
     "begin\xef\xbd\x9c>",
     MARKS},
    {"<|fim_suffix|>", MARKS},
    {"<fim-suffix>", MARKS},
    {"<fim_suffix>", MARKS},
    {"<\xef\xbd\x9c"
     "fim\xe2\x96\x81hole\xef\xbd\x9c>",
     MARKS},
    {"<|fim_middle|>", MARKS},
    {"<fim-middle>", MARKS},
    {"<fim_middle>", MARKS},
    {"<\xef\xbd\x9c"
     "fim\xe2\x96\x81"
     "end\xef\xbd\x9c>",
     MARKS},
    {"<|channel|>", SHOWN},
    {"<|message|>", SHOWN},
    {"<|start|>", SHOWN},
    {"<|constrain|>", SHOWN},
};

/* Whatever the file calls the token, and in a vocabulary where no other text could do it. */
TEST(a_text_decides_what_a_token_is)
{
    static const int types[] = {TOKEN_NORMAL, TOKEN_CONTROL, TOKEN_USER_DEFINED};
    for (size_t i = 0; i < ARRAY_LEN(text_effects); i++) {
        for (size_t k = 0; k < ARRAY_LEN(types); k++) {
            struct texts texts = no_texts();
            add_text(&texts, text_effects[i].text, types[k]);
            struct tiny tiny = open_texts(&texts, &(struct naming){0});
            check_effect(&tiny, text_effects[i].text, text_effects[i].effect);
            tiny_close(&tiny);
        }
    }
}

/* In one vocabulary "<|end|>" and "</s>" end nothing, for the sake of others. */
TEST(all_texts_in_one_vocabulary)
{
    struct texts texts = no_texts();
    for (size_t i = 0; i < ARRAY_LEN(text_effects); i++)
        add_text(&texts, text_effects[i].text, TOKEN_NORMAL);
    struct tiny tiny = open_texts(&texts, &(struct naming){0});
    for (int32_t id = 0; id < N_PLAIN; id++)
        assert_int_equal(tokenizer_is_end(tiny.tokenizer, id), id == 3); /* "ends" */
    for (size_t i = 0; i < ARRAY_LEN(text_effects); i++) {
        const struct text_effect *row = &text_effects[i];
        enum effect effect = row->effect;
        effect = strcmp(row->text, "<|end|>") == 0 ? SHOWN : effect;
        effect = strcmp(row->text, "</s>") == 0 ? PLAIN : effect;
        check_effect(&tiny, row->text, effect);
    }
    tiny_close(&tiny);
}

/* No rule is about a part of a text, or one in other case. */
TEST(other_texts_are_what_the_file_says)
{
    static const char *const others[] = {
        "<s>",       "<pad>",       "<bos>",     "<|im_start|>", "<start_of_turn>",
        "</S>",      "<EOS>",       "<eot>",     "[eos]",        "<|end|",
        "<|fim_pad", "fim_pad",     "<fim-end>", "<|start>",     "<|tool_call>",
        "<|turn>",   "<|return|> ", "[MASK]",    "<file_sep>",   "<|endofprompt|>",
    };
    static const int types[] = {TOKEN_NORMAL, TOKEN_CONTROL, TOKEN_USER_DEFINED};
    static const enum effect effects[] = {PLAIN, CONTROL, SHOWN};
    for (size_t k = 0; k < ARRAY_LEN(types); k++) {
        struct texts texts = no_texts();
        for (size_t i = 0; i < ARRAY_LEN(others); i++)
            add_text(&texts, others[i], types[k]);
        struct tiny tiny = open_texts(&texts, &(struct naming){0});
        for (size_t i = 0; i < ARRAY_LEN(others); i++)
            check_effect(&tiny, others[i], effects[k]);
        tiny_close(&tiny);
    }
}

/* A text ends answers unless its vocabulary holds others beside it. */
static const struct exception {
    const char *text;
    const char *beside[2];
    enum effect effect;
} exceptions[] = {
    {"<|end|>", {NULL, NULL}, ENDS},
    {"<|end|>", {"<|return|>", NULL}, ENDS},
    {"<|end|>", {"<|call|>", NULL}, ENDS},
    {"<|end|>", {"<|flush|>", NULL}, ENDS},
    {"<|end|>", {"<|calls|>", NULL}, ENDS},
    {"<|end|>", {"<|return|>", "<|flush|>"}, ENDS},
    {"<|end|>", {"<|return|>", "<|calls|>"}, ENDS},
    {"<|end|>", {"<|call|>", "<|calls|>"}, ENDS},
    {"<|end|>", {"<|return|>", "<|call|>"}, SHOWN},
    {"<|end|>", {"<|flush|>", "<|calls|>"}, SHOWN},
    {"<|end|>", {"<|flush|>", "<|call|>"}, SHOWN},
    {"</s>", {NULL, NULL}, ENDS},
    {"</s>", {"<|return|>", "<|call|>"}, ENDS},
    {"</s>", {"<|flush|>", "<|calls|>"}, ENDS},
    {"</s>", {"<|tool_response>", NULL}, PLAIN},
};

/* Also where the file itself names it as the end of an answer. */
TEST(some_texts_end_nothing_beside_others)
{
    for (size_t i = 0; i < ARRAY_LEN(exceptions); i++) {
        const struct exception *row = &exceptions[i];
        for (int named = 0; named < 2; named++) {
            struct texts texts = no_texts();
            int32_t id = add_text(&texts, row->text, TOKEN_CONTROL);
            for (size_t k = 0; k < ARRAY_LEN(row->beside) && row->beside[k]; k++)
                add_text(&texts, row->beside[k], TOKEN_CONTROL);
            struct tiny tiny = open_texts(&texts, &(struct naming){.eos = named ? id : 0});
            check_effect(&tiny, row->text, row->effect);
            for (size_t k = 0; k < ARRAY_LEN(row->beside) && row->beside[k]; k++)
                check_effect(&tiny, row->beside[k], ENDS);
            tiny_close(&tiny);
        }
    }
}

enum strips { NONE = 0, LEFT = 1, RIGHT = 2 };

static const char pre_key[] = "tokenizer.ggml.pre", name_key[] = "general.name";

/* Which of these tokens take the spaces before or behind them. */
static const char *const stripping[] = {"<mask>", "[MASK]",        "<unk>",   "<s>",
                                        "</s>",   "<|endoftext|>", "<|user|>"};

static const struct stripper {
    const char *key, *value;
    enum strips strips[ARRAY_LEN(stripping)];
} strippers[] = {
    {pre_key, "jina-v2-de", {LEFT}},
    {pre_key, "jina-v2-es", {LEFT}},
    {pre_key, "jina-v2-code", {LEFT}},
    {pre_key, "mmbert", {LEFT}},
    {pre_key, "jina-v1-en", {NONE}},
    {pre_key, "jina-v2", {NONE}},
    {pre_key, "jina-v2-de-x", {NONE}},
    {pre_key, "modern-bert", {NONE}},
    {pre_key, "phi-3", {NONE}},
    {name_key, "modern-bert", {NONE, LEFT}},
    {name_key, "The Modern-BERT base", {NONE, LEFT}},
    {name_key, "ModernBERT", {NONE}},
    {name_key, "mmbert", {NONE}},
    {name_key, "jina-v2-de", {NONE}},
    {name_key, "phi-3", {RIGHT, RIGHT, NONE, NONE, RIGHT, NONE, RIGHT}},
    {name_key, "Microsoft Phi-3.5 mini", {RIGHT, RIGHT, NONE, NONE, RIGHT, NONE, RIGHT}},
    {name_key, "phi3", {RIGHT, RIGHT, NONE, NONE, RIGHT, NONE, RIGHT}},
    {name_key, "a PHI3 b", {RIGHT, RIGHT, NONE, NONE, RIGHT, NONE, RIGHT}},
    {name_key, "phi-2", {NONE}},
    {name_key, "phi 3", {NONE}},
    {name_key, "phi", {NONE}},
    {name_key, "", {NONE}},
    {NULL, NULL, {NONE}},
};

/* "a TOKEN a" without the spaces that it takes. */
static void check_strips(const struct tiny *tiny, const struct stripper *row, const char *token,
                         enum strips strips)
{
    struct strbuf text = {0};
    struct token_list got = {0};
    const struct tokenizer *tokenizer = tiny->tokenizer;
    int32_t id = tokenizer_find(tokenizer, str_of(token)), expected[5];
    size_t n = 0;
    expected[n++] = 1;
    if (!(strips & LEFT))
        expected[n++] = 2;
    expected[n++] = id;
    if (!(strips & RIGHT))
        expected[n++] = 2;
    expected[n++] = 1;
    strbuf_printf(&text, "a %s a", token);
    assert_int_equal(tokenizer_encode(tokenizer, strbuf_str(&text), TOKEN_PARSE_SPECIAL, &got),
                     HTH_OK);
    if (got.count != n || memcmp(got.ids, expected, n * sizeof *expected) != 0)
        fail_msg("%s \"%s\": %s does not take the spaces %d, or others", row->key ? row->key : "",
                 row->value ? row->value : "", token, (int)strips);
    token_list_free(&got);
    strbuf_free(&text);
}

TEST(tokens_take_spaces_where_their_model_says)
{
    struct texts texts = no_texts();
    for (size_t k = 0; k < ARRAY_LEN(stripping); k++)
        if (strcmp(stripping[k], "<unk>") != 0)
            add_text(&texts, stripping[k], TOKEN_CONTROL);
    for (size_t i = 0; i < ARRAY_LEN(strippers); i++) {
        const struct stripper *row = &strippers[i];
        struct tiny tiny = open_texts(&texts, &(struct naming){row->key, row->value, 0});
        for (size_t k = 0; k < ARRAY_LEN(stripping); k++)
            check_strips(&tiny, row, stripping[k], row->strips[k]);
        tiny_close(&tiny);
    }
}
