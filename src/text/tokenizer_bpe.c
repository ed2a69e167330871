/* Byte-pair encoding (Sennrich, Haddow, Birch 2016) over bytes, as in GPT-2 (Radford et al. 2019),
 * or over UTF-8 characters with byte tokens, as in Gemma 4. */
#include "base/mem.h"
#include "text/pretokenize.h"
#include "text/tokenizer_bpe.h"
#include "text/tokenizer_merge.h"
#include "text/utf8.h"

static const struct str space_mark = {"\xe2\x96\x81", 3}; /* U+2581 stands for a space */

struct merge { /* one row of the file's list of merges, open addressing by (left, right) */
    uint32_t left, right, rank, result; /* left VOCAB_NONE: free */
};

struct bpe {
    struct pretokenizer *pretokenizer;
    unsigned flags; /* enum pre_flags */
    uint64_t seed;  /* the vocabulary's */
    struct merge *merges;
    size_t n_slots;             /* n_slots is a power of two */
    uint32_t byte_symbols[256]; /* the symbol of each byte; VOCAB_NONE: none */
};

/* GPT-2 writes each byte as one printable character: the printable ones of Latin-1 as themselves,
 * the others, in order, as U+0100 and up (bytes_to_unicode in its encoder.py). */
static uint32_t char_of_byte(unsigned byte)
{
    if ((byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad))
        return byte;
    if (byte <= 0x20)
        return 0x100 + byte;
    return byte == 0xad ? 0x143 : 0x121 + (byte - 0x7f);
}

static int byte_of_char(uint32_t codepoint)
{
    if (codepoint > 0x143)
        return -1;
    if (codepoint == 0x143)
        return 0xad;
    if (codepoint >= 0x121)
        return (int)(codepoint - 0x121 + 0x7f);
    if (codepoint >= 0x100)
        return (int)(codepoint - 0x100);
    return char_of_byte(codepoint) == codepoint ? (int)codepoint : -1;
}

static size_t merge_slot(const struct bpe *bpe, uint32_t left, uint32_t right)
{
    return (size_t)vocab_mix(((uint64_t)left << 32 | right) ^ bpe->seed) & (bpe->n_slots - 1);
}

static const struct merge *merge_find(const struct bpe *bpe, uint32_t left, uint32_t right)
{
    if (left == VOCAB_NONE || right == VOCAB_NONE)
        return NULL;
    for (size_t at = merge_slot(bpe, left, right);; at = (at + 1) & (bpe->n_slots - 1)) {
        const struct merge *merge = &bpe->merges[at];
        if (merge->left == VOCAB_NONE)
            return NULL;
        if (merge->left == left && merge->right == right)
            return merge;
    }
}

/* Of equal pairs the first, which has the lower rank, stays. */
static void merge_insert(struct bpe *bpe, struct merge merge)
{
    size_t at = merge_slot(bpe, merge.left, merge.right);
    for (; bpe->merges[at].left != VOCAB_NONE; at = (at + 1) & (bpe->n_slots - 1))
        if (bpe->merges[at].left == merge.left && bpe->merges[at].right == merge.right)
            return;
    bpe->merges[at] = merge;
}

