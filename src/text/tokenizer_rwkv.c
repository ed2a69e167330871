/* RWKV's "world" tokenizer (https://github.com/BlinkDL/ChatRWKV, rwkv_tokenizer.py): the longest
 * token at each place, over bytes. The file holds the tokens as Python writes byte strings:
 * "\\xe2\\x80\\x99s\\n". */
#include "base/mem.h"
#include "text/tokenizer_kind.h"
#include "text/tokenizer_trie.h"

struct rwkv {
    struct trie trie;
    struct arena arena; /* texts that held an escape, without it */
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte or escape at *at, and moves past it. A backslash before anything unknown, or at the end,
 * gives what follows it, or itself. */
static char next_byte(struct str text, size_t *at)
{
    char c = text.ptr[(*at)++];
    if (c != '\\' || *at == text.len)
        return c;
    c = text.ptr[(*at)++];
    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'x': break;
    default: return c;
    }
    int high = *at < text.len ? hex_digit(text.ptr[*at]) : -1;
    int low = *at + 1 < text.len ? hex_digit(text.ptr[*at + 1]) : -1;
    if (high < 0 || low < 0)
        return c;
    *at += 2;
    return (char)(high << 4 | low);
}

static bool add_token(struct rwkv *rwkv, struct str text, uint32_t id)
{
    if (text.len == 0 || !memchr(text.ptr, '\\', text.len))
        return trie_add(&rwkv->trie, text, id);
    char *bytes = arena_alloc(&rwkv->arena, text.len);
    if (!bytes)
        return false;
    size_t n = 0;
    for (size_t at = 0; at < text.len;)
        bytes[n++] = next_byte(text, &at);
    return trie_add(&rwkv->trie, (struct str){bytes, n}, id);
}

static enum hth_status create(struct tokenizer *tokenizer, const struct gguf *gguf,
                              const struct log *log)
{
    struct rwkv *rwkv = tokenizer->state = mem_calloc(1, sizeof *rwkv);
    if (!rwkv)
        return log_fail_memory(log, "the tokenizer", sizeof *rwkv);
    const struct vocab *vocab = &tokenizer->vocab;
    bool ok = true;
    for (size_t id = 0; id < vocab->n_tokens && ok; id++)
        ok = add_token(rwkv, vocab->texts[id], (uint32_t)id);
    if (!ok || !trie_build(&rwkv->trie))
        return log_fail_memory(log, "the tokens", vocab->n_tokens * sizeof(struct trie_entry));
    trie_tell_too_long(rwkv->trie.n_too_long, gguf_path(gguf), log);
    return HTH_OK;
}

static void destroy(struct tokenizer *tokenizer)
{
    struct rwkv *rwkv = tokenizer->state;
    if (!rwkv)
        return;
    trie_free(&rwkv->trie);
    arena_free(&rwkv->arena);
    mem_free(rwkv);
}

static enum hth_status encode(const struct tokenizer *tokenizer, struct str text, bool begins,
                              struct token_list *out)
{
    (void)begins;
    const struct rwkv *rwkv = tokenizer->state;
    for (size_t at = 0, len; at < text.len; at += len) {
        uint32_t id = trie_longest(&rwkv->trie, str_slice(text, at, text.len), &len);
        if (id != TRIE_NONE) {
            if (!token_list_append(out, (int32_t)id))
                return HTH_ERROR_MEMORY;
            continue;
        }
        len = 1; /* a byte that no token begins with */
        if (tokenizer->unk >= 0 && !token_list_append(out, tokenizer->unk))
            return HTH_ERROR_MEMORY;
    }
    return HTH_OK;
}

static void piece(const struct tokenizer *tokenizer, struct str token, struct strbuf *out)
{
    (void)tokenizer;
    for (size_t at = 0; at < token.len;)
        strbuf_append_char(out, next_byte(token, &at));
}

const struct tokenizer_kind tokenizer_kind_rwkv = {
    .model = "rwkv",
    .bos = -1,
    .eos = -1,
    .unk = -1,
    .sep = -1,
    .create = create,
    .destroy = destroy,
    .encode = encode,
    .piece = piece,
};
