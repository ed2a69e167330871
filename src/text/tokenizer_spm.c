/* SentencePiece's BPE (Kudo, Richardson 2018, "SentencePiece: A simple and language independent
 * subword tokenizer"): neighbours join when their text is a token, the highest score first. */
#include "base/half.h"
#include "base/mem.h"
#include "text/tokenizer_kind.h"
#include "text/tokenizer_merge.h"
#include "text/utf8.h"

static const struct str space_mark = {"\xe2\x96\x81", 3}; /* U+2581 stands for a space */

struct spm {
    bool words_apart; /* no token goes on over a space after something else */
};

/* Is there a space mark in `text` after something that is none? */
static bool spans_words(struct str text)
{
    bool solid = false;
    for (size_t at = 0; at < text.len;) {
        bool mark = str_starts_with(str_slice(text, at, text.len), space_mark);
        if (mark && solid)
            return true;
        solid = !mark;
        at += mark ? space_mark.len : 1;
    }
    return false;
}

/* Order-preserving: the highest score gives the lowest rank; no number sorts last. */
static uint32_t rank_of(float score)
{
    if (score != score)
        return UINT32_MAX;
    uint32_t bits = f32_to_bits(score + 0.0f); /* −0 becomes 0 */
    return bits & 0x80000000u ? bits : 0x7fffffffu - bits;
}

static bool joins(const void *user, const struct merge_work *work, const struct merge_symbol *left,
                  const struct merge_symbol *right, uint32_t *rank, uint32_t *id)
{
    const struct vocab *vocab = user;
    uint32_t end = right->start + right->len;
    *id = vocab_find_token(vocab, str_slice(work->word, left->start, end));
    if (*id == VOCAB_NONE)
        return false;
    *rank = rank_of(vocab->scores[*id]);
    return true;
}

static enum hth_status create(struct tokenizer *tokenizer, const struct gguf *gguf,
                              const struct log *log)
{
    if (!tokenizer->vocab.scores)
        return log_fail(log, HTH_ERROR_FORMAT,
                        "%s: tokenizer.ggml.scores is missing: a \"llama\" vocabulary cannot be "
                        "used without it; convert or download the model again",
                        gguf_path(gguf));
    struct spm *spm = tokenizer->state = mem_calloc(1, sizeof *spm);
    if (!spm)
        return log_fail_memory(log, "the tokenizer", sizeof *spm);
    spm->words_apart = true;
    for (size_t i = 0; i < tokenizer->vocab.n_tokens && spm->words_apart; i++)
        spm->words_apart = !spans_words(tokenizer->vocab.texts[i]);
    return HTH_OK;
}

static void destroy(struct tokenizer *tokenizer)
{
    mem_free(tokenizer->state);
}

/* A symbol that is no token: its bytes as "<0xXX>", and one unknown token for those without. */
static bool append_bytes(const struct tokenizer *tokenizer, struct str bytes,
                         struct token_list *out)
{
    bool unknown = false;
    for (size_t i = 0; i < bytes.len; i++) {
        uint32_t id = vocab_byte_token(&tokenizer->vocab, (uint8_t)bytes.ptr[i]);
        if (id == VOCAB_NONE)
            unknown = true;
        else if (!token_list_append(out, (int32_t)id))
            return false;
    }
    return !unknown || tokenizer->unk < 0 || token_list_append(out, tokenizer->unk);
}

static bool encode_stretch(const struct tokenizer *tokenizer, struct str text,
                           struct merge_work *work, struct token_list *out)
{
    const struct vocab *vocab = &tokenizer->vocab;
    merge_begin(work, text);
    for (size_t at = 0, len; at < text.len; at += len) {
        uint32_t codepoint;
        len = utf8_decode(text, at, &codepoint);
        len = len ? len : 1;
        if (!merge_add(work, len, vocab_find_token(vocab, str_slice(text, at, at + len))))
            return false;
    }
    if (!merge_run(work, joins, vocab))
        return false;
    for (uint32_t i = 0; i != MERGE_END; i = work->symbols[i].next) {
        const struct merge_symbol *symbol = &work->symbols[i];
        struct str bytes = str_slice(text, symbol->start, symbol->start + symbol->len);
        if (symbol->id == VOCAB_NONE ? !append_bytes(tokenizer, bytes, out)
                                     : !token_list_append(out, (int32_t)symbol->id))
            return false;
    }
    return true;
}

/* Where no token spans words they are joined one by one: the same ids, and a short queue. */
static bool encode_marked(const struct tokenizer *tokenizer, struct str text,
                          struct merge_work *work, struct token_list *out)
{
    const struct spm *spm = tokenizer->state;
    size_t from = 0;
    bool solid = false;
    for (size_t at = 0; at < text.len && spm->words_apart;) {
        bool mark = str_starts_with(str_slice(text, at, text.len), space_mark);
        if (mark && solid) {
            if (!encode_stretch(tokenizer, str_slice(text, from, at), work, out))
                return false;
            from = at;
        }
        solid = !mark;
        at += mark ? space_mark.len : 1;
    }
    return encode_stretch(tokenizer, str_slice(text, from, text.len), work, out);
}

static enum hth_status encode(const struct tokenizer *tokenizer, struct str text, bool begins,
                              struct token_list *out)
{
    struct strbuf marked = {0};
    struct merge_work work = {0};
    if (begins && tokenizer->add_space_prefix)
        strbuf_append(&marked, space_mark);
    for (size_t from = 0, at = 0; at <= text.len; at++) {
        if (at < text.len && text.ptr[at] != ' ')
            continue;
        strbuf_append(&marked, str_slice(text, from, at));
        if (at < text.len)
            strbuf_append(&marked, space_mark);
        from = at + 1;
    }
    bool ok = !marked.failed && encode_marked(tokenizer, strbuf_str(&marked), &work, out);
    merge_free(&work);
    strbuf_free(&marked);
    return ok ? HTH_OK : HTH_ERROR_MEMORY;
}

static void piece(const struct tokenizer *tokenizer, struct str token, struct strbuf *out)
{
    (void)tokenizer;
    tokenizer_unmark_spaces(token, out);
}

const struct tokenizer_kind tokenizer_kind_spm = {
    .model = "llama",
    .add_bos = true,
    .add_space_prefix = true,
    .bos = 1,
    .eos = 2,
    .unk = 0,
    .sep = -1,
    .create = create,
    .destroy = destroy,
    .encode = encode,
    .piece = piece,
};
