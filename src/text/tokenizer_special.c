#include "text/tokenizer_special.h"

#include <stdlib.h>

#include "base/mem.h"
#include "text/tokenizer_trie.h"

/* What a token's text alone says, whatever type the file gives it. Conversions get these types
 * wrong; the texts are those of the models' own tokenizer_config.json, collected by the field
 * (llama.cpp treats the same ones so). */
enum { MARKS = 1, ENDS = 2, SHOWN = 4 };

static const struct text_rule {
    const char *text;
    unsigned effect;
} text_rules[] = {
    {"</s>", ENDS},
    {"<eos>", ENDS},
    {"<EOT>", ENDS},
    {"_<EOT>", ENDS},
    {"[EOT]", ENDS},
    {"[EOS]", ENDS},
    {"[e~[", ENDS},
    {"<|end|>", ENDS},
    {"<|endoftext|>", ENDS},
    {"<|end_of_text|>", ENDS},
    {"<|eot_id|>", ENDS},
    {"<|eom_id|>", ENDS},
    {"<|im_end|>", ENDS},
    {"<|ifm|im_end|>", ENDS},
    {"<|return|>", ENDS},
    {"<|call|>", ENDS},
    {"<|calls|>", ENDS},
    {"<|flush|>", ENDS},
    {"<end_of_turn>", ENDS},
    {"<turn|>", ENDS},
    {"<|tool_response>", ENDS},
    {"<end_of_utterance>", ENDS},
    {"<｜end▁of▁sentence｜>", ENDS},
    /* filling in the middle: padding, repository and file marks end it too */
    {"<|fim_pad|>", ENDS},
    {"<fim-pad>", ENDS},
    {"<fim_pad>", ENDS},
    {"<|fim_repo|>", ENDS},
    {"<|repo_name|>", ENDS},
    {"<fim-repo>", ENDS},
    {"<reponame>", ENDS},
    {"<|file_sep|>", ENDS},
    {"<|fim_prefix|>", MARKS},
    {"<fim-prefix>", MARKS},
    {"<fim_prefix>", MARKS},
    {"<｜fim▁begin｜>", MARKS},
    {"<|fim_suffix|>", MARKS},
    {"<fim-suffix>", MARKS},
    {"<fim_suffix>", MARKS},
    {"<｜fim▁hole｜>", MARKS},
    {"<|fim_middle|>", MARKS},
    {"<fim-middle>", MARKS},
    {"<fim_middle>", MARKS},
    {"<｜fim▁end｜>", MARKS},
    /* the harmony format parses these itself: they must appear in what is written out */
    {"<|channel|>", SHOWN},
    {"<|message|>", SHOWN},
    {"<|start|>", SHOWN},
    {"<|constrain|>", SHOWN},
};

/* A text that ends answers in most vocabularies, but not in one that holds all of `beside`. */
static const struct end_exception {
    const char *text;
    enum token_type type;
    const char *beside[2];
} end_exceptions[] = {
    {"<|end|>", TOKEN_USER_DEFINED, {"<|return|>", "<|call|>"}}, /* harmony: ends a message only */
    {"<|end|>", TOKEN_USER_DEFINED, {"<|flush|>", "<|calls|>"}}, /* solar-open */
    {"<|end|>", TOKEN_USER_DEFINED, {"<|flush|>", "<|call|>"}},
    {"</s>", TOKEN_NORMAL, {"<|tool_response>", NULL}}, /* gemma 4: strike-through in HTML */
};

/* Tokens that take neighbouring spaces with them: "lstrip" and "rstrip" in the model's
 * tokenizer_config.json, which no key of the GGUF file carries. */
