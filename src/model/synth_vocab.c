#include "model/synth_part.h"

#include <stdio.h>

#include "base/mem.h"

/* Token types of `tokenizer.ggml.token_type`
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_UNUSED = 5, TYPE_BYTE = 6 };

enum { MAX_WORD = 24 }; /* bytes of a made-up word */

struct vocab {
    struct arena *arena;
    struct str *texts;
    int32_t *types;
    float *scores;
    struct str *merges;
    int n, n_merges;
    /* Tokens that words may be made of. */
    int *letters;
    int n_letters;
    uint32_t *slots; /* open addressing over texts: index + 1 */
    size_t n_slots;
    bool failed;
};

static bool vocab_init(struct vocab *v, struct arena *arena, int n_vocab)
{
    size_t n = (size_t)n_vocab;
    *v = (struct vocab){.arena = arena, .n_slots = 1};
    while (v->n_slots < 2 * n)
        v->n_slots *= 2;
    v->texts = arena_calloc(arena, n, sizeof *v->texts);
    v->types = arena_calloc(arena, n, sizeof *v->types);
    v->scores = arena_calloc(arena, n, sizeof *v->scores);
    v->merges = arena_calloc(arena, n, sizeof *v->merges);
    v->letters = arena_calloc(arena, n, sizeof *v->letters);
    v->slots = arena_calloc(arena, v->n_slots, sizeof *v->slots);
    return v->texts && v->types && v->scores && v->merges && v->letters && v->slots;
}

/* Appends a token; false if there is one of this text already, or no memory. */
static bool add(struct vocab *v, const char *text, int type, float score)
{
    struct str key = str_of(text);
    size_t at = (size_t)synth_hash(key, 0) & (v->n_slots - 1);
    char *copy;
    for (; v->slots[at]; at = (at + 1) & (v->n_slots - 1))
        if (str_equal(v->texts[v->slots[at] - 1], key))
            return false;
    copy = arena_strdup(v->arena, text);
    if (!copy) {
        v->failed = true;
        return false;
    }
    v->texts[v->n] = (struct str){copy, key.len};
    v->types[v->n] = type;
    v->scores[v->n] = score;
    v->slots[at] = (uint32_t)++v->n;
    return true;
}

/* Code points below 0x800. */
static void utf8(char out[3], unsigned codepoint)
{
    bool two = codepoint >= 128;
    out[0] = (char)(two ? 0xc0 | codepoint >> 6 : codepoint);
    out[1] = (char)(two ? 0x80 | (codepoint & 63) : 0);
    out[2] = 0;
}

/* A token whose number decides what comes: small ones are likelier, so that common parts recur. */
static int choose(struct vocab *v, struct rng *rng)
{
    double u = rng_double(rng);
    return v->letters[(int)(u * u * v->n_letters)];
}

/* Makes a word of two tokens that exist, if it can be one: `space`, the text of the mark for a
 * space, only begins words. The later, the worse its score. */
static void join(struct vocab *v, const char *space, int left, int right)
{
    struct str a = v->texts[left], b = v->texts[right];
    char word[MAX_WORD + 1], *merge;
    if (str_starts_with(b, str_of(space)) || a.len + b.len > MAX_WORD)
        return;
    snprintf(word, sizeof word, "%s%s", a.ptr, b.ptr);
    if (!add(v, word, TYPE_NORMAL, -(float)v->n_merges))
        return;
    merge = arena_printf(v->arena, "%s %s", a.ptr, b.ptr);
    v->failed |= !merge;
    v->merges[v->n_merges++] = str_of(merge);
    v->letters[v->n_letters++] = v->n - 1;
}

/* Makes words until there are `n` tokens: first the pairs of common letters, so that real text gets
 * shorter too, then what chance brings together. */
static void add_words(struct vocab *v, const char *space, int n, uint64_t seed)
{
    struct rng rng = rng_seed(seed);
    for (int i = 0; i < 16; i++)
        for (int k = 0; i + k < 16; k++)
            join(v, space, v->letters[i], v->letters[k]);
    while (v->n < n && !v->failed)
        join(v, space, choose(v, &rng), choose(v, &rng));
}

/* Letters by how common they are in English, so that words look like some; the space comes before.
 */
static const char common[] = "etaoinshrdlucmfwypvbgkjqxz";

/* The printable form of a byte in byte-level BPE (Radford et al. 2019, GPT-2's encoder.py): itself
 * where it is a visible Latin-1 character, else the next free code point from 256 on. */
static unsigned byte_codepoint(int byte, unsigned *next)
{
    if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174)
        return (unsigned)byte;
    return (*next)++;
}

