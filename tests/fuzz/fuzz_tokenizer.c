/* The first byte chooses: a pre-tokenizer over the small byte-level vocabulary, the small SPM one,
 * or a vocabulary made of the input's own lines. The rest is the text. */
#include <stdint.h>
#include <stdlib.h>

#include "../data/tokenizer/tiny_vocab.h"
#include "base/mem.h"
#include "text/pretokenize.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_ROWS = 93, OWN_LINES = 200, MAX_LINES = 64 };

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Every id is in range; where nothing is cleaned or marked, decoding gives the text back. */
static void check_text(const struct tokenizer *tokenizer, struct str text, bool reversible)
{
    for (unsigned flags = 0; flags < 4; flags++) {
        struct token_list ids = {0};
        struct strbuf back = {0};
        require(tokenizer_encode(tokenizer, text, flags, &ids) == HTH_OK);
        for (size_t i = 0; i < ids.count; i++)
            require(ids.ids[i] >= 0 && (size_t)ids.ids[i] < tokenizer_n_vocab(tokenizer));
        require(tokenizer_decode(tokenizer, ids.ids, ids.count, true, &back) == HTH_OK);
        if (reversible && !(flags & TOKEN_ADD_BOS))
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
        require(tiny_open(tiny, row ? row->name : NULL, NULL) == HTH_OK);
    /* The vocabulary has no "<0x..>" and no space marks: raw families lose what it lacks. */
    bool reversible = row && !(row->flags & (PRE_CLEAN_SPACES | PRE_RAW));
    check_text(tiny->tokenizer, text, reversible);
}

/* Lines by turns a token, a merge; a first line that begins with 's' makes it SPM. */
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
    bool spm = text.len && text.ptr[0] == 's';
    struct gguf_writer *writer;
    require(gguf_writer_create(&writer, NULL) == HTH_OK);
    gguf_put_str(writer, "tokenizer.ggml.model", spm ? STR("llama") : STR("gpt2"));
    gguf_put_str(writer, "tokenizer.ggml.pre", STR("mmbert"));
    gguf_put_strs(writer, "tokenizer.ggml.tokens", lines[0], n[0]);
    gguf_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, types, n[0]);
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, scores, n[0]);
    gguf_put_strs(writer, "tokenizer.ggml.merges", lines[1], n[1]);
    struct tiny tiny;
    if (tiny_open_writer(&tiny, writer, NULL) == HTH_OK)
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
    else
        with_small_vocabulary(data[0] % (N_ROWS + 1), text);
    return 0;
}