static const struct strip_rule {
    const char *pre;  /* value of tokenizer.ggml.pre, or NULL */
    const char *name; /* part of general.name in lower case, or NULL */
    const char *text; /* NULL: all special tokens but `except` */
    const char *except[4];
    bool lstrip, rstrip;
} strip_rules[] = {
    {"jina-v2-de", NULL, "<mask>", {NULL}, true, false},
    {"jina-v2-es", NULL, "<mask>", {NULL}, true, false},
    {"jina-v2-code", NULL, "<mask>", {NULL}, true, false},
    {"mmbert", NULL, "<mask>", {NULL}, true, false},
    {NULL, "modern-bert", "[MASK]", {NULL}, true, false},
    {NULL, "phi-3", NULL, {"<unk>", "<s>", "<|endoftext|>", NULL}, false, true},
    {NULL, "phi3", NULL, {"<unk>", "<s>", "<|endoftext|>", NULL}, false, true},
};

static void set_end(struct specials *specials, size_t id, bool ends)
{
    if (ends)
        specials->ends[id / 8] |= (uint8_t)(1u << id % 8);
    else
        specials->ends[id / 8] &= (uint8_t) ~(1u << id % 8);
}

bool specials_is_end(const struct specials *specials, size_t id)
{
    return specials->ends[id / 8] >> id % 8 & 1;
}

static void apply_text_rules(struct specials *specials, struct vocab *vocab)
{
    for (size_t i = 0; i < ARRAY_LEN(text_rules); i++) {
        uint32_t id = vocab_find_token(vocab, str_of(text_rules[i].text));
        if (id == VOCAB_NONE)
            continue;
        vocab->types[id] =
            text_rules[i].effect == SHOWN ? TOKEN_USER_DEFINED : (uint8_t)TOKEN_CONTROL;
        if (text_rules[i].effect == ENDS)
            set_end(specials, id, true);
    }
}

static void apply_end_exceptions(struct specials *specials, struct vocab *vocab)
{
    for (size_t i = 0; i < ARRAY_LEN(end_exceptions); i++) {
        const struct end_exception *rule = &end_exceptions[i];
        bool all = true;
        for (size_t k = 0; k < ARRAY_LEN(rule->beside) && rule->beside[k]; k++)
            all = all && vocab_find_token(vocab, str_of(rule->beside[k])) != VOCAB_NONE;
        uint32_t id = vocab_find_token(vocab, str_of(rule->text));
        if (!all || id == VOCAB_NONE)
            continue;
        vocab->types[id] = (uint8_t)rule->type;
        set_end(specials, id, false);
    }
}

static int by_text(const void *a, const void *b)
{
    const struct special *x = a, *y = b;
    int order = str_compare(x->text, y->text);
    return order ? order : (x->id > y->id) - (x->id < y->id);
}

static bool contains_nocase(struct str text, struct str part)
{
    for (size_t at = 0; at + part.len <= text.len; at++)
        if (str_equal_nocase(str_slice(text, at, at + part.len), part))
            return true;
    return false;
}

static bool excepted(const struct strip_rule *rule, struct str text)
{
    for (size_t k = 0; rule->except[k]; k++)
        if (str_equal(text, str_of(rule->except[k])))
            return true;
    return false;
}

static void apply_strip_rules(struct specials *specials, const struct gguf *gguf)
{
    struct str pre = {0}, name = {0};
    gguf_get_str(gguf_key_find(gguf, "tokenizer.ggml.pre"), &pre);
    gguf_get_str(gguf_key_find(gguf, "general.name"), &name);
    for (size_t i = 0; i < ARRAY_LEN(strip_rules); i++) {
        const struct strip_rule *rule = &strip_rules[i];
        if (rule->pre ? !str_equal(pre, str_of(rule->pre))
                      : !contains_nocase(name, str_of(rule->name)))
            continue;
        for (size_t k = 0; k < specials->n_items; k++) {
            struct special *item = &specials->items[k];
            if (rule->text ? !str_equal(item->text, str_of(rule->text))
                           : excepted(rule, item->text))
                continue;
            item->lstrip = rule->lstrip;
            item->rstrip = rule->rstrip;
        }
    }
}

/* Of equal texts the first is found where special tokens are asked for, and the first that always
 * is one elsewhere: no others stay, so that none has to be passed over. Sorted. */
