#include "made_vocab.h"

#include "../data/tokenizer/tiny_kinds.h"
#include "text/pretokenize.h"
#include "text/tokenizer_kind.h"

enum {
    MAX_OWN = 48,               /* tokens that the recipe spells */
    MAX_TOKENS = 256 + MAX_OWN, /* with one for each byte */
    MAX_MERGES = 2 * MAX_OWN,   /* one for each joined token, and others */
    MAX_TEXT = 2048,            /* bytes of a token that is others joined */
    ROOM = 1 << 16,             /* for all texts that are not spelled in the recipe */
    USUAL = 192,                /* a byte below: a key is as it should be */
};

struct made_vocab {
    struct recipe *recipe;
    struct gguf_writer *writer;
    struct str texts[MAX_TOKENS + 1], merges[MAX_MERGES];
    int32_t types[MAX_TOKENS + 1]; /* one more than there are, for arrays that are too long */
    float scores[MAX_TOKENS + 1];
    size_t n_tokens, n_merges, used;
    char room[ROOM];
};

/* --- texts ------------------------------------------------------------------------------------ */

/* What tokenizers ask for by name, or take apart. */
static const char *const telling_texts[] = {
    "<|im_end|>",
    "<|endoftext|>",
    "</s>",
    "<s>",
    "<unk>",
    "<mask>",
    "[MASK]",
    "[UNK]",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<|channel|>",
    "<|tool_response>",
    "<|fim_prefix|>",
    "<|plamo:unk|>",
    "<dna>",
    "</dna>",
    "<oov>",
    "ACGTAC\ue000",
    "\u2581",
    "\u2581\u2581",
    "\u2581he",
    "he",
    "<0x0A>",
    "<0xfg>",
    "\\x4",
    "\\",
    "\u0120",
    "\u010a",
    "\u0144",
    "\u00ad",
    " ",
    "  ",
    "\n",
    "\xff",
    "\xe2\x96",
    "[UNK_BYTE_0x",
    "<\uff5cend\u2581of",
    "\u4e2d",
    "\u0301",
    "\uac00",
    "\U0001f600",
    "<|eot_id|>",
    "<end_of_turn>",
    "_<EOT>",
    "'s",
    "\u2028",
    "\u00e9",
};

/* a ++ b in memory of our own; `a` where there is no more of it. */
static struct str join(struct made_vocab *vocab, struct str a, struct str b)
{
    struct str text = {vocab->room + vocab->used, a.len + b.len};
    if (text.len > MAX_TEXT || text.len > sizeof vocab->room - vocab->used)
        return a;
    if (a.len)
        memcpy(vocab->room + vocab->used, a.ptr, a.len);
    if (b.len)
        memcpy(vocab->room + vocab->used + a.len, b.ptr, b.len);
    vocab->used += text.len;
    return text;
}

/* A token from before, counted from the last. */
static struct str earlier(struct made_vocab *vocab)
{
    size_t back = recipe_byte(vocab->recipe);
    return vocab->n_tokens ? vocab->texts[vocab->n_tokens - 1 - back % vocab->n_tokens] : STR("a");
}

static struct str joined_by_merge(struct made_vocab *vocab)
{
    struct str left = earlier(vocab), right = earlier(vocab);
    if (vocab->n_merges < MAX_MERGES)
        vocab->merges[vocab->n_merges++] = join(vocab, join(vocab, left, STR(" ")), right);
    return join(vocab, left, right);
}

static struct str repeated(struct made_vocab *vocab, unsigned doublings)
{
    struct str text = earlier(vocab);
    for (unsigned i = 0; i < doublings; i++)
        text = join(vocab, text, text);
    return text;
}

