/* BPE with stretches of DNA, as in HuggingFaceBio's Carbon models: between "<dna>" and "</dna>"
 * (or the end) every six bases are a token, the last ones filled up with A; what is none is
 * "<oov>". The file marks the tokens of bases with U+E000 behind them, to tell "CCCCCC" from the
 * same letters in text (https://github.com/ggml-org/llama.cpp/pull/23410, 23466). */
#include "text/tokenizer_bpe.h"

enum { BASES = 6, MARK = 3, DNA_TOKEN = BASES + MARK };

static const char token_mark[] = "\xee\x80\x80"; /* U+E000 */
static const struct str opening = {"<dna>", 5}, closing = {"</dna>", 6}, unknown = {"<oov>", 5};

/* Where `part` begins in text[from ..); the text's length if it does not. */
static size_t find(struct str text, size_t from, struct str part)
{
    for (size_t at = from; text.len - at >= part.len; at++) {
        const char *first = memchr(text.ptr + at, part.ptr[0], text.len - at - part.len + 1);
        if (!first)
            break;
        at = (size_t)(first - text.ptr);
        if (memcmp(first, part.ptr, part.len) == 0)
            return at;
    }
    return text.len;
}

static bool append_bases(const struct vocab *vocab, struct str bases, int32_t oov,
                         struct token_list *out)
{
    for (size_t at = 0; at < bases.len; at += BASES) {
        char token[DNA_TOKEN];
        for (size_t i = 0; i < BASES; i++) {
            char c = at + i < bases.len ? bases.ptr[at + i] : 'A';
            token[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
        }
        memcpy(token + BASES, token_mark, MARK);
        uint32_t id = vocab_find_token(vocab, (struct str){token, sizeof token});
        if (!token_list_append(out, id == VOCAB_NONE ? oov : (int32_t)id))
            return false;
    }
    return true;
}

static enum hth_status encode(const struct tokenizer *tokenizer, struct str text, bool begins,
                              struct token_list *out)
{
    const struct vocab *vocab = &tokenizer->vocab;
    uint32_t open_id = vocab_find_token(vocab, opening);
    uint32_t close_id = vocab_find_token(vocab, closing);
    uint32_t oov = vocab_find_token(vocab, unknown);
    if (open_id == VOCAB_NONE || close_id == VOCAB_NONE || oov == VOCAB_NONE)
        return bpe_encode(tokenizer, text, begins, out);
    for (size_t at = 0; at < text.len;) {
        size_t dna = find(text, at, opening);
        if (dna > at) {
            enum hth_status status =
                bpe_encode(tokenizer, str_slice(text, at, dna), begins && at == 0, out);
            if (status != HTH_OK)
                return status;
        }
        if (dna == text.len)
            break;
        size_t end = find(text, dna + opening.len, closing);
        struct str bases = str_slice(text, dna + opening.len, end);
        if (!token_list_append(out, (int32_t)open_id) ||
            !append_bases(vocab, bases, (int32_t)oov, out) ||
            (end < text.len && !token_list_append(out, (int32_t)close_id)))
            return HTH_ERROR_MEMORY;
        at = end + closing.len;
    }
    return HTH_OK;
}

static bool is_dna_token(struct str token)
{
    bool all = token.len == DNA_TOKEN && memcmp(token.ptr + BASES, token_mark, MARK) == 0;
    for (size_t i = 0; i < BASES && all; i++)
        all = token.ptr[i] && strchr("ACGT", token.ptr[i]);
    return all;
}

static void piece(const struct tokenizer *tokenizer, struct str token, struct strbuf *out)
{
    if (is_dna_token(token))
        strbuf_append(out, str_slice(token, 0, BASES));
    else
        bpe_piece(tokenizer, token, out);
}

const struct tokenizer_kind tokenizer_kind_hybriddna = {
    .model = "hybriddna",
    .bos = -1,
    .eos = -1,
    .unk = -1,
    .sep = -1,
    .create = bpe_create,
    .destroy = bpe_destroy,
    .encode = encode,
    .piece = piece,
};