static void drop_equal(struct specials *specials)
{
    size_t n = 0;
    for (size_t i = 0; i < specials->n_items; i++) {
        const struct special item = specials->items[i], *last = n ? &specials->items[n - 1] : NULL;
        if (last && str_equal(last->text, item.text) && (last->always || !item.always))
            continue;
        specials->items[n++] = item;
    }
    specials->n_items = n;
}

static bool is_special(const struct vocab *vocab, size_t id)
{
    uint8_t type = vocab->types[id];
    return vocab->texts[id].len &&
           (type == TOKEN_CONTROL || type == TOKEN_UNKNOWN || type == TOKEN_USER_DEFINED);
}

enum hth_status specials_load(struct specials *specials, struct vocab *vocab,
                              const struct gguf *gguf, const int32_t named[3],
                              const struct log *log)
{
    specials->ends = mem_calloc(vocab->n_tokens / 8 + 1, 1);
    if (!specials->ends)
        return log_fail_memory(log, "the tokens that end answers", vocab->n_tokens / 8 + 1);
    apply_text_rules(specials, vocab);
    for (int i = 0; i < 3; i++)
        if (named[i] >= 0)
            set_end(specials, (size_t)named[i], true);
    apply_end_exceptions(specials, vocab);

    size_t n = 0;
    for (size_t id = 0; id < vocab->n_tokens; id++)
        n += is_special(vocab, id);
    if (n == 0)
        return HTH_OK;
    specials->items = mem_calloc(n, sizeof *specials->items);
    if (!specials->items)
        return log_fail_memory(log, "the special tokens", n * sizeof *specials->items);
    size_t n_too_long = 0;
    for (size_t id = 0; id < vocab->n_tokens; id++) {
        if (!is_special(vocab, id))
            continue;
        if (vocab->texts[id].len > TRIE_MAX_TEXT) {
            n_too_long++;
            continue;
        }
        struct special *item = &specials->items[specials->n_items++];
        *item = (struct special){.text = vocab->texts[id], .id = (int32_t)id};
        item->always = vocab->types[id] == TOKEN_USER_DEFINED;
        specials->starts[1][(uint8_t)item->text.ptr[0]] = true;
        if (item->always)
            specials->starts[0][(uint8_t)item->text.ptr[0]] = true;
    }
    trie_tell_too_long(n_too_long, gguf_path(gguf), log);
    qsort(specials->items, specials->n_items, sizeof *specials->items, by_text);
    drop_equal(specials);
    apply_strip_rules(specials, gguf);
    return HTH_OK;
}

void specials_free(struct specials *specials)
{
    mem_free(specials->items);
    mem_free(specials->ends);
    *specials = (struct specials){0};
}

/* The first of items[low, high), all equal in their first `depth` bytes, whose next byte is at
 * least `byte`; one that ends there comes before all. */
static size_t lower(const struct specials *specials, size_t low, size_t high, size_t depth,
                    unsigned byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct str text = specials->items[middle].text;
        if (text.len <= depth || (uint8_t)text.ptr[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest special token that text[at ..) begins with. */
static const struct special *longest_at(const struct specials *specials, struct str text, size_t at,
                                        bool parse)
{
    const struct special *best = NULL;
    size_t low = 0, high = specials->n_items;
    for (size_t depth = 0; at + depth < text.len && low < high; depth++) {
        unsigned byte = (uint8_t)text.ptr[at + depth];
        low = lower(specials, low, high, depth, byte);
        high = lower(specials, low, high, depth, byte + 1);
        bool found = false;
        for (size_t i = low; i < high && specials->items[i].text.len == depth + 1 && !found; i++) {
            found = parse || specials->items[i].always;
            if (found)
                best = &specials->items[i];
        }
    }
    return best;
}

const struct special *specials_next(const struct specials *specials, struct str text, size_t from,
                                    bool parse, size_t *at)
{
    const bool *starts = specials->starts[parse];
    for (size_t i = from; i < text.len; i++) {
        if (!starts[(uint8_t)text.ptr[i]])
            continue;
        const struct special *found = longest_at(specials, text, i, parse);
        if (found) {
            *at = i;
            return found;
        }
    }
    *at = text.len;
    return NULL;
}
