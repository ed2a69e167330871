#include "text/tokenizer.h"

#include "base/mem.h"
#include "text/tokenizer_kind.h"
#include "text/utf8.h"

void token_list_free(struct token_list *list)
{
    mem_free(list->ids);
    *list = (struct token_list){0};
}

bool token_list_append(struct token_list *list, int32_t id)
{
    int32_t *ids = mem_grow(list->ids, &list->capacity, list->count + 1, sizeof *ids);
    if (!ids)
        return false;
    list->ids = ids;
    ids[list->count++] = id;
    return true;
}

static enum hth_status find_kind(const struct tokenizer_kind **out, const struct gguf *gguf,
                                 const struct log *log)
{
    struct str model;
    if (!gguf_get_str(gguf_key_find(gguf, "tokenizer.ggml.model"), &model))
        return log_fail(log, HTH_ERROR_FORMAT,
                        "%s: tokenizer.ggml.model is missing or not a string: the file has no "
                        "vocabulary; convert or download the model again",
                        gguf_path(gguf));
    struct strbuf known = {0};
    for (size_t i = 0; tokenizer_kind_list[i]; i++) {
        if (str_equal(model, str_of(tokenizer_kind_list[i]->model))) {
            *out = tokenizer_kind_list[i];
            return HTH_OK;
        }
    }
    for (size_t i = 0; tokenizer_kind_list[i]; i++)
        strbuf_printf(&known, "%s\"%s\"", i ? ", " : "", tokenizer_kind_list[i]->model);
    enum hth_status status =
        known.failed
            ? log_fail_memory(log, "a list of names", 100)
            : log_fail(log, HTH_ERROR_UNSUPPORTED,
                       "%s: hearth does not know the tokenizer model \"%.*s\"; it knows %s",
                       gguf_path(gguf), (int)(model.len < 100 ? model.len : 100), model.ptr,
                       known.ptr);
    strbuf_free(&known);
    return status;
}

/* An optional id; *id keeps its value when the key is absent. */
static enum hth_status load_id(int32_t *id, const struct tokenizer *tokenizer,
                               const struct gguf *gguf, const char *name, const struct log *log)
{
    const struct gguf_key *key = gguf_key_find(gguf, name);
    if (!key) {
        if (*id >= 0 && (size_t)*id >= tokenizer->vocab.n_tokens)
            *id = -1;
        return HTH_OK;
    }
    int64_t value;
    if (!gguf_get_i64(key, 0, &value) || value < -1 || value >= (int64_t)tokenizer->vocab.n_tokens)
        return log_fail(log, HTH_ERROR_FORMAT,
                        "%s: %s must be an id below %zu, the size of the vocabulary; convert or "
                        "download the model again",
                        gguf_path(gguf), name, tokenizer->vocab.n_tokens);
    *id = (int32_t)value;
    return HTH_OK;
}

static enum hth_status load_bool(bool *value, const struct gguf *gguf, const char *name,
                                 const struct log *log)
{
    const struct gguf_key *key = gguf_key_find(gguf, name);
    if (key && !gguf_get_bool(key, 0, value))
        return log_fail(log, HTH_ERROR_FORMAT, "%s: %s must be true or false", gguf_path(gguf),
                        name);
    return HTH_OK;
}

/* A token that shall be added must be there. */
static void check_added(bool *add, int32_t id, const char *what, const struct gguf *gguf,
                        const struct log *log)
{
    if (!*add || id >= 0)
        return;
    log_warning(log, "%s: the vocabulary wants %s token but names none; none is added",
                gguf_path(gguf), what);
    *add = false;
}

/* The keys that all kinds share, over the defaults of the kind: ids, before its `create`, which may
 * depend on the tokens' types, and flags after it. */
static enum hth_status load_ids(struct tokenizer *tokenizer, const struct gguf *gguf,
                                const struct log *log)
{
    int32_t eot = -1, eom = -1;
    struct {
        const char *name;
        int32_t *id;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", &tokenizer->bos},
        {"tokenizer.ggml.eos_token_id", &tokenizer->eos},
        {"tokenizer.ggml.unknown_token_id", &tokenizer->unk},
        {"tokenizer.ggml.seperator_token_id", &tokenizer->sep}, /* the key is spelled so */
        {"tokenizer.ggml.eot_token_id", &eot},
        {"tokenizer.ggml.eom_token_id", &eom},
    };
    enum hth_status status = HTH_OK;
    for (size_t i = 0; i < ARRAY_LEN(ids) && status == HTH_OK; i++)
        status = load_id(ids[i].id, tokenizer, gguf, ids[i].name, log);
    int32_t ends[3] = {tokenizer->eos, eot, eom};
    if (status == HTH_OK)
        status = specials_load(&tokenizer->specials, &tokenizer->vocab, gguf, ends, log);
    return status;
}