static void add_bytes_bpe(struct vocab *v)
{
    unsigned next = 256;
    char text[3];
    for (int byte = 0; byte < 256; byte++) {
        utf8(text, byte_codepoint(byte, &next));
        add(v, text, TYPE_NORMAL, 0);
    }
    v->letters[v->n_letters++] = ' ';
    for (const char *c = common; *c; c++)
        v->letters[v->n_letters++] = *c;
}

/* The control tokens of ChatML, then reserved ones, then unused rows as published files have them.
 */
static void add_controls(struct vocab *v, int n_vocab)
{
    static const char *const names[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    int n_control = n_vocab - v->n < 256 ? n_vocab - v->n : 256;
    char text[40];
    for (int i = 0; v->n < n_vocab && !v->failed; i++) {
        bool unused = i >= n_control;
        if (i < (int)ARRAY_LEN(names))
            snprintf(text, sizeof text, "%s", names[i]);
        else
            snprintf(text, sizeof text, unused ? "[PAD%d]" : "<|reserved_%d|>", i);
        add(v, text, unused ? TYPE_UNUSED : TYPE_CONTROL, 0);
    }
}

static void make_bpe(struct vocab *v, const struct synth_shape *shape)
{
    add_bytes_bpe(v);
    add_words(v, "\xc4\xa0", shape->n_base, synth_hash(STR("words"), 0));
    add_controls(v, shape->n_vocab);
}

/* SPM as in Llama 2: unknown, begin, end, bytes, words by falling score, then single characters. */
static void make_spm(struct vocab *v, const struct synth_shape *shape)
{
    char text[8];
    add(v, "<unk>", TYPE_UNKNOWN, 0);
    add(v, "<s>", TYPE_CONTROL, 0);
    add(v, "</s>", TYPE_CONTROL, 0);
    for (int byte = 0; byte < 256; byte++) {
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
        add(v, text, TYPE_BYTE, 0);
    }
    add(v, "\xe2\x96\x81", TYPE_NORMAL, -1e6f);
    v->letters[v->n_letters++] = v->n - 1;
    for (const char *c = common; *c; c++) {
        snprintf(text, sizeof text, "%c", *c);
        add(v, text, TYPE_NORMAL, -1e6f);
        v->letters[v->n_letters++] = v->n - 1;
    }
    for (int c = 33; c < 127; c++) {
        snprintf(text, sizeof text, "%c", c);
        add(v, text, TYPE_NORMAL, -1e6f); /* letters are there already */
    }
    add_words(v, "\xe2\x96\x81", shape->n_vocab - 2, synth_hash(STR("words"), 0));
    add(v, "<|im_start|>", TYPE_CONTROL, 0);
    add(v, "<|im_end|>", TYPE_CONTROL, 0);
}

static const char chatml[] =
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

bool synth_put_vocab(struct gguf_writer *writer, const struct synth_shape *shape,
                     struct arena *arena)
{
    bool bpe = shape->pre != NULL;
    struct vocab v;
    uint32_t end;
    if (!vocab_init(&v, arena, shape->n_vocab))
        return false;
    if (bpe)
        make_bpe(&v, shape);
    else
        make_spm(&v, shape);
    if (v.failed)
        return false;
    end = (uint32_t)(bpe ? shape->n_base + 2 : shape->n_vocab - 1);
    gguf_put_str(writer, "tokenizer.ggml.model", bpe ? STR("gpt2") : STR("llama"));
    gguf_put_str(writer, "tokenizer.ggml.pre", bpe ? str_of(shape->pre) : STR("default"));
    gguf_put_strs(writer, "tokenizer.ggml.tokens", v.texts, (uint64_t)v.n);
    if (!bpe)
        gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, v.scores, (uint64_t)v.n);
    gguf_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, v.types, (uint64_t)v.n);
    if (bpe)
        gguf_put_strs(writer, "tokenizer.ggml.merges", v.merges, (uint64_t)v.n_merges);
    gguf_put_u32(writer, "tokenizer.ggml.bos_token_id", bpe ? (uint32_t)shape->n_base : 1);
    gguf_put_u32(writer, "tokenizer.ggml.eos_token_id", end);
    if (!bpe)
        gguf_put_u32(writer, "tokenizer.ggml.unknown_token_id", 0);
    gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", !bpe || shape->add_bos);
    gguf_put_bool(writer, "tokenizer.ggml.add_eos_token", false);
    gguf_put_str(writer, "tokenizer.chat_template", STR(chatml));
    return true;
}