static enum hth_status load_merges(struct bpe *bpe, struct vocab *vocab, const struct gguf *gguf,
                                   const struct log *log)
{
    static const char name[] = "tokenizer.ggml.merges";
    const struct gguf_key *key = gguf_key_find(gguf, name);
    if (!key || key->type != GGUF_ARRAY || key->elem != GGUF_STRING || key->count >= VOCAB_NONE / 4)
        return log_fail(log, HTH_ERROR_FORMAT,
                        "%s: %s %s: a vocabulary of pairs cannot be used without it; convert or "
                        "download the model again",
                        gguf_path(gguf), name, key ? "must be an array of strings" : "is missing");
    bpe->seed = vocab->seed;
    bpe->n_slots = 64;
    while (bpe->n_slots < key->count * 2)
        bpe->n_slots *= 2;
    bpe->merges = mem_calloc(bpe->n_slots, sizeof *bpe->merges);
    if (!bpe->merges)
        return log_fail_memory(log, "the merges", bpe->n_slots * sizeof *bpe->merges);
    memset(bpe->merges, 0xff, bpe->n_slots * sizeof *bpe->merges);

    struct gguf_strings cursor = {0};
    struct str text;
    for (uint32_t rank = 0; gguf_next_str(key, &cursor, &text); rank++) {
        /* The first character may be a space itself, where spaces are not marked. */
        const char *space = text.len > 2 ? memchr(text.ptr + 1, ' ', text.len - 1) : NULL;
        if (!space || space + 1 == text.ptr + text.len)
            return log_fail(log, HTH_ERROR_FORMAT,
                            "%s: %s[%u] is not two parts with a space between them; convert or "
                            "download the model again",
                            gguf_path(gguf), name, (unsigned)rank);
        size_t split = (size_t)(space - text.ptr);
        struct str left = str_slice(text, 0, split), right = str_slice(text, split + 1, text.len);
        struct merge merge = {.left = vocab_intern(vocab, left, (struct str){0}),
                              .right = vocab_intern(vocab, right, (struct str){0}),
                              .rank = rank};
        merge.result = vocab_intern(vocab, left, right);
        if (merge.left == VOCAB_NONE || merge.right == VOCAB_NONE || merge.result == VOCAB_NONE)
            return log_fail_memory(log, "the merges", key->count * sizeof merge);
        merge_insert(bpe, merge);
    }
    return HTH_OK;
}

static const struct pre_row *choose_row(const struct gguf *gguf, const struct log *log)
{
    struct str name = {0};
    const struct gguf_key *key = gguf_key_find(gguf, "tokenizer.ggml.pre");
    if (!gguf_get_str(key, &name) || name.len == 0) {
        log_warning(log,
                    "%s: tokenizer.ggml.pre does not say how text is cut into words; \"default\" "
                    "is used, and answers may be worse for it",
                    gguf_path(gguf));
        return pre_row_at(0);
    }
    const struct pre_row *row = pre_row_find(name);
    if (row)
        return row;
    const char *near = pre_nearest(name);
    log_warning(log,
                "%s: hearth does not know the pre-tokenizer \"%.*s\"%s%s%s; \"default\" is used, "
                "and answers may be worse for it",
                gguf_path(gguf), (int)(name.len < 100 ? name.len : 100), name.ptr,
                near ? " (the nearest it knows is \"" : "", near ? near : "", near ? "\")" : "");
    return pre_row_at(0);
}

static void find_bytes(struct bpe *bpe, const struct vocab *vocab)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char encoded[2];
        uint32_t c = char_of_byte(byte);
        struct str text = {encoded, c < 0x80 ? 1 : 2};
        encoded[0] = (char)(c < 0x80 ? c : 0xc0 | c >> 6);
        encoded[1] = (char)(0x80 | (c & 0x3f));
        bpe->byte_symbols[byte] = vocab_find2(vocab, text, (struct str){0});
    }
}

/* Text whose bytes are no tokens is dropped where there is no unknown token. */
static void warn_of_lost_bytes(const struct bpe *bpe, const struct vocab *vocab,
                               const struct gguf *gguf, const struct log *log)
{
    int n_lost = 0;
    if (bpe->flags & PRE_RAW || gguf_key_find(gguf, "tokenizer.ggml.unknown_token_id"))
        return;
    for (unsigned byte = 0; byte < 0xf5; byte++) /* UTF-8 has no others, nor c0 and c1 */
        n_lost += bpe->byte_symbols[byte] >= vocab->n_tokens && byte != 0xc0 && byte != 0xc1;
    if (n_lost)
        log_warning(log,
                    "%s: its vocabulary has no token for %d of the 243 bytes that text is made of; "
                    "what needs them is dropped",
                    gguf_path(gguf), n_lost);
}

enum hth_status bpe_create(struct tokenizer *tokenizer, const struct gguf *gguf,
                           const struct log *log)
{
    struct bpe *bpe = tokenizer->state = mem_calloc(1, sizeof *bpe);
    if (!bpe)
        return log_fail_memory(log, "the tokenizer", sizeof *bpe);
    const struct pre_row *row = choose_row(gguf, log);
    bpe->flags = row->flags;
    tokenizer->add_bos = row->flags & PRE_ADD_BOS;
    tokenizer->clean_spaces = row->flags & PRE_CLEAN_SPACES;
    enum hth_status status = pretokenizer_create(&bpe->pretokenizer, row->family, log);
    if (status == HTH_OK)
        status = load_merges(bpe, &tokenizer->vocab, gguf, log);
    if (status != HTH_OK)
        return status;
    find_bytes(bpe, &tokenizer->vocab);
    warn_of_lost_bytes(bpe, &tokenizer->vocab, gguf, log);
    return HTH_OK;
}