static enum hth_status load_flags(struct tokenizer *tokenizer, const struct gguf *gguf,
                                  const struct log *log)
{
    struct {
        const char *name;
        bool *value;
    } bools[] = {
        {"tokenizer.ggml.add_bos_token", &tokenizer->add_bos},
        {"tokenizer.ggml.add_eos_token", &tokenizer->add_eos},
        {"tokenizer.ggml.add_space_prefix", &tokenizer->add_space_prefix},
    };
    enum hth_status status = HTH_OK;
    for (size_t i = 0; i < ARRAY_LEN(bools) && status == HTH_OK; i++)
        status = load_bool(bools[i].value, gguf, bools[i].name, log);
    /* Other kinds put a separator between two texts, never behind one. */
    if (status == HTH_OK && tokenizer->kind->add_sep)
        status = load_bool(&tokenizer->add_sep, gguf, "tokenizer.ggml.add_sep_token", log);
    if (status == HTH_OK) {
        check_added(&tokenizer->add_bos, tokenizer->bos, "a BOS", gguf, log);
        check_added(&tokenizer->add_eos, tokenizer->eos, "an EOS", gguf, log);
        check_added(&tokenizer->add_sep, tokenizer->sep, "a SEP", gguf, log);
    }
    return status;
}

enum hth_status tokenizer_create(struct tokenizer **out, const struct gguf *gguf,
                                 const struct log *log)
{
    *out = NULL;
    const struct tokenizer_kind *kind = NULL;
    enum hth_status status = find_kind(&kind, gguf, log);
    if (status != HTH_OK)
        return status;
    struct tokenizer *made = mem_calloc(1, sizeof *made);
    if (!made)
        return log_fail_memory(log, "the tokenizer", sizeof *made);
    made->kind = kind;
    made->max_stretch = TOKENIZER_MAX_STRETCH;
    made->bos = kind->bos;
    made->eos = kind->eos;
    made->unk = kind->unk;
    made->sep = kind->sep;
    made->add_bos = kind->add_bos;
    made->add_eos = kind->add_eos;
    made->add_sep = kind->add_sep;
    made->add_space_prefix = kind->add_space_prefix;
    made->clean_spaces = kind->clean_spaces;
    status = vocab_load(&made->vocab, gguf, log);
    if (status == HTH_OK)
        status = load_ids(made, gguf, log);
    if (status == HTH_OK)
        status = kind->create(made, gguf, log);
    if (status == HTH_OK)
        status = load_flags(made, gguf, log);
    if (status == HTH_OK)
        *out = made;
    else
        tokenizer_destroy(made);
    return status;
}