/* The bytes of the recipe as byte-level BPE writes them. */
static struct str byte_level(struct made_vocab *vocab, size_t len)
{
    struct str bytes = recipe_text(vocab->recipe, len), text = {0};
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned c = tiny_char_of_byte((uint8_t)bytes.ptr[i]);
        char letter[2] = {(char)(c < 0x80 ? c : 0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
        text = join(vocab, text, (struct str){letter, c < 0x80 ? 1 : 2});
    }
    return text;
}

static struct str own_text(struct made_vocab *vocab)
{
    unsigned choice = recipe_byte(vocab->recipe), n = choice / 8;
    switch (choice % 8) {
    case 0:
    case 1: return recipe_text(vocab->recipe, n);
    case 2: return str_of(telling_texts[recipe_byte(vocab->recipe) % ARRAY_LEN(telling_texts)]);
    case 3: {
        struct str left = earlier(vocab);
        return join(vocab, left, earlier(vocab));
    }
    case 4: return joined_by_merge(vocab);
    case 5: return repeated(vocab, n % 16);
    default: return byte_level(vocab, n);
    }
}

/* --- tokens ----------------------------------------------------------------------------------- */

static void add_token(struct made_vocab *vocab, struct str text, int32_t type, float score)
{
    vocab->texts[vocab->n_tokens] = text;
    vocab->types[vocab->n_tokens] = type;
    vocab->scores[vocab->n_tokens++] = score;
}

/* A token for each byte, in one of the ways that files write them, so that all text has tokens. */
static void add_bytes(struct made_vocab *vocab, unsigned way)
{
    static const char *const formats[] = {"<0x%02X>", "\\x%02x"};
    for (unsigned byte = 0; byte < 256 && way % 4; byte++) {
        char text[8];
        if (way % 4 == 1) {
            struct recipe one = {&(uint8_t){(uint8_t)byte}, 1}, *rest = vocab->recipe;
            vocab->recipe = &one;
            add_token(vocab, byte_level(vocab, 1), TOKEN_NORMAL, 0);
            vocab->recipe = rest;
            continue;
        }
        snprintf(text, sizeof text, formats[way % 4 - 2], byte);
        add_token(vocab, join(vocab, (struct str){0}, str_of(text)),
                  way % 4 == 2 ? TOKEN_BYTE : TOKEN_NORMAL, 0);
    }
}

/* Half of the tokens are ordinary ones; a type may be one that there is not. */
static int32_t own_type(struct recipe *recipe)
{
    unsigned choice = recipe_byte(recipe);
    if (choice < 128)
        return TOKEN_NORMAL;
    return choice < 240 ? (int32_t)(choice % 8) : (int32_t)(choice << 24 | choice);
}

static void add_own(struct made_vocab *vocab, bool scored)
{
    size_t n = recipe_byte(vocab->recipe) % (MAX_OWN + 1);
    for (size_t i = 0; i < n; i++) {
        struct str text = own_text(vocab);
        int32_t type = own_type(vocab->recipe);
        add_token(vocab, text, type, scored ? recipe_float(vocab->recipe) : -(float)i);
    }
}

/* Some that make no token, join nothing, or are not two parts. */
static void add_merges(struct made_vocab *vocab, unsigned choice)
{
    for (size_t n = choice % 8; n > 0 && vocab->n_merges < MAX_MERGES; n--) {
        struct str text = earlier(vocab);
        if (choice < USUAL)
            text = join(vocab, join(vocab, text, STR(" ")), earlier(vocab));
        vocab->merges[vocab->n_merges++] = text;
    }
}

/* --- keys ------------------------------------------------------------------------------------- */

/* An array beside the tokens: as long as they are, mostly; or not there, of another length or of
 * another type. `items` has room for one more than there are tokens. */
static void put_beside(struct made_vocab *vocab, const char *name, enum gguf_type elem,
                       const void *items, unsigned choice)
{
    static const enum gguf_type others[] = {GGUF_U8, GGUF_I8, GGUF_U16, GGUF_U32, GGUF_F32};
    size_t n = vocab->n_tokens;
    if (choice < USUAL) {
        gguf_put_array(vocab->writer, name, elem, items, n);
        return;
    }
    switch (choice % 8) {
    case 0: break;
    case 1: gguf_put_array(vocab->writer, name, elem, items, n ? n - 1 : 0); break;
    case 2: gguf_put_array(vocab->writer, name, elem, items, n + 1); break;
    case 3: gguf_put_array(vocab->writer, name, elem, items, 0); break;
    case 4: gguf_put_strs(vocab->writer, name, vocab->texts, n); break;
    case 5: gguf_put_u32(vocab->writer, name, (uint32_t)n); break;
    default: gguf_put_array(vocab->writer, name, others[choice / 8 % ARRAY_LEN(others)], items, n);
    }
}

static void put_list(struct made_vocab *vocab, const char *name, const struct str *items, size_t n,
                     unsigned choice)
{
    if (choice < USUAL || choice % 4 == 0)
        gguf_put_strs(vocab->writer, name, items, n);
    else if (choice % 4 == 1)
        gguf_put_array(vocab->writer, name, GGUF_I32, vocab->types, vocab->n_tokens);
    else if (choice % 4 == 2)
        gguf_put_str(vocab->writer, name, n ? items[0] : STR("none"));
}

static void put_id(struct made_vocab *vocab, const char *name, unsigned choice)
{
    size_t n = vocab->n_tokens;
    if (choice == 0)
        return;
    if (choice < USUAL) {
        gguf_put_u32(vocab->writer, name, n ? (uint32_t)(n - 1 - (choice - 1) % n) : 0);
        return;
    }
    switch (choice % 8) {
    case 0: gguf_put_u32(vocab->writer, name, (uint32_t)n); break;
    case 1: gguf_put_i32(vocab->writer, name, -1); break;
    case 2: gguf_put_i32(vocab->writer, name, -2); break;
    case 3: gguf_put_u32(vocab->writer, name, UINT32_MAX); break;
    case 4: gguf_put_u64(vocab->writer, name, UINT64_MAX - choice % 3); break;
    case 5: gguf_put_f32(vocab->writer, name, 1); break;
    case 6: gguf_put_str(vocab->writer, name, STR("1")); break;
    default: gguf_put_u64(vocab->writer, name, (uint64_t)1 << 32);
    }
}

static void put_flag(struct made_vocab *vocab, const char *name, unsigned choice)
{
    if (choice % 4 == 1 || choice % 4 == 2)
        gguf_put_bool(vocab->writer, name, choice % 4 == 1);
    else if (choice >= USUAL && choice % 4 == 3)
        gguf_put_u32(vocab->writer, name, choice / 4 % 3);
}

static void put_name(struct made_vocab *vocab, unsigned choice)
{
    static const char *const names[] = {"Phi-3 mini", "ModernBERT: modern-bert", "x PHI3", "llama"};
    if (choice >= USUAL)
        gguf_put_str(vocab->writer, "general.name", recipe_text(vocab->recipe, choice % 32));
    else if (choice % 8)
        gguf_put_str(vocab->writer, "general.name", str_of(names[choice % 8 % ARRAY_LEN(names)]));
}

/* The tokenizer model and its pre-tokenizer; every name that hearth knows. */
static void put_kind(struct made_vocab *vocab, unsigned model, unsigned pre)
{
    size_t n_models = 0, n_rows = 0;
    while (tokenizer_kind_list[n_models])
        n_models++;
    while (pre_row_at(n_rows))
        n_rows++;
    if (model < 250)
        gguf_put_str(vocab->writer, "tokenizer.ggml.model",
                     str_of(tokenizer_kind_list[model % n_models]->model));
    else if (model < 253)
        gguf_put_str(vocab->writer, "tokenizer.ggml.model", recipe_text(vocab->recipe, 5));
    else if (model < 255)
        gguf_put_u32(vocab->writer, "tokenizer.ggml.model", model);
    if (pre < n_rows)
        gguf_put_str(vocab->writer, "tokenizer.ggml.pre", str_of(pre_row_at(pre)->name));
    else if (pre % 4 == 1)
        gguf_put_str(vocab->writer, "tokenizer.ggml.pre", recipe_text(vocab->recipe, 8));
    else if (pre % 4 == 2)
        gguf_put_u32(vocab->writer, "tokenizer.ggml.pre", pre);
}

static void put_map(struct made_vocab *vocab, unsigned choice)
{
    static const char name[] = "tokenizer.ggml.precompiled_charsmap";
    if (choice % 4 == 1)
        tiny_put_map(vocab->writer);
    else if (choice % 4 == 2) {
        struct str bytes = recipe_text(vocab->recipe, choice);
        gguf_put_array(vocab->writer, name, GGUF_U8, bytes.ptr, bytes.len);
    } else if (choice >= USUAL && choice % 4 == 3)
        gguf_put_strs(vocab->writer, name, vocab->texts, vocab->n_tokens);
}

/* What each byte of the recipe's beginning chooses. */
enum form {
    FORM_MODEL,
    FORM_PRE,
    FORM_NAME,
    FORM_TOKENS,
    FORM_TYPES,
    FORM_SCORES,
    FORM_MERGES,
    FORM_MAP,
    FORM_IDS,
    FORM_FLAGS = FORM_IDS + 6,
    N_FORMS = FORM_FLAGS + 6
};

static void put_ids_and_flags(struct made_vocab *vocab, const uint8_t *forms)
{
    static const char *const ids[] = {"bos_token_id",       "eos_token_id", "unknown_token_id",
                                      "seperator_token_id", "eot_token_id", "eom_token_id"};
    static const char *const flags[] = {"add_bos_token",        "add_eos_token",
                                        "add_sep_token",        "add_space_prefix",
                                        "normalizer.lowercase", "remove_extra_whitespaces"};
    char name[64];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        snprintf(name, sizeof name, "tokenizer.ggml.%s", ids[i]);
        put_id(vocab, name, forms[FORM_IDS + i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        snprintf(name, sizeof name, "tokenizer.ggml.%s", flags[i]);
        put_flag(vocab, name, forms[FORM_FLAGS + i]);
    }
}

/* The choices come first, so that they stay as they are when the tokens behind them change. */
void made_vocab_put(struct recipe *recipe, struct gguf_writer *writer)
{
    static struct made_vocab vocab; /* large; what is not counted does not matter */
    uint8_t forms[N_FORMS];
    for (size_t i = 0; i < N_FORMS; i++)
        forms[i] = (uint8_t)recipe_byte(recipe);
    vocab.recipe = recipe;
    vocab.writer = writer;
    vocab.n_tokens = vocab.n_merges = vocab.used = 0;
    put_kind(&vocab, forms[FORM_MODEL], forms[FORM_PRE]);
    put_name(&vocab, forms[FORM_NAME]);
    add_bytes(&vocab, forms[FORM_TOKENS]);
    add_own(&vocab, forms[FORM_SCORES] % 2);
    add_merges(&vocab, forms[FORM_MERGES]);
    put_list(&vocab, "tokenizer.ggml.tokens", vocab.texts, vocab.n_tokens, forms[FORM_TOKENS]);
    put_beside(&vocab, "tokenizer.ggml.token_type", GGUF_I32, vocab.types, forms[FORM_TYPES]);
    put_beside(&vocab, "tokenizer.ggml.scores", GGUF_F32, vocab.scores, forms[FORM_SCORES]);
    put_list(&vocab, "tokenizer.ggml.merges", vocab.merges, vocab.n_merges, forms[FORM_MERGES]);
    put_map(&vocab, forms[FORM_MAP]);
    put_ids_and_flags(&vocab, forms);
}

/* --- template and sampling -------------------------------------------------------------------- */

static void put_template(struct recipe *recipe, struct gguf_writer *writer)
{
    static const char *const templates[] = {
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        "{{ bos_token }}{% set ns = namespace(n=0) %}{% for m in messages %}{% if ns.n == 0 %}"
        "[INST]{% endif %}{{ m.content | trim }}{% endfor %}{{ eos_token }}",
        "{{ raise_exception('roles: ' ~ messages[0].role) }}",
        "{{ bos_token * 9 }}{{ strftime_now('%Y') }}{{ messages | tojson }}",
        "{% if tools %}",
    };
    static const char name[] = "tokenizer.chat_template";
    unsigned choice = recipe_byte(recipe);
    if (choice >= USUAL)
        gguf_put_str(writer, name, recipe_text(recipe, 2u * (choice - USUAL)));
    else if (choice % 8 == 7)
        gguf_put_u32(writer, name, choice);
    else if (choice % 8)
        gguf_put_str(writer, name, str_of(templates[(choice % 8 - 1) % ARRAY_LEN(templates)]));
}

static void put_sequence(struct recipe *recipe, struct gguf_writer *writer)
{
    static const char *const sequences[] = {
        "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature", "temp;nucleus",
        "temperature;", "top_k;top_k;none"};
    static const char name[] = "general.sampling.sequence";
    unsigned choice = recipe_byte(recipe);
    if (choice >= USUAL)
        gguf_put_str(writer, name, recipe_text(recipe, choice - USUAL));
    else if (choice % 8 == 7)
        gguf_put_u32(writer, name, choice);
    else if (choice % 8)
        gguf_put_str(writer, name, str_of(sequences[choice % ARRAY_LEN(sequences)]));
}

static void put_sampling_number(struct recipe *recipe, struct gguf_writer *writer,
                                const char *suffix)
{
    char name[64];
    snprintf(name, sizeof name, "general.sampling.%s", suffix);
    unsigned choice = recipe_byte(recipe);
    switch (choice % 8) {
    case 1: gguf_put_f32(writer, name, (float)choice / 256); break;
    case 2: gguf_put_u32(writer, name, choice / 8); break;
    case 3: gguf_put_i32(writer, name, (int32_t)(choice / 8) - 2); break;
    case 4: gguf_put_f32(writer, name, recipe_float(recipe)); break;
    case 5: gguf_put_u64(writer, name, (uint64_t)choice << 32); break;
    case 6: gguf_put_str(writer, name, recipe_text(recipe, 1)); break;
    default: break;
    }
}

void made_advice_put(struct recipe *recipe, struct gguf_writer *writer)
{
    static const char *const numbers[] = {
        "temp",           "top_k",          "top_p",    "min_p",        "xtc_probability",
        "xtc_threshold",  "penalty_last_n", "mirostat", "mirostat_tau", "mirostat_eta",
        "penalty_repeat",
    };
    put_template(recipe, writer);
    put_sequence(recipe, writer);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        put_sampling_number(recipe, writer, numbers[i]);
}
