/*
 * tiny_kinds.h — a vocabulary for each tokenizer model but SPM and BPE, small enough to work out
 * ids by hand, and a maker of SentencePiece's character maps.
 */
#ifndef DATA_TOKENIZER_TINY_KINDS_H
#define DATA_TOKENIZER_TINY_KINDS_H

#include "tiny_vocab.h"

#define MARK "\xe2\x96\x81" /* U+2581 */

static const struct tiny_token tiny_wpm_tokens[] = {
    {"[PAD]", TOKEN_CONTROL, 0},            /* 0 */
    {"[UNK]", TOKEN_CONTROL, 0},            /* 1 */
    {"[CLS]", TOKEN_CONTROL, 0},            /* 2 */
    {"[SEP]", TOKEN_CONTROL, 0},            /* 3 */
    {MARK "he", TOKEN_NORMAL, 0},           /* 4 */
    {"llo", TOKEN_NORMAL, 0},               /* 5 */
    {MARK "hell", TOKEN_NORMAL, 0},         /* 6: longer, but "o" is no token */
    {MARK ",", TOKEN_NORMAL, 0},            /* 7 */
    {MARK "\xe4\xb8\xad", TOKEN_NORMAL, 0}, /* 8: U+4E2D */
    {MARK "cafe", TOKEN_NORMAL, 0},         /* 9 */
    {MARK "caf\xc3\xa9", TOKEN_NORMAL, 0},  /* 10 */
    {MARK "s", TOKEN_NORMAL, 0},            /* 11 */
    {"s", TOKEN_NORMAL, 0},                 /* 12 */
    {MARK "'", TOKEN_NORMAL, 0},            /* 13 */
    {MARK "Cafe", TOKEN_NORMAL, 0},         /* 14: only where case is kept */
    {MARK "$", TOKEN_NORMAL, 0},            /* 15 */
    {MARK "he\xcc\x81", TOKEN_NORMAL, 0},   /* 16: with U+0301 */
};

static const struct tiny_token tiny_ugm_tokens[] = {
    {"<pad>", TOKEN_CONTROL, 0},          /* 0 */
    {"</s>", TOKEN_CONTROL, 0},           /* 1 */
    {"<unk>", TOKEN_UNKNOWN, 0},          /* 2 */
    {MARK, TOKEN_NORMAL, -3},             /* 3 */
    {"a", TOKEN_NORMAL, -4},              /* 4 */
    {"b", TOKEN_NORMAL, -4},              /* 5 */
    {"ab", TOKEN_NORMAL, -8},             /* 6: as good as "a" and "b" */
    {MARK "a", TOKEN_NORMAL, -5},         /* 7 */
    {"ba", TOKEN_NORMAL, -7},             /* 8 */
    {"<tool>", TOKEN_USER_DEFINED, -500}, /* 9: counts as 0 */
    {"zz", TOKEN_UNUSED, -1},             /* 10 */
    {"fi", TOKEN_NORMAL, -6},             /* 11 */
    {"\xc3\xa9", TOKEN_NORMAL, -6},       /* 12: U+00E9 */
    {"<", TOKEN_NORMAL, -9},              /* 13 */
    {"iq", TOKEN_NORMAL, -1},             /* 14 */
};

/* Beside "<s>" as 0 and the bytes as 1–256. */
static const struct tiny_token tiny_rwkv_tokens[] = {
    {"he", TOKEN_NORMAL, 0},            /* 257 */
    {"hello", TOKEN_NORMAL, 0},         /* 258 */
    {"\\n\\n", TOKEN_NORMAL, 0},        /* 259 */
    {"caf\\xc3\\xa9", TOKEN_NORMAL, 0}, /* 260 */
    {"\\\\x", TOKEN_NORMAL, 0},         /* 261: a backslash and x */
    {"it\\'s", TOKEN_NORMAL, 0},        /* 262 */
    {"\\t\\r", TOKEN_NORMAL, 0},        /* 263 */
    {"\\xe2\\x82", TOKEN_NORMAL, 0},    /* 264: part of a character */
};

