/* SentencePiece's unigram model (Kudo 2018, "Subword Regularization"): of all ways to cut a text
 * into tokens the one with the highest sum of scores, by Viterbi's algorithm. What no token covers
 * becomes the unknown token, one for each run of such characters. */
#include <float.h>
#include <math.h>

#include "base/mem.h"
#include "text/tokenizer_charsmap.h"
#include "text/tokenizer_kind.h"
#include "text/tokenizer_trie.h"
#include "text/utf8.h"

static const struct str space_mark = {"\xe2\x96\x81", 3}; /* U+2581 stands for a space */

struct ugm {
    struct trie trie;
    struct charsmap charsmap;
    double *scores; /* of each token, finite */
    double unknown_score;
    bool merge_spaces; /* one space for several, none at the ends */
};

/* What the paths that reach a place in the text have in common from there on: the best of them. */
struct place {
    double score;
    uint32_t from; /* where its last token begins */
    uint32_t id;
};

static const double unknown_penalty = 10.0; /* kUnkPenalty of SentencePiece's unigram_model.cc */

/* No number is as bad as can be: sums and comparisons stay well defined. */
static double finite_score(float score)
{
    if (isnan(score))
        return -FLT_MAX;
    return score > FLT_MAX ? FLT_MAX : score < -FLT_MAX ? -FLT_MAX : score;
}

static bool load_tokens(struct ugm *ugm, const struct vocab *vocab)
{
    ugm->scores = mem_calloc(vocab->n_tokens, sizeof *ugm->scores);
    if (!ugm->scores)
        return false;
    double lowest = FLT_MAX;
    for (size_t id = 0; id < vocab->n_tokens; id++) {
        uint8_t type = vocab->types[id];
        double score = finite_score(vocab->scores[id]);
        if (type == TOKEN_NORMAL && score < lowest)
            lowest = score;
        /* A token of the user's is better than any other: scores are logarithms below 0. */
        ugm->scores[id] = type == TOKEN_USER_DEFINED ? 0 : score;
        if ((type == TOKEN_NORMAL || type == TOKEN_USER_DEFINED || type == TOKEN_UNUSED) &&
            !trie_add(&ugm->trie, vocab->texts[id], (uint32_t)id))
            return false;
    }
    ugm->unknown_score = lowest - unknown_penalty;
    return trie_build(&ugm->trie);
}

static enum hth_status create(struct tokenizer *tokenizer, const struct gguf *gguf,
                              const struct log *log)
{
    const struct vocab *vocab = &tokenizer->vocab;
    if (!vocab->scores)
        return log_fail(log, HTH_ERROR_FORMAT,
                        "%s: tokenizer.ggml.scores is missing: a \"t5\" vocabulary cannot be used "
                        "without it; convert or download the model again",
                        gguf_path(gguf));
    struct ugm *ugm = tokenizer->state = mem_calloc(1, sizeof *ugm);
    if (!ugm)
        return log_fail_memory(log, "the tokenizer", sizeof *ugm);
    static const char name[] = "tokenizer.ggml.remove_extra_whitespaces";
    const struct gguf_key *key = gguf_key_find(gguf, name);
    if (key && !gguf_get_bool(key, 0, &ugm->merge_spaces))
        return log_fail(log, HTH_ERROR_FORMAT, "%s: %s must be true or false", gguf_path(gguf),
                        name);
    enum hth_status status = charsmap_load(&ugm->charsmap, gguf, log);
    if (status == HTH_OK && !load_tokens(ugm, vocab))
        status = log_fail_memory(log, "the tokens", vocab->n_tokens * sizeof(struct trie_entry));
    trie_tell_too_long(ugm->trie.n_too_long, gguf_path(gguf), log);
    return status;
}

static void destroy(struct tokenizer *tokenizer)
{
    struct ugm *ugm = tokenizer->state;
    if (!ugm)
        return;
    trie_free(&ugm->trie);
    mem_free(ugm->scores);
    mem_free(ugm);
}

/* --- rewriting --- */

struct writer {
    const struct ugm *ugm;
    struct strbuf *out;
    bool space_in_front, in_word;
};

static void write_byte(struct writer *writer, char c)
{
    if (c == ' ') {
        writer->in_word = false;
        if (!writer->ugm->merge_spaces)
            strbuf_append(writer->out, space_mark);
        return;
    }
    if (!writer->in_word) {
        writer->in_word = true;
        if (writer->space_in_front || writer->ugm->merge_spaces)
            strbuf_append(writer->out, space_mark);
        writer->space_in_front = false;
    }
    strbuf_append_char(writer->out, c);
}