void tokenizer_destroy(struct tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    tokenizer->kind->destroy(tokenizer);
    specials_free(&tokenizer->specials);
    vocab_free(&tokenizer->vocab);
    mem_free(tokenizer);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Text without special tokens, cut where it is too long for a kind to take at once. */
static enum hth_status encode_plain(const struct tokenizer *tokenizer, struct str text,
                                    struct token_list *out)
{
    enum hth_status status = HTH_OK;
    for (size_t from = 0, to; from < text.len && status == HTH_OK; from = to) {
        to = text.len;
        if (to - from > tokenizer->max_stretch) {
            to = from + tokenizer->max_stretch;
            for (int i = 0; i < 3 && ((uint8_t)text.ptr[to] & 0xc0) == 0x80; i++)
                to--;
        }
        status = tokenizer->kind->encode(tokenizer, str_slice(text, from, to), from == 0, out);
    }
    return status;
}

static enum hth_status encode_whole(const struct tokenizer *tokenizer, struct str text, bool parse,
                                    struct token_list *out)
{
    size_t from = 0;
    while (from < text.len) {
        size_t at;
        const struct special *special = specials_next(&tokenizer->specials, text, from, parse, &at);
        size_t end = at;
        while (special && special->lstrip && end > from && is_space(text.ptr[end - 1]))
            end--;
        if (end > from) {
            enum hth_status status = encode_plain(tokenizer, str_slice(text, from, end), out);
            if (status != HTH_OK)
                return status;
        }
        if (!special)
            break;
        if (!token_list_append(out, special->id))
            return HTH_ERROR_MEMORY;
        from = at + special->text.len;
        while (special->rstrip && from < text.len && is_space(text.ptr[from]))
            from++;
    }
    return HTH_OK;
}

enum hth_status tokenizer_encode(const struct tokenizer *tokenizer, struct str text, unsigned flags,
                                 struct token_list *out)
{
    if (flags & TOKEN_ADD_BOS && tokenizer->add_bos && !token_list_append(out, tokenizer->bos))
        return HTH_ERROR_MEMORY;
    enum hth_status status = encode_whole(tokenizer, text, flags & TOKEN_PARSE_SPECIAL, out);
    int32_t end = tokenizer->add_sep ? tokenizer->sep : tokenizer->add_eos ? tokenizer->eos : -1;
    if (status == HTH_OK && flags & TOKEN_ADD_END && end >= 0 && !token_list_append(out, end))
        return HTH_ERROR_MEMORY;
    return status;
}

bool tokenizer_is_white(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

void tokenizer_unmark_spaces(struct str token, struct strbuf *out)
{
    static const struct str mark = {"\xe2\x96\x81", 3};
    size_t from = 0, at = 0;
    while (at < token.len) {
        if (!str_starts_with(str_slice(token, at, token.len), mark)) {
            at++;
            continue;
        }
        strbuf_append(out, str_slice(token, from, at));
        strbuf_append_char(out, ' ');
        from = at += mark.len;
    }
    strbuf_append(out, str_slice(token, from, at));
}

void tokenizer_piece(const struct tokenizer *tokenizer, int32_t id, bool special, bool first,
                     struct strbuf *out)
{
    if (id < 0 || (size_t)id >= tokenizer->vocab.n_tokens)
        return;
    struct str text = tokenizer->vocab.texts[id];
    size_t from = out->len;
    int byte;
    switch ((enum token_type)tokenizer->vocab.types[id]) {
    case TOKEN_CONTROL:
    case TOKEN_UNKNOWN:
        if (special)
            strbuf_append(out, text);
        break;
    case TOKEN_USER_DEFINED: strbuf_append(out, text); break;
    case TOKEN_BYTE:
        byte = vocab_byte_of(text);
        if (byte >= 0)
            strbuf_append_char(out, (char)byte);
        break;
    case TOKEN_NORMAL: tokenizer->kind->piece(tokenizer, text, out); break;
    case TOKEN_UNUSED:
    case TOKEN_UNDEFINED: break;
    }
    if (first && tokenizer->add_space_prefix && out->len > from && out->ptr[from] == ' ') {
        memmove(out->ptr + from, out->ptr + from + 1, out->len - from);
        out->len--;
    }
}

size_t tokenizer_max_bytes(const struct tokenizer *tokenizer)
{
    return tokenizer->vocab.max_len;
}

/* The three passes of Hugging Face's clean_up_tokenization as llama.cpp does them, each over what
 * the one before left, in place over out[from ..). Forms like " n't" stay. */
static size_t clean_before_marks(char *text, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' || i + 1 == n || !strchr("?!.,", text[i + 1]) || !text[i + 1])
            text[kept++] = text[i];
    return kept;
}

static size_t clean_around_apostrophe(char *text, size_t n)
{
    size_t kept = 0;
    char before = 0; /* what stood in front; a space that was taken does not count again */
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '\'' && before == ' ' && i + 1 < n && text[i + 1] == ' ') {
            text[kept - 1] = c;
            i++;
            before = 0;
            continue;
        }
        text[kept++] = before = c;
    }
    return kept;
}

static size_t clean_before_contractions(char *text, size_t n)
{
    size_t kept = 0;
    char before = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i], next = i + 1 < n ? text[i + 1] : 0, after = i + 2 < n ? text[i + 2] : 0;
        bool short_form =
            next == 's' || next == 'm' || ((next == 'r' || next == 'v') && after == 'e');
        if (c == '\'' && before == ' ' && short_form)
            kept--;
        text[kept++] = before = c;
    }
    return kept;
}

static void clean_spaces(struct strbuf *out, size_t from)
{
    char *text = out->ptr + from;
    size_t n = clean_before_marks(text, out->len - from);
    n = clean_around_apostrophe(text, n);
    n = clean_before_contractions(text, n);
    text[n] = '\0';
    out->len = from + n;
}

enum hth_status tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids,
                                 size_t count, bool special, struct strbuf *out)
{
    size_t from = out->len;
    for (size_t i = 0; i < count; i++)
        tokenizer_piece(tokenizer, ids[i], special, i == 0, out);
    if (out->failed)
        return HTH_ERROR_MEMORY;
    if (tokenizer->clean_spaces && out->len > from)
        clean_spaces(out, from);
    return HTH_OK;
}

size_t tokenizer_n_vocab(const struct tokenizer *tokenizer)
{
    return tokenizer->vocab.n_tokens;
}

int32_t tokenizer_bos(const struct tokenizer *tokenizer)
{
    return tokenizer->bos;
}

int32_t tokenizer_eos(const struct tokenizer *tokenizer)
{
    return tokenizer->eos;
}

bool tokenizer_adds_bos(const struct tokenizer *tokenizer)
{
    return tokenizer->add_bos;
}

bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && (size_t)id < tokenizer->vocab.n_tokens &&
           specials_is_end(&tokenizer->specials, (size_t)id);
}

int32_t tokenizer_find(const struct tokenizer *tokenizer, struct str text)
{
    uint32_t id = vocab_find_token(&tokenizer->vocab, text);
    return id == VOCAB_NONE ? -1 : (int32_t)id;
}
