/* PLaMo's tokenizers (https://huggingface.co/pfnet/plamo-2-1b, tokenization_plamo.py): the way to
 * cut a text into tokens whose scores have the highest sum, worked out from the end of the text;
 * characters that no token covers cost much and are written as bytes. PLaMo 3 cuts out runs of
 * equal characters before. */
#include <math.h>

#include "base/mem.h"
#include "text/tokenizer_kind.h"
#include "text/tokenizer_trie.h"
#include "text/utf8.h"

/* Costs are scores × −10⁴, rounded; these are the original's. */
enum { COST_SCALE = 10000, COST_UNKNOWN = 10000000, COST_NEVER = 20000000 };

static const struct str byte_order_mark = {"\xef\xbb\xbf", 3};

struct plamo {
    struct trie trie;
    int32_t *costs; /* of each token */
    int32_t byte_ids[256];
    bool cut_runs, keep_mark;
};

/* The best way on from a place in the text to its end. */
struct place {
    int64_t cost;
    uint32_t len, id; /* of the next token; id TRIE_NONE: a character, to be written as bytes */
};

static int32_t cost_of(float score)
{
    double cost = round((double)score * -COST_SCALE);
    if (!(cost < COST_NEVER)) /* no number is never used */
        return COST_NEVER;
    return cost < -COST_NEVER ? -COST_NEVER : (int32_t)cost;
}

static bool load_tokens(struct plamo *plamo, const struct vocab *vocab)
{
    plamo->costs = mem_calloc(vocab->n_tokens, sizeof *plamo->costs);
    if (!plamo->costs)
        return false;
    for (size_t id = 0; id < vocab->n_tokens; id++) {
        struct str text = vocab->texts[id];
        plamo->costs[id] = cost_of(vocab->scores[id]);
        int byte = vocab->types[id] == TOKEN_BYTE ? vocab_byte_of(text) : -1;
        if (byte >= 0)
            plamo->byte_ids[byte] = (int32_t)id;
        else if (plamo->costs[id] < COST_NEVER && !trie_add(&plamo->trie, text, (uint32_t)id))
            return false;
    }
    return trie_build(&plamo->trie);
}

static enum hth_status create(struct tokenizer *tokenizer, const struct gguf *gguf,
                              const struct log *log)
{
    const struct vocab *vocab = &tokenizer->vocab;
    if (!vocab->scores)
        return log_fail(log, HTH_ERROR_FORMAT,
                        "%s: tokenizer.ggml.scores is missing: a \"%s\" vocabulary cannot be used "
                        "without it; convert or download the model again",
                        gguf_path(gguf), tokenizer->kind->model);
    struct plamo *plamo = tokenizer->state = mem_calloc(1, sizeof *plamo);
    if (!plamo)
        return log_fail_memory(log, "the tokenizer", sizeof *plamo);
    for (int byte = 0; byte < 256; byte++)
        plamo->byte_ids[byte] = tokenizer->unk;
    if (!load_tokens(plamo, vocab))
        return log_fail_memory(log, "the tokens", vocab->n_tokens * sizeof(struct trie_entry));
    trie_tell_too_long(plamo->trie.n_too_long, gguf_path(gguf), log);
    return HTH_OK;
}

static enum hth_status create_plamo3(struct tokenizer *tokenizer, const struct gguf *gguf,
                                     const struct log *log)
{
    enum hth_status status = create(tokenizer, gguf, log);
    if (status == HTH_OK) {
        struct plamo *plamo = tokenizer->state;
        plamo->cut_runs = plamo->keep_mark = true;
    }
    return status;
}

static void destroy(struct tokenizer *tokenizer)
{
    struct plamo *plamo = tokenizer->state;
    if (!plamo)
        return;
    trie_free(&plamo->trie);
    mem_free(plamo->costs);
    mem_free(plamo);
}

static size_t char_len(struct str text, size_t at)
{
    uint32_t c;
    size_t len = utf8_decode(text, at, &c);
    return len ? len : 1;
}

/* Fills places[at], which holds its character's length, those behind it being known. Of equally
 * good tokens the longest is taken. */