/* Merging drops the spaces of the text and puts one before every word, also before the first. */
static void rewrite(const struct tokenizer *tokenizer, struct str text, bool begins,
                    struct strbuf *out)
{
    const struct ugm *ugm = tokenizer->state;
    struct writer writer = {
        .ugm = ugm, .out = out, .space_in_front = begins && tokenizer->add_space_prefix};
    for (size_t at = 0, len; at < text.len; at += len) {
        struct str written;
        uint32_t c;
        len = charsmap_match(&ugm->charsmap, str_slice(text, at, text.len), &written);
        if (len == 0) {
            len = utf8_decode(text, at, &c);
            written = len ? str_slice(text, at, at + len) : STR("\xef\xbf\xbd");
            len = len ? len : 1;
        }
        for (size_t i = 0; i < written.len; i++)
            write_byte(&writer, written.ptr[i]);
    }
}

/* --- the best path --- */

/* What one call of encode works with. Places are numbered from `start`, the last one that all paths
 * go through: what is before it is settled and written. */
struct job {
    const struct tokenizer *tokenizer;
    struct str text;
    struct place *places;
    size_t n_places, capacity;
    size_t start;
    struct token_list reversed;
    struct token_list *out;
    bool after_unknown;
};

/* A path that ends at `end` with this token. */
static bool offer(struct job *job, size_t end, struct place path)
{
    size_t index = end - job->start;
    struct place *places = mem_grow(job->places, &job->capacity, index + 1, sizeof *places);
    if (!places)
        return false;
    job->places = places;
    while (job->n_places <= index)
        places[job->n_places++] = (struct place){.score = -INFINITY};
    if (path.score > places[index].score)
        places[index] = path;
    return true;
}

static bool offer_tokens(struct job *job, size_t at)
{
    const struct ugm *ugm = job->tokenizer->state;
    double score = job->places[at - job->start].score;
    uint32_t from = (uint32_t)(at - job->start), c;
    size_t len = utf8_decode(job->text, at, &c);
    len = len ? len : 1;
    bool covered = false;
    struct trie_walk walk = trie_walk_from(&ugm->trie, str_slice(job->text, at, job->text.len));
    for (uint32_t id; (id = trie_next(&walk)) != TRIE_NONE;) {
        covered = covered || walk.len == len;
        if (!offer(job, at + walk.len, (struct place){score + ugm->scores[id], from, id}))
            return false;
    }
    return covered ||
           offer(job, at + len, (struct place){score + ugm->unknown_score, from, TRIE_NONE});
}

/* All paths meet at `end`: writes the tokens that lead there and goes on from it. */
static bool settle(struct job *job, size_t end)
{
    int32_t unknown = job->tokenizer->unk;
    struct place last = job->places[end - job->start];
    job->reversed.count = 0;
    for (size_t at = end - job->start; at > 0; at = job->places[at].from)
        if (!token_list_append(&job->reversed, (int32_t)job->places[at].id))
            return false;
    for (size_t i = job->reversed.count; i-- > 0;) {
        int32_t id = job->reversed.ids[i];
        if (id < 0)
            id = unknown;
        bool again = id == unknown && job->after_unknown;
        job->after_unknown = id == unknown;
        if (id >= 0 && !again && !token_list_append(job->out, id))
            return false;
    }
    job->start = end;
    job->n_places = 0;
    return offer(job, end, (struct place){.score = last.score});
}

static bool find_path(struct job *job)
{
    if (!offer(job, 0, (struct place){0}))
        return false;
    for (size_t at = 0, len; at < job->text.len; at += len) {
        uint32_t c;
        len = utf8_decode(job->text, at, &c);
        len = len ? len : 1;
        if (at > job->start && job->start + job->n_places - 1 == at && !settle(job, at))
            return false;
        if (!offer_tokens(job, at))
            return false;
    }
    return settle(job, job->text.len);
}

static enum hth_status encode(const struct tokenizer *tokenizer, struct str text, bool begins,
                              struct token_list *out)
{
    struct strbuf rewritten = {0};
    rewrite(tokenizer, text, begins, &rewritten);
    struct job job = {.tokenizer = tokenizer, .text = strbuf_str(&rewritten), .out = out};
    bool ok = !rewritten.failed && rewritten.len < UINT32_MAX;
    ok = ok && (rewritten.len == 0 || find_path(&job));
    mem_free(job.places);
    token_list_free(&job.reversed);
    strbuf_free(&rewritten);
    return ok ? HTH_OK : HTH_ERROR_MEMORY;
}

static void piece(const struct tokenizer *tokenizer, struct str token, struct strbuf *out)
{
    (void)tokenizer;
    tokenizer_unmark_spaces(token, out);
}

const struct tokenizer_kind tokenizer_kind_ugm = {
    .model = "t5",
    .add_eos = true,
    .bos = -1,
    .eos = 1,
    .unk = 2,
    .sep = -1,
    .create = create,
    .destroy = destroy,
    .encode = encode,
    .piece = piece,
};
