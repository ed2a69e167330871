/*
 * tiny_vocab.h — two vocabularies small enough to work out ids by hand, for tests and fuzzers.
 *
 * Byte-level BPE: ids 0–255 are the bytes in order, then come the tokens of `tiny_bpe_tokens`.
 * SPM: <unk> <s> </s>, then "<0x00>" … "<0xFF>" as 3–258, then those of `tiny_spm_tokens`.
 */
#ifndef DATA_TOKENIZER_TINY_VOCAB_H
#define DATA_TOKENIZER_TINY_VOCAB_H

#include <stdio.h>

#include "base/arena.h"
#include "gguf/gguf_write.h"
#include "text/tokenizer.h"
#include "text/tokenizer_vocab.h"

struct tiny_token {
    const char *text;
    uint8_t type;
    float score;
};

/* U+0120 (c4 a0) is a space, U+010A (c4 8a) a line feed in byte-level characters. */
static const struct tiny_token tiny_bpe_tokens[] = {
    {"he", TOKEN_NORMAL, 0},            /* 256 */
    {"ll", TOKEN_NORMAL, 0},            /* 257 */
    {"hell", TOKEN_NORMAL, 0},          /* 258 */
    {"aa", TOKEN_NORMAL, 0},            /* 259 */
    {"aaaa", TOKEN_NORMAL, 0},          /* 260 */
    {"\xc4\xa0w", TOKEN_NORMAL, 0},     /* 261 */
    {"whole", TOKEN_NORMAL, 0},         /* 262: no merge reaches it */
    {"<|im_end|>", TOKEN_CONTROL, 0},   /* 263 */
    {"<|im", TOKEN_CONTROL, 0},         /* 264 */
    {"<tool>", TOKEN_USER_DEFINED, 0},  /* 265 */
    {"<s>", TOKEN_CONTROL, 0},          /* 266 */
    {"\xc3\xa9", TOKEN_NORMAL, 0},      /* 267: the byte e9, not the letter é; 233 has it too */
    {"<|endoftext|>", TOKEN_NORMAL, 0}, /* 268: its text makes it an end all the same */
    {"unused", TOKEN_UNUSED, 0},        /* 269 */
};

static const char *const tiny_bpe_merges[] = {
    "h e", "l l", "he ll", "a a", "aa aa", "\xc4\xa0 w", "x y", /* "xy" is no token */
};

/* U+2581 (e2 96 81) marks a space. */
static const struct tiny_token tiny_spm_tokens[] = {
    {"\xe2\x96\x81", TOKEN_NORMAL, -5}, /* 259 */
    {"a", TOKEN_NORMAL, -6},            /* 260 */
    {"b", TOKEN_NORMAL, -6},            /* 261 */
    {"ab", TOKEN_NORMAL, -3},           /* 262 */
    {"\xe2\x96\x81"
     "a",
     TOKEN_NORMAL, -2}, /* 263 */
    {"\xe2\x96\x81"
     "ab",
     TOKEN_NORMAL, -4},                /* 264 */
    {"aa", TOKEN_NORMAL, -1},          /* 265 */
    {"<tool>", TOKEN_USER_DEFINED, 0}, /* 266 */
    {"\xc3\xa9", TOKEN_NORMAL, -7},    /* 267: é */
};

enum {
    TINY_BPE_MERGES = sizeof tiny_bpe_merges / sizeof tiny_bpe_merges[0],
    TINY_BPE_TOKENS = 256 + sizeof tiny_bpe_tokens / sizeof tiny_bpe_tokens[0],
    TINY_SPM_TOKENS = 259 + sizeof tiny_spm_tokens / sizeof tiny_spm_tokens[0],
};

/* The character of a byte in byte-level BPE (bytes_to_unicode of GPT-2's encoder.py), the slow and
 * obvious way. */
static inline unsigned tiny_char_of_byte(unsigned byte)
{
    unsigned n = 0;
    for (unsigned b = 0; b < 256; b++) {
        bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (b == byte)
            return printable ? b : 256 + n;
        n += !printable;
    }
    return 0;
}

struct tiny_lists {
    struct str texts[512];
    int32_t types[512];
    float scores[512];
    char bytes[256][8];
    size_t n;
};

static inline void tiny_add(struct tiny_lists *lists, struct str text, int type, float score)
{
    lists->texts[lists->n] = text;
    lists->types[lists->n] = type;
    lists->scores[lists->n++] = score;
}

