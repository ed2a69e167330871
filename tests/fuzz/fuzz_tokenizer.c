/* The first byte chooses: a pre-tokenizer over the small byte-level vocabulary, the small SPM one,
 * that of another tokenizer model, or a vocabulary made of the input's own lines or with a
 * character map of the input's own bytes. The rest is the text. */
#include <stdint.h>
#include <stdlib.h>

#include "../data/tokenizer/tiny_kinds.h"
#include "base/mem.h"
#include "fuzz_log.h"
#include "text/pretokenize.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_ROWS = 93, KINDS = 120, OWN_MAP = 180, OWN_LINES = 200, MAX_LINES = 64 };

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Every id is in range; where nothing is cleaned or marked, decoding gives the text back. */
static void check_text(const struct tokenizer *tokenizer, struct str text, bool reversible)
{
    for (unsigned flags = 0; flags < 8; flags++) {
        struct token_list ids = {0};
        struct strbuf back = {0};
        require(tokenizer_encode(tokenizer, text, flags, &ids) == HTH_OK);
        for (size_t i = 0; i < ids.count; i++)
            require(ids.ids[i] >= 0 && (size_t)ids.ids[i] < tokenizer_n_vocab(tokenizer));
        require(tokenizer_decode(tokenizer, ids.ids, ids.count, true, &back) == HTH_OK);
        if (reversible && !(flags & (TOKEN_ADD_BOS | TOKEN_ADD_END)))
            require(str_equal(strbuf_str(&back), text));
        token_list_free(&ids);
        strbuf_free(&back);
    }
}

static void with_small_vocabulary(size_t choice, struct str text)
{
    static struct tiny kept[N_ROWS + 1];
    struct tiny *tiny = &kept[choice];
    const struct pre_row *row = pre_row_at(choice);
    if (!tiny->tokenizer)
        require(tiny_open(tiny, row ? row->name : NULL, fuzz_log()) == HTH_OK);
    /* The vocabulary has no "<0x..>" and no space marks: raw families lose what it lacks. */
    bool reversible = row && !(row->flags & (PRE_CLEAN_SPACES | PRE_RAW));
    check_text(tiny->tokenizer, text, reversible);
}

static void with_small_kind(size_t choice, struct str text)
{
    static struct tiny kept[TINY_MODELS];
    struct tiny *tiny = &kept[choice];
    const char *model = tiny_models[choice];
    if (!tiny->tokenizer)
        require(tiny_open_kind(tiny, model, NULL) == HTH_OK);
    bool has_mark = false; /* PLaMo 2 drops it where text begins, behind a special token too */
    for (size_t at = 0; at < text.len; at++)
        has_mark |= str_starts_with(str_slice(text, at, text.len), STR("\xef\xbb\xbf"));
    bool reversible = strcmp(model, "rwkv") == 0 || strcmp(model, "plamo3") == 0 ||
                      (strcmp(model, "plamo2") == 0 && !has_mark);
    check_text(tiny->tokenizer, text, reversible);
}

/* Two bytes say how long the map is; the text comes after it. */
static void with_own_map(struct str text)
{
    size_t n = text.len < 2 ? 0 : (uint8_t)text.ptr[0] | (size_t)(uint8_t)text.ptr[1] << 8;
    struct str map = str_slice(text, 2, 2 + n);
    struct gguf_writer *writer;
    struct tiny tiny;
    require(gguf_writer_create(&writer, NULL) == HTH_OK);
    tiny_put_kind(writer, "t5");
    gguf_put_array(writer, "tokenizer.ggml.precompiled_charsmap", GGUF_I8, map.ptr, map.len);
    if (fuzz_log_check(tiny_open_writer(&tiny, writer, fuzz_log())) == HTH_OK)
        check_text(tiny.tokenizer, str_slice(text, 2 + map.len, text.len), false);
    tiny_close(&tiny);
}

/* The model that the first letter stands for; BPE for any other. */
static struct str own_model(struct str text)
{
    static const char letters[] = "sbtr23dw";
    static const char *const models[] = {"llama",  "bert",   "t5",        "rwkv",
                                         "plamo2", "plamo3", "hybriddna", "whitespace"};
    const char *letter = text.len && text.ptr[0] ? strchr(letters, text.ptr[0]) : NULL;
    return letter ? str_of(models[letter - letters]) : STR("gpt2");
}

/* Lines by turns a token, a merge; the first letter chooses the model. */
static void with_own_lines(struct str text)
{
    struct str lines[2][MAX_LINES];
    float scores[MAX_LINES];
    int32_t types[MAX_LINES];
    size_t n[2] = {0}, from = 0;
    for (size_t at = 0, k = 0; at <= text.len && k < (size_t)2 * MAX_LINES; at++) {
        if (at < text.len && text.ptr[at] != '\n')
            continue;
        struct str line = str_slice(text, from, at);
        scores[n[k % 2]] = line.len ? (float)line.ptr[0] : 0;
        types[n[k % 2]] = line.len ? (uint8_t)line.ptr[line.len - 1] % 8 : 0;
        lines[k % 2][n[k % 2]++] = line;
        from = at + 1;
        k++;
    }
    struct gguf_writer *writer;
    require(gguf_writer_create(&writer, NULL) == HTH_OK);
    gguf_put_str(writer, "tokenizer.ggml.model", own_model(text));
    gguf_put_str(writer, "tokenizer.ggml.pre", STR("mmbert"));
    gguf_put_strs(writer, "tokenizer.ggml.tokens", lines[0], n[0]);
    gguf_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, types, n[0]);
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, scores, n[0]);
    gguf_put_strs(writer, "tokenizer.ggml.merges", lines[1], n[1]);
    struct tiny tiny;
    if (fuzz_log_check(tiny_open_writer(&tiny, writer, fuzz_log())) == HTH_OK)
        check_text(tiny.tokenizer, text, false);
    tiny_close(&tiny);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str text = {(const char *)data + 1, size - 1};
    if (data[0] >= OWN_LINES)
        with_own_lines(text);
    else if (data[0] >= OWN_MAP)
        with_own_map(text);
    else if (data[0] >= KINDS)
        with_small_kind(data[0] % TINY_MODELS, text);
    else
        with_small_vocabulary(data[0] % (N_ROWS + 1), text);
    return 0;
}