/* Beside <|plamo:unk|>, :bos, :eos, :pad as 0–3 and "<0x00>" … "<0xFF>" as 4–259. */
static const struct tiny_token tiny_plamo_tokens[] = {
    {"a", TOKEN_NORMAL, -2},            /* 260 */
    {"b", TOKEN_NORMAL, -2},            /* 261 */
    {"ab", TOKEN_NORMAL, -4},           /* 262: as good as "a" and "b", and longer */
    {"ba", TOKEN_NORMAL, -3.5f},        /* 263 */
    {" ", TOKEN_NORMAL, -1},            /* 264 */
    {"   ", TOKEN_NORMAL, -1},          /* 265 */
    {"\xe4\xb8\xad", TOKEN_NORMAL, -5}, /* 266: U+4E2D */
    {"a ", TOKEN_NORMAL, -1},           /* 267 */
    {"aaaa", TOKEN_NORMAL, -1},         /* 268 */
    {"\nb", TOKEN_NORMAL, -1},          /* 269 */
};

/* Beside those of tiny_bpe_tokens. U+E000 (ee 80 80) stands behind bases. */
static const struct tiny_token tiny_dna_tokens[] = {
    {"<dna>", TOKEN_NORMAL, 0},              /* 270 */
    {"</dna>", TOKEN_NORMAL, 0},             /* 271 */
    {"<oov>", TOKEN_NORMAL, 0},              /* 272 */
    {"ACGTAC\xee\x80\x80", TOKEN_NORMAL, 0}, /* 273 */
    {"CAAAAA\xee\x80\x80", TOKEN_NORMAL, 0}, /* 274 */
    {"ACGTAC", TOKEN_NORMAL, 0},             /* 275 */
};

static inline void tiny_add_all(struct tiny_lists *lists, const struct tiny_token *tokens, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tiny_add(lists, str_of(tokens[i].text), tokens[i].type, tokens[i].score);
}

static inline void tiny_add_bytes(struct tiny_lists *lists, const char *format, int type)
{
    for (unsigned b = 0; b < 256; b++) {
        snprintf(lists->bytes[b], sizeof lists->bytes[b], format, b);
        tiny_add(lists, str_of(lists->bytes[b]), type, 0);
    }
}

static inline void tiny_kind_lists(struct tiny_lists *lists, const char *model)
{
    static const char *const plamo[] = {"<|plamo:unk|>", "<|plamo:bos|>", "<|plamo:eos|>",
                                        "<|plamo:pad|>"};
    *lists = (struct tiny_lists){0};
    if (strcmp(model, "bert") == 0) {
        tiny_add_all(lists, tiny_wpm_tokens, ARRAY_LEN(tiny_wpm_tokens));
    } else if (strcmp(model, "t5") == 0) {
        tiny_add_all(lists, tiny_ugm_tokens, ARRAY_LEN(tiny_ugm_tokens));
    } else if (strcmp(model, "rwkv") == 0) {
        tiny_add(lists, STR("<s>"), TOKEN_CONTROL, 0);
        tiny_add_bytes(lists, "\\x%02x", TOKEN_NORMAL);
        tiny_add_all(lists, tiny_rwkv_tokens, ARRAY_LEN(tiny_rwkv_tokens));
    } else if (strncmp(model, "plamo", 5) == 0) {
        for (int i = 0; i < 4; i++)
            tiny_add(lists, str_of(plamo[i]), i ? TOKEN_CONTROL : TOKEN_UNKNOWN, 0);
        tiny_add_bytes(lists, "<0x%02X>", TOKEN_BYTE);
        tiny_add_all(lists, tiny_plamo_tokens, ARRAY_LEN(tiny_plamo_tokens));
    } else { /* hybriddna, whitespace */
        tiny_bpe_lists(lists);
        tiny_add_all(lists, tiny_dna_tokens, ARRAY_LEN(tiny_dna_tokens));
    }
}

static const char *const tiny_models[] = {"bert",   "t5",        "rwkv",      "plamo2",
                                          "plamo3", "hybriddna", "whitespace"};

enum { TINY_MODELS = sizeof tiny_models / sizeof tiny_models[0] };

/* All keys of the vocabulary of a tokenizer model, without a character map. */
static inline void tiny_put_kind(struct gguf_writer *writer, const char *model)
{
    struct tiny_lists lists;
    struct str merges[TINY_BPE_MERGES];
    tiny_kind_lists(&lists, model);
    gguf_put_str(writer, "tokenizer.ggml.model", str_of(model));
    tiny_put_lists(writer, &lists);
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, lists.scores, lists.n);
    for (size_t i = 0; i < TINY_BPE_MERGES; i++)
        merges[i] = str_of(tiny_bpe_merges[i]);
    if (strcmp(model, "hybriddna") == 0 || strcmp(model, "whitespace") == 0) {
        gguf_put_str(writer, "tokenizer.ggml.pre", STR("qwen2"));
        gguf_put_strs(writer, "tokenizer.ggml.merges", merges, TINY_BPE_MERGES);
    }
    if (strcmp(model, "bert") == 0) {
        gguf_put_u32(writer, "tokenizer.ggml.bos_token_id", 2);
        gguf_put_u32(writer, "tokenizer.ggml.seperator_token_id", 3);
        gguf_put_u32(writer, "tokenizer.ggml.unknown_token_id", 1);
    }
}