static inline void tiny_bpe_lists(struct tiny_lists *lists)
{
    *lists = (struct tiny_lists){0};
    for (unsigned b = 0; b < 256; b++) {
        unsigned c = tiny_char_of_byte(b);
        char *text = lists->bytes[b];
        size_t len = c < 0x80 ? 1 : 2;
        text[0] = (char)(c < 0x80 ? c : 0xc0 | c >> 6);
        text[1] = (char)(c < 0x80 ? 0 : 0x80 | (c & 0x3f));
        tiny_add(lists, (struct str){text, len}, TOKEN_NORMAL, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(tiny_bpe_tokens); i++)
        tiny_add(lists, str_of(tiny_bpe_tokens[i].text), tiny_bpe_tokens[i].type, 0);
}

static inline void tiny_spm_lists(struct tiny_lists *lists)
{
    *lists = (struct tiny_lists){0};
    tiny_add(lists, STR("<unk>"), TOKEN_UNKNOWN, 0);
    tiny_add(lists, STR("<s>"), TOKEN_CONTROL, 0);
    tiny_add(lists, STR("</s>"), TOKEN_CONTROL, 0);
    for (unsigned b = 0; b < 256; b++) {
        snprintf(lists->bytes[b], sizeof lists->bytes[b], "<0x%02X>", b);
        tiny_add(lists, str_of(lists->bytes[b]), TOKEN_BYTE, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(tiny_spm_tokens); i++)
        tiny_add(lists, str_of(tiny_spm_tokens[i].text), tiny_spm_tokens[i].type,
                 tiny_spm_tokens[i].score);
}

static inline void tiny_put_lists(struct gguf_writer *writer, const struct tiny_lists *lists)
{
    gguf_put_strs(writer, "tokenizer.ggml.tokens", lists->texts, lists->n);
    gguf_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, lists->types, lists->n);
}

/* All keys of the BPE vocabulary with this pre-tokenizer. */
static inline void tiny_put_bpe(struct gguf_writer *writer, const char *pre)
{
    struct tiny_lists lists;
    struct str merges[TINY_BPE_MERGES];
    tiny_bpe_lists(&lists);
    for (size_t i = 0; i < TINY_BPE_MERGES; i++)
        merges[i] = str_of(tiny_bpe_merges[i]);
    gguf_put_str(writer, "tokenizer.ggml.model", STR("gpt2"));
    gguf_put_str(writer, "tokenizer.ggml.pre", str_of(pre));
    tiny_put_lists(writer, &lists);
    gguf_put_strs(writer, "tokenizer.ggml.merges", merges, TINY_BPE_MERGES);
    gguf_put_u32(writer, "tokenizer.ggml.bos_token_id", 266);
    gguf_put_u32(writer, "tokenizer.ggml.eos_token_id", 263);
}

static inline void tiny_put_spm(struct gguf_writer *writer)
{
    struct tiny_lists lists;
    tiny_spm_lists(&lists);
    gguf_put_str(writer, "tokenizer.ggml.model", STR("llama"));
    tiny_put_lists(writer, &lists);
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, lists.scores, lists.n);
}

/* A vocabulary in memory, open. Zero is none. */
struct tiny {
    struct strbuf bytes;
    struct gguf *gguf;
    struct tokenizer *tokenizer;
};

static inline void tiny_close(struct tiny *tiny)
{
    tokenizer_destroy(tiny->tokenizer);
    gguf_close(tiny->gguf);
    strbuf_free(&tiny->bytes);
    *tiny = (struct tiny){0};
}

/* Saves what the writer holds, frees it, and opens it. */
static inline enum hth_status tiny_open_writer(struct tiny *tiny, struct gguf_writer *writer,
                                               const struct log *log)
{
    *tiny = (struct tiny){0};
    enum hth_status status = gguf_writer_save_memory(writer, &tiny->bytes);
    gguf_writer_destroy(writer);
    if (status == HTH_OK)
        status = gguf_open_memory(&tiny->gguf, tiny->bytes.ptr, tiny->bytes.len, "tiny", log);
    if (status == HTH_OK)
        status = tokenizer_create(&tiny->tokenizer, tiny->gguf, log);
    return status;
}

/* The BPE vocabulary with a pre-tokenizer, or the SPM one (`pre` NULL). */
static inline enum hth_status tiny_open(struct tiny *tiny, const char *pre, const struct log *log)
{
    *tiny = (struct tiny){0};
    struct gguf_writer *writer;
    enum hth_status status = gguf_writer_create(&writer, log);
    if (status != HTH_OK)
        return status;
    if (pre)
        tiny_put_bpe(writer, pre);
    else
        tiny_put_spm(writer);
    return tiny_open_writer(tiny, writer, log);
}

#endif