void bpe_destroy(struct tokenizer *tokenizer)
{
    struct bpe *bpe = tokenizer->state;
    if (!bpe)
        return;
    pretokenizer_destroy(bpe->pretokenizer);
    mem_free(bpe->merges);
    mem_free(bpe);
}

/* What one call of encode works with. */
struct job {
    const struct tokenizer *tokenizer;
    const struct bpe *bpe;
    struct merge_work work;
    struct pre_cuts cuts;
    struct strbuf encoded; /* a word in byte-level characters */
    struct token_list *out;
};

static bool joins(const void *user, const struct merge_work *work, const struct merge_symbol *left,
                  const struct merge_symbol *right, uint32_t *rank, uint32_t *id)
{
    (void)work;
    const struct merge *merge = merge_find(user, left->id, right->id);
    if (!merge)
        return false;
    *rank = merge->rank;
    *id = merge->result;
    return true;
}

/* A symbol that is no token: its bytes one by one; those without a token become one unknown token,
 * if the vocabulary has it. */
static bool append_bytes(struct job *job, struct str bytes)
{
    const struct vocab *vocab = &job->tokenizer->vocab;
    bool unknown = false;
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t byte = (uint8_t)bytes.ptr[i];
        uint32_t id = job->bpe->flags & PRE_RAW ? vocab_byte_token(vocab, byte)
                                                : job->bpe->byte_symbols[byte];
        if (id >= vocab->n_tokens)
            unknown = true;
        else if (!token_list_append(job->out, (int32_t)id))
            return false;
    }
    return !unknown || job->tokenizer->unk < 0 || token_list_append(job->out, job->tokenizer->unk);
}

static bool only_line_feeds(struct str word)
{
    for (size_t i = 0; i < word.len; i++)
        if (word.ptr[i] != '\n')
            return false;
    return true;
}

/* The token that is this whole word, where the vocabulary wants it taken before any merging. */
static uint32_t whole_word(struct job *job, struct str word)
{
    const struct vocab *vocab = &job->tokenizer->vocab;
    unsigned flags = job->bpe->flags;
    bool wanted = flags & PRE_WHOLE_WORD || (flags & PRE_WHOLE_LINES && only_line_feeds(word));
    if (!wanted || word.len > vocab->max_len)
        return VOCAB_NONE;
    if (flags & PRE_RAW)
        return vocab_find_token(vocab, word);
    strbuf_clear(&job->encoded);
    for (size_t i = 0; i < word.len; i++)
        strbuf_append_utf8(&job->encoded, char_of_byte((uint8_t)word.ptr[i]));
    return job->encoded.failed ? VOCAB_NONE : vocab_find_token(vocab, strbuf_str(&job->encoded));
}

static bool add_symbols(struct job *job, struct str word)
{
    bool raw = job->bpe->flags & PRE_RAW;
    merge_begin(&job->work, word);
    for (size_t at = 0, len = 1; at < word.len; at += len) {
        uint32_t id, codepoint;
        if (raw) {
            len = utf8_decode(word, at, &codepoint);
            len = len ? len : 1;
            id =
                vocab_find2(&job->tokenizer->vocab, str_slice(word, at, at + len), (struct str){0});
        } else {
            id = job->bpe->byte_symbols[(uint8_t)word.ptr[at]];
        }
        if (!merge_add(&job->work, len, id))
            return false;
    }
    return true;
}

static bool encode_word(struct job *job, struct str word)
{
    uint32_t whole = whole_word(job, word);
    if (whole != VOCAB_NONE)
        return token_list_append(job->out, (int32_t)whole);
    if (job->encoded.failed || !add_symbols(job, word) || !merge_run(&job->work, joins, job->bpe))
        return false;
    for (uint32_t i = 0; i != MERGE_END; i = job->work.symbols[i].next) {
        const struct merge_symbol *symbol = &job->work.symbols[i];
        struct str bytes = str_slice(word, symbol->start, symbol->start + symbol->len);
        if (symbol->id < job->tokenizer->vocab.n_tokens
                ? !token_list_append(job->out, (int32_t)symbol->id)
                : !append_bytes(job, bytes))
            return false;
    }
    return true;
}