/* --- character maps --- */

struct tiny_rewriting {
    const char *from, *to;
};

enum { TINY_MAP_UNITS = 4096 };

struct tiny_map {
    uint32_t units[TINY_MAP_UNITS];
    bool taken[TINY_MAP_UNITS];
    char texts[512];
    size_t n_texts;
};

/* Places the children of the unit at `index`, those of rows[0 .. n) that begin with `depth` bytes
 * in common; rows are sorted, and none is empty. See src/text/tokenizer_charsmap.c for the bits. */
static inline void tiny_map_node(struct tiny_map *map, uint32_t index,
                                 const struct tiny_rewriting *rows, size_t n, size_t depth)
{
    uint32_t offset = 0;
    for (bool fits = false; !fits;) {
        fits = true;
        offset++;
        for (size_t i = 0; i < n && fits; i++)
            fits = !map->taken[(index ^ offset) ^ (uint8_t)rows[i].from[depth]];
    }
    map->units[index] |= offset << 10;
    for (size_t i = 0; i < n; i++)
        map->taken[index ^ offset ^ (uint8_t)rows[i].from[depth]] = true;
    for (size_t i = 0, end; i < n; i = end) {
        uint8_t byte = (uint8_t)rows[i].from[depth];
        uint32_t child = index ^ offset ^ byte;
        for (end = i + 1; end < n && (uint8_t)rows[end].from[depth] == byte;)
            end++;
        if (byte == 0) { /* a leaf: the text to write */
            size_t len = strlen(rows[i].to) + 1;
            map->units[child] = 0x80000000u | (uint32_t)map->n_texts;
            map->units[index] |= 0x100;
            memcpy(map->texts + map->n_texts, rows[i].to, len);
            map->n_texts += len;
        } else {
            map->units[child] = byte;
            tiny_map_node(map, child, rows + i, end - i, depth + 1);
        }
    }
}

/* The bytes of a map that rewrites `rows`, sorted by `from`. */
static inline size_t tiny_map_bytes(const struct tiny_rewriting *rows, size_t n, uint8_t *out)
{
    static struct tiny_map map;
    map = (struct tiny_map){0};
    map.taken[0] = true;
    tiny_map_node(&map, 0, rows, n, 0);
    uint32_t size = sizeof map.units;
    memcpy(out, &size, 4); /* tests run on little-endian machines */
    memcpy(out + 4, map.units, size);
    memcpy(out + 4 + size, map.texts, map.n_texts);
    return 4 + size + map.n_texts;
}

enum { TINY_MAP_BYTES = 4 + 4 * TINY_MAP_UNITS + 512 };

/* U+FB01 becomes "fi", U+FF1C and U+FF41 (wide) "<" and "a", "xy" goes, and so on. */
static const struct tiny_rewriting tiny_rewritings[] = {
    {"e\xcc\x81", "\xc3\xa9"},
    {"x", "b"},
    {"xy", ""},
    {"\xe3\x80\x80", " "},
    {"\xef\xac\x81", "fi"},
    {"\xef\xbc\x9c", "<"},
    {"\xef\xbd\x81", "a"},
};

static inline void tiny_put_map(struct gguf_writer *writer)
{
    static uint8_t bytes[TINY_MAP_BYTES];
    size_t n = tiny_map_bytes(tiny_rewritings, ARRAY_LEN(tiny_rewritings), bytes);
    gguf_put_array(writer, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, bytes, n);
}

/* The vocabulary of a tokenizer model, that of "t5" with the character map above. */
static inline enum hth_status tiny_open_kind(struct tiny *tiny, const char *model,
                                             const struct log *log)
{
    *tiny = (struct tiny){0};
    struct gguf_writer *writer;
    enum hth_status status = gguf_writer_create(&writer, log);
    if (status != HTH_OK)
        return status;
    tiny_put_kind(writer, model);
    if (strcmp(model, "t5") == 0)
        tiny_put_map(writer);
    return tiny_open_writer(tiny, writer, log);
}

#endif
