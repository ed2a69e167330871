/* The first byte chooses: a pre-tokenizer over the small byte-level vocabulary, the small SPM one,
 * that of another tokenizer model, a vocabulary made of the input's own lines or with a character
 * map of the input's own bytes, or one whose keys are all the input's own (made_vocab.h). The rest
 * is the text. */
#include <stdint.h>
#include <stdlib.h>

#include "../data/tokenizer/tiny_kinds.h"
#include "base/mem.h"
#include "fuzz_log.h"
#include "made_vocab.h"
#include "text/pretokenize.h"
#include "text/tokenizer_kind.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    N_ROWS = 93,
    KINDS = 120,
    OWN_MAP = 180,
    OWN_LINES = 200,
    OWN_KEYS = 224,
    MAX_LINES = 64,
    MAX_BACK = 1 << 12, /* bytes that are tokenized again */
    MAX_SHOWN = 64,     /* tokens that become text again: each may be a long one */
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool stands_for_no_byte(struct str piece)
{
    for (size_t at = 0; at < piece.len; at++)
        if (str_starts_with(str_slice(piece, at, piece.len), STR("[UNK_BYTE_0x")))
            return true;
    return false;
}

/* The pieces one by one are the text of all; where a vocabulary cleans spaces, some go. */
static void check_back(const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                       bool special, struct strbuf *back)
{
    struct strbuf pieces = {0};
    require(tokenizer_decode(tokenizer, ids, count, special, back) == HTH_OK);
    for (size_t i = 0, from = 0; i < count; i++, from = pieces.len) {
        tokenizer_piece(tokenizer, ids[i], special, i == 0, &pieces);
        struct str piece = str_slice(strbuf_str(&pieces), from, pieces.len);
        require(piece.len <= tokenizer_max_bytes(tokenizer) || stands_for_no_byte(piece));
    }
    require(!pieces.failed);
    require(tokenizer->clean_spaces ? back->len <= pieces.len
                                    : str_equal(strbuf_str(back), strbuf_str(&pieces)));
    strbuf_free(&pieces);
}

/* Does decoding give the text back? */
enum back {
    BACK_DIFFERS,   /* something is cleaned or marked, or has no token */
    BACK_IF_NORMAL, /* if no token is of another kind */
    BACK_SAME,      /* always, but for a word that is an unused token as a whole: it has no text */
};

static bool comes_back(const struct tokenizer *tokenizer, const struct token_list *ids,
                       enum back back)
{
    for (size_t i = 0; i < ids->count; i++) {
        uint8_t type = tokenizer->vocab.types[ids->ids[i]];
        if (back == BACK_SAME ? type == TOKEN_UNUSED : type != TOKEN_NORMAL)
            return false;
    }
    return back != BACK_DIFFERS;
}

static void check_text(const struct tokenizer *tokenizer, struct str text, enum back back)
{
    for (unsigned flags = 0; flags < 8; flags++) {
        struct token_list ids = {0};
        struct strbuf whole = {0}, plain = {0};
        require(tokenizer_encode(tokenizer, text, flags, &ids) == HTH_OK);
        for (size_t i = 0; i < ids.count; i++)
            require(ids.ids[i] >= 0 && (size_t)ids.ids[i] < tokenizer_n_vocab(tokenizer));
        bool same = comes_back(tokenizer, &ids, back);
        size_t n = same || ids.count < MAX_SHOWN ? ids.count : MAX_SHOWN;
        check_back(tokenizer, ids.ids, n, true, &whole);
        if (flags == 0)
            check_back(tokenizer, ids.ids, n, false, &plain);
        if (same && !(flags & (TOKEN_ADD_BOS | TOKEN_ADD_END)))
            require(str_equal(strbuf_str(&whole), text));
        token_list_free(&ids);
        strbuf_free(&whole);
        strbuf_free(&plain);
    }
}

/* Every token as text, and what all of them together say as tokens: text that has them in it. */
static void check_all_tokens(const struct tokenizer *tokenizer, enum back expected)
{
    size_t n = tokenizer_n_vocab(tokenizer);
    struct strbuf back = {0}, plain = {0};
    int32_t *ids = mem_calloc(n, sizeof *ids);
    require(ids && tokenizer_bos(tokenizer) < (int64_t)n && tokenizer_eos(tokenizer) < (int64_t)n);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)i;
    require(!tokenizer_is_end(tokenizer, -1) && !tokenizer_is_end(tokenizer, (int32_t)n));
    check_back(tokenizer, ids, n, false, &plain);
    check_back(tokenizer, ids, n, true, &back);
    check_text(tokenizer, str_slice(strbuf_str(&back), 0, MAX_BACK), expected);
    mem_free(ids);
    strbuf_free(&back);
    strbuf_free(&plain);
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
    check_text(tiny->tokenizer, text, reversible ? BACK_SAME : BACK_DIFFERS);
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
    check_text(tiny->tokenizer, text, reversible ? BACK_SAME : BACK_DIFFERS);
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
        check_text(tiny.tokenizer, str_slice(text, 2 + map.len, text.len), BACK_DIFFERS);
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
        check_text(tiny.tokenizer, text, BACK_DIFFERS);
    tiny_close(&tiny);
}

/* Byte-level BPE loses nothing where all bytes are tokens, unless a key says that text begins with
 * a space of the tokenizer's. */
static enum back own_back(const struct tiny *tiny)
{
    struct str name = {0};
    gguf_get_str(gguf_key_find(tiny->gguf, "tokenizer.ggml.pre"), &name);
    const struct pre_row *row = pre_row_find(name);
    unsigned flags = row ? row->flags : pre_row_at(0)->flags;
    bool same = strcmp(tiny->tokenizer->kind->model, "gpt2") == 0 &&
                !tiny->tokenizer->add_space_prefix &&
                !(flags & (PRE_CLEAN_SPACES | PRE_RAW | PRE_SPACE_MARK | PRE_MARK_LINES));
    for (unsigned byte = 0; byte < 256 && same; byte++) {
        struct strbuf text = {0};
        strbuf_append_utf8(&text, tiny_char_of_byte(byte));
        same = tokenizer_find(tiny->tokenizer, strbuf_str(&text)) >= 0;
        strbuf_free(&text);
    }
    return same ? BACK_IF_NORMAL : BACK_DIFFERS;
}

/* The recipe of all keys; the text comes after it. */
static void with_own_keys(struct str text)
{
    struct recipe recipe = {(const uint8_t *)text.ptr, text.len};
    struct gguf_writer *writer;
    struct tiny tiny;
    require(gguf_writer_create(&writer, fuzz_log()) == HTH_OK);
    made_vocab_put(&recipe, writer);
    if (fuzz_log_check(tiny_open_writer(&tiny, writer, fuzz_log())) == HTH_OK) {
        enum back back = own_back(&tiny);
        check_text(tiny.tokenizer, recipe_text(&recipe, recipe.left), back);
        check_all_tokens(tiny.tokenizer, back);
    }
    tiny_close(&tiny);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str text = {(const char *)data + 1, size - 1};
    if (data[0] >= OWN_KEYS)
        with_own_keys(text);
    else if (data[0] >= OWN_LINES)
        with_own_lines(text);
    else if (data[0] >= OWN_MAP)
        with_own_map(text);
    else if (data[0] >= KINDS)
        with_small_kind(data[0] % TINY_MODELS, text);
    else
        with_small_vocabulary(data[0] % (N_ROWS + 1), text);
    return 0;
}