/* Valid UTF-8 is cut into words; bytes that are not are words of their own, since no rule says
 * anything about them. */
static enum hth_status encode_text(struct job *job, struct str text)
{
    for (size_t from = 0, at = 0; from < text.len; from = at) {
        uint32_t codepoint;
        size_t len = utf8_decode(text, at, &codepoint);
        bool valid = len != 0;
        do
            at += valid ? len : 1;
        while (at < text.len && ((len = utf8_decode(text, at, &codepoint)) != 0) == valid);
        struct str run = str_slice(text, from, at);
        if (!valid) {
            if (!encode_word(job, run))
                return HTH_ERROR_MEMORY;
            continue;
        }
        enum hth_status status = pretokenize(job->bpe->pretokenizer, run, &job->cuts);
        if (status != HTH_OK)
            return status;
        for (size_t i = 0, begin = 0; i < job->cuts.count; begin = job->cuts.ends[i++])
            if (!encode_word(job, str_slice(run, begin, job->cuts.ends[i])))
                return HTH_ERROR_MEMORY;
    }
    return HTH_OK;
}

/* Spaces become marks; with PRE_MARK_LINES every line that has text begins with one. */
static void mark_spaces(struct strbuf *out, struct str text, bool lines)
{
    bool line_begins = true;
    for (size_t at = 0; at < text.len; at++) {
        char c = text.ptr[at];
        if (lines && line_begins && c != '\n' && c != ' ' &&
            !str_starts_with(str_slice(text, at, text.len), space_mark))
            strbuf_append(out, space_mark);
        line_begins = c == '\n';
        if (c == ' ')
            strbuf_append(out, space_mark);
        else
            strbuf_append_char(out, c);
    }
}

enum hth_status bpe_encode(const struct tokenizer *tokenizer, struct str text, bool begins,
                           struct token_list *out)
{
    (void)begins;
    struct job job = {.tokenizer = tokenizer, .bpe = tokenizer->state, .out = out};
    struct strbuf marked = {0};
    if (job.bpe->flags & PRE_SPACE_MARK) {
        mark_spaces(&marked, text, job.bpe->flags & PRE_MARK_LINES);
        text = strbuf_str(&marked);
    }
    enum hth_status status = marked.failed ? HTH_ERROR_MEMORY : encode_text(&job, text);
    merge_free(&job.work);
    pre_cuts_free(&job.cuts);
    strbuf_free(&job.encoded);
    strbuf_free(&marked);
    return status;
}

/* The token is shown with each such character, but not so often that a long one fills all memory.
 */
enum { MOST_SHOWN = 4096 };

void bpe_piece(const struct tokenizer *tokenizer, struct str token, struct strbuf *out)
{
    const struct bpe *bpe = tokenizer->state;
    size_t begin = out->len;
    if (bpe->flags & PRE_SPACE_MARK) {
        tokenizer_unmark_spaces(token, out);
        return;
    }
    for (size_t at = 0, len; at < token.len; at += len) {
        uint32_t codepoint;
        len = utf8_decode(token, at, &codepoint);
        int byte = len ? byte_of_char(codepoint) : -1;
        len = len ? len : 1;
        if (byte >= 0) {
            strbuf_append_char(out, (char)byte);
            continue;
        }
        /* No byte has this character: shown as llama.cpp shows it, so that texts compare equal. */
        strbuf_append(out, STR("[UNK_BYTE_0x"));
        for (size_t i = 0; i < len; i++)
            strbuf_printf(out, "%02x", (unsigned)(uint8_t)token.ptr[at + i]);
        if (out->len - begin + token.len <= MOST_SHOWN)
            strbuf_append(out, token);
        strbuf_append_char(out, ']');
    }
}

const struct tokenizer_kind tokenizer_kind_bpe = {
    .model = "gpt2",
    .bos = -1,
    .eos = -1,
    .unk = -1,
    .sep = -1,
    .create = bpe_create,
    .destroy = bpe_destroy,
    .encode = bpe_encode,
    .piece = bpe_piece,
};