static void choose(const struct plamo *plamo, struct str text, size_t at, struct place *places)
{
    struct place best = {.cost = INT64_MAX};
    struct trie_walk walk = trie_walk_from(&plamo->trie, str_slice(text, at, text.len));
    for (uint32_t id; (id = trie_next(&walk)) != TRIE_NONE;) {
        int64_t rest = places[at + walk.len].cost;
        if (rest < INT64_MAX && rest + plamo->costs[id] <= best.cost)
            best = (struct place){rest + plamo->costs[id], (uint32_t)walk.len, id};
    }
    uint32_t len = places[at].len;
    int64_t rest = places[at + len].cost;
    if (rest + COST_UNKNOWN < best.cost)
        best = (struct place){rest + COST_UNKNOWN, len, TRIE_NONE};
    places[at] = best;
}

static bool append_piece(const struct plamo *plamo, struct str bytes, uint32_t id,
                         struct token_list *out)
{
    if (id != TRIE_NONE)
        return token_list_append(out, (int32_t)id);
    for (size_t i = 0; i < bytes.len; i++) {
        int32_t byte_id = plamo->byte_ids[(uint8_t)bytes.ptr[i]];
        if (byte_id >= 0 && !token_list_append(out, byte_id))
            return false;
    }
    return true;
}

/* What one call of encode works with. */
struct job {
    const struct plamo *plamo;
    struct place *places;
    size_t capacity;
    struct token_list *out;
};

static bool encode_part(struct job *job, struct str text)
{
    struct place *places = mem_grow(job->places, &job->capacity, text.len + 1, sizeof *places);
    if (!places)
        return false;
    job->places = places;
    /* Places inside a character have no length, and no token ends there. */
    for (size_t at = 0, start = 0; at < text.len; at++) {
        places[at] = (struct place){.cost = INT64_MAX};
        if (at != start)
            continue;
        places[at].len = (uint32_t)char_len(text, at);
        start += places[at].len;
    }
    places[text.len].cost = 0;
    for (size_t at = text.len; at-- > 0;)
        if (places[at].len)
            choose(job->plamo, text, at, places);
    for (size_t at = 0; at < text.len; at += places[at].len) {
        struct str bytes = str_slice(text, at, at + places[at].len);
        if (!append_piece(job->plamo, bytes, places[at].id, job->out))
            return false;
    }
    return true;
}

/* Where the run of characters equal to that at `at` ends. */
static size_t run_end(struct str text, size_t at, size_t *n)
{
    struct str first = str_slice(text, at, at + char_len(text, at));
    size_t end = at + first.len;
    for (*n = 1; str_starts_with(str_slice(text, end, text.len), first); (*n)++)
        end += first.len;
    return end;
}

/* Two spaces or more and four equal characters or more, but no line feeds, are parts of their own.
 */
static bool encode_runs(struct job *job, struct str text)
{
    size_t from = 0;
    for (size_t at = 0, n; at < text.len;) {
        size_t end = run_end(text, at, &n);
        bool apart = text.ptr[at] == ' ' ? n >= 2 : n >= 4 && text.ptr[at] != '\n';
        if (apart) {
            if ((at > from && !encode_part(job, str_slice(text, from, at))) ||
                !encode_part(job, str_slice(text, at, end)))
                return false;
            from = end;
        }
        at = end;
    }
    return from == text.len || encode_part(job, str_slice(text, from, text.len));
}

static enum hth_status encode(const struct tokenizer *tokenizer, struct str text, bool begins,
                              struct token_list *out)
{
    struct job job = {.plamo = tokenizer->state, .out = out};
    if (begins && !job.plamo->keep_mark && str_starts_with(text, byte_order_mark))
        text = str_slice(text, byte_order_mark.len, text.len);
    bool ok = job.plamo->cut_runs ? encode_runs(&job, text) : encode_part(&job, text);
    mem_free(job.places);
    return ok ? HTH_OK : HTH_ERROR_MEMORY;
}

static void piece(const struct tokenizer *tokenizer, struct str token, struct strbuf *out)
{
    (void)tokenizer;
    strbuf_append(out, token);
}

const struct tokenizer_kind tokenizer_kind_plamo2 = {
    .model = "plamo2",
    .bos = 1,
    .eos = 2,
    .unk = 0,
    .sep = -1,
    .create = create,
    .destroy = destroy,
    .encode = encode,
    .piece = piece,
};

const struct tokenizer_kind tokenizer_kind_plamo3 = {
    .model = "plamo3",
    .bos = 1,
    .eos = 2,
    .unk = 0,
    .sep = -1,
    .create = create_plamo3,
    .destroy = destroy,
    .encode = encode,
    .piece = piece,
};
