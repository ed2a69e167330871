/* WordPiece as in BERT (Devlin et al. 2019; https://github.com/google-research/bert,
 * tokenization.py): text is cut at spaces and around punctuation and Chinese characters, each word
 * into the longest tokens from its left, and a word that has a gap becomes the unknown token.
 *
 * The file writes "##ing" as "ing" and "the" as U+2581 "the". What is not as in the paper is as
 * files are converted for and compared with: of a decomposed character only the base stays, and
 * characters that Unicode does not assign are kept. */
#include <utf8proc.h>

#include "base/mem.h"
#include "text/tokenizer_kind.h"
#include "text/tokenizer_trie.h"
#include "text/utf8.h"

static const struct str word_mark = {"\xe2\x96\x81", 3}; /* U+2581 stands before a word */

struct wpm {
    struct trie trie;
    bool lowercase; /* and without accents */
};

static enum hth_status create(struct tokenizer *tokenizer, const struct gguf *gguf,
                              const struct log *log)
{
    static const char name[] = "tokenizer.ggml.normalizer.lowercase";
    struct wpm *wpm = tokenizer->state = mem_calloc(1, sizeof *wpm);
    if (!wpm)
        return log_fail_memory(log, "the tokenizer", sizeof *wpm);
    wpm->lowercase = true;
    const struct gguf_key *key = gguf_key_find(gguf, name);
    if (key && !gguf_get_bool(key, 0, &wpm->lowercase))
        return log_fail(log, HTH_ERROR_FORMAT, "%s: %s must be true or false", gguf_path(gguf),
                        name);
    const struct vocab *vocab = &tokenizer->vocab;
    bool ok = true;
    for (size_t id = 0; id < vocab->n_tokens && ok; id++)
        ok = trie_add(&wpm->trie, vocab->texts[id], (uint32_t)id);
    if (!ok || !trie_build(&wpm->trie))
        return log_fail_memory(log, "the tokens", vocab->n_tokens * sizeof(struct trie_entry));
    trie_tell_too_long(wpm->trie.n_too_long, gguf_path(gguf), log);
    return HTH_OK;
}

static void destroy(struct tokenizer *tokenizer)
{
    struct wpm *wpm = tokenizer->state;
    if (!wpm)
        return;
    trie_free(&wpm->trie);
    mem_free(wpm);
}

/* The blocks of CJK ideographs that BERT's tokenization.py lists; kana and hangul are not. */
static bool is_chinese(uint32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
           (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b73f) ||
           (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

enum char_class { CHAR_DROPPED, CHAR_SPACE, CHAR_ALONE, CHAR_IN_WORD };

static enum char_class classify(uint32_t c, bool drop_accents)
{
    if (tokenizer_is_white(c))
        return CHAR_SPACE;
    if (c == 0 || c == 0xfffd)
        return CHAR_DROPPED;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CS: return CHAR_DROPPED;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return drop_accents ? CHAR_DROPPED : CHAR_IN_WORD;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PO:
    case UTF8PROC_CATEGORY_PS: return CHAR_ALONE;
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SO:
        if (c < 0x7f)
            return CHAR_ALONE;
        break;
    default: break;
    }
    return is_chinese(c) ? CHAR_ALONE : CHAR_IN_WORD;
}

/* The first character of the canonical decomposition. */
static uint32_t base_of(uint32_t c)
{
    utf8proc_int32_t parts[8];
    int boundary = 0;
    if (c < 0x80)
        return c;
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)c, parts, 8, UTF8PROC_DECOMPOSE, &boundary);
    return n > 0 ? (uint32_t)parts[0] : c;
}

/* Ends the word that was gathered, if there is one, and begins another. */
static bool end_word(const struct tokenizer *tokenizer, struct strbuf *word, struct token_list *out)
{
    const struct wpm *wpm = tokenizer->state;
    struct str text = strbuf_str(word);
    size_t n_before = out->count;
    bool whole = text.len > word_mark.len, ok = !word->failed;
    if (!whole)
        return ok;
    for (size_t at = 0, len; at < text.len && whole && ok; at += len) {
        uint32_t id = trie_longest(&wpm->trie, str_slice(text, at, text.len), &len);
        whole = id != TRIE_NONE;
        ok = !whole || token_list_append(out, (int32_t)id);
    }
    if (!whole) {
        out->count = n_before;
        ok = tokenizer->unk < 0 || token_list_append(out, tokenizer->unk);
    }
    strbuf_clear(word);
    strbuf_append(word, word_mark);
    return ok && !word->failed;
}

static enum hth_status encode(const struct tokenizer *tokenizer, struct str text, bool begins,
                              struct token_list *out)
{
    (void)begins;
    const struct wpm *wpm = tokenizer->state;
    struct strbuf word = {0};
    bool ok = true;
    strbuf_append(&word, word_mark);
    for (size_t at = 0, len; at < text.len && ok; at += len) {
        uint32_t c;
        len = utf8_decode(text, at, &c);
        len = len ? len : 1;
        if (wpm->lowercase)
            c = base_of(c);
        enum char_class class = classify(c, wpm->lowercase);
        if (class == CHAR_DROPPED)
            continue;
        if (class != CHAR_IN_WORD)
            ok = end_word(tokenizer, &word, out);
        if (class == CHAR_SPACE)
            continue;
        strbuf_append_utf8(&word,
                           wpm->lowercase ? (unsigned)utf8proc_tolower((utf8proc_int32_t)c) : c);
        if (class == CHAR_ALONE)
            ok = ok && end_word(tokenizer, &word, out);
    }
    ok = ok && end_word(tokenizer, &word, out);
    strbuf_free(&word);
    return ok ? HTH_OK : HTH_ERROR_MEMORY;
}

static void piece(const struct tokenizer *tokenizer, struct str token, struct strbuf *out)
{
    (void)tokenizer;
    tokenizer_unmark_spaces(token, out);
}

const struct tokenizer_kind tokenizer_kind_wpm = {
    .model = "bert",
    .add_bos = true,
    .add_sep = true,
    .clean_spaces = true,
    .bos = 101, /* [CLS]; these are the ids of Google's vocabularies */
    .eos = -1,
    .unk = 100,
    .sep = 102,
    .create = create,
    .destroy = destroy,
    .encode = encode,
    .piece = piece,
};
