/* The rules of each family, as published in the models' tokenizer.json ("pre_tokenizer") and as
 * llama.cpp runs them where the two differ: GGUF files are made and tested with that. They are
 * written so that text of any kind takes linear time: plain classes instead of lookaheads inside
 * repeats, (*SKIP) where a long run would be tried again from each of its characters. */
#include "text/pretokenize.h"

#include "base/near.h"

/* White space of any script (Unicode's White_Space): \s is ASCII's. */
#define WS                                                                                         \
    "\\s\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define SPACE  "[" WS "]"
#define SOLID  "[^" WS "]"
#define SPACES SPACE "+(?!" SOLID ")|" SPACE "+"
#define BREAKS SPACE "*[\\r\\n]+|"

/* English contractions: in lower case, in any case. Caseless matching would take U+017F for an s.
 */
#define SHORT_LOWER "'s|'t|'re|'ve|'m|'ll|'d"
#define SHORT_ANY   "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"

#define GPT2 SHORT_LOWER "| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+|" SPACES

/* GPT-4's shape: an optional mark before the letters, digits by the given rule. */
#define GPT4(letters, digits)                                                                      \
    SHORT_ANY "|[^\\r\\n\\p{L}\\p{N}]?" letters "|" digits "| ?[^" WS                              \
              "\\p{L}\\p{N}]+[\\r\\n]*|" BREAKS SPACES

/* GPT-4o's: words end where lower case turns to upper. Letters that are not ASCII are of both cases
 * in llama.cpp. `upper` and `lower` are classes, `end` may follow. */
#define CAMEL(upper, lower, end)                                                                   \
    "[^\\r\\n\\p{L}\\p{N}]?" upper "*" lower "+" end "|"                                           \
    "[^\\r\\n\\p{L}\\p{N}]?" upper "+" lower "*" end "|"
#define CAMEL_REST "| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]*|" BREAKS SPACES
#define NOT_LOWER  "[^\\P{L}a-z]"
#define NOT_UPPER  "[^\\P{L}A-Z]"
#define GPT4O      CAMEL(NOT_LOWER, NOT_UPPER, "(?:" SHORT_ANY ")?") "\\p{N}{1,3}" CAMEL_REST

#define CJK "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+"
/* What starts at U+0800 spans most of the plane; its white space stays outside. */
#define CJK_WIDE                                                                                   \
    "[\\x{800}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-"       \
    "\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{9fa5}\\x{ac00}-\\x{d7ff}]+"
/* The ideographs alone: no radicals, marks or numerals of that script. */
#define HAN                                                                                        \
    "\\x{3400}-\\x{4dbf}\\x{4e00}-\\x{9fff}\\x{f900}-\\x{faff}\\x{20000}-\\x{2a6df}"               \
    "\\x{2a700}-\\x{2ebef}\\x{2f800}-\\x{2fa1f}"
#define DEEPSEEK3_WORD(before) "[!-/:-@\\[-`{-~][A-Za-z]+|" before "?[\\p{L}\\p{M}]+|"
#define BEFORE_WORD            "[^\\r\\n\\p{L}\\p{P}\\p{S}]"

/* deepseek-llm's letters: those with case, of Unicode 10. */
#define CASED                                                                                      \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}"                 \
    "\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}"         \
    "\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}"                  \
    "\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}"                       \
    "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}"                 \
    "\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}"                 \
    "\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}"                 \
    "\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}"         \
    "\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}"        \
    "\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}"                  \
    "\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-"         \
    "\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{"     \
    "2183}"                                                                                        \
    "\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}"         \
    "\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}"                 \
    "\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}"                 \
    "\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}"             \
    "\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}"         \
    "\\x{1e900}-\\x{1e943}"

static const struct pre_family family_default = {
    {{"[\\p{P}$+<=>^~|]+", false}, {GPT2, false}, {"\\p{N}+", false}, {"[0-9][0-9][0-9]", false}}};
static const struct pre_family family_gpt2 = {{{GPT2, false}}};
static const struct pre_family family_starcoder = {{{"\\p{N}", false}, {GPT2, false}}};
static const struct pre_family family_falcon = {
    {{"[\\p{P}$+<=>^~|`]+", false}, {GPT2, false}, {"[0-9][0-9][0-9]", false}}};
static const struct pre_family family_llama3 = {{{GPT4("\\p{L}+", "\\p{N}{1,3}"), false}}};
static const struct pre_family family_qwen2 = {{{GPT4("\\p{L}+", "\\p{N}"), false}}};
static const struct pre_family family_qwen35 = {
    {{SHORT_ANY "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS
                "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" BREAKS SPACES,
      false}}};
static const struct pre_family family_k2_horizon = {
    {{GPT4("[\\p{L}\\p{M}\\x{200c}\\x{200d}]+", "\\p{N}{1,3}"), false}}};
static const struct pre_family family_minicpm5 = {
    {{"\\p{N}{1,3}", false}, {GPT4("\\p{L}+", "\\p{N}+"), false}}};
static const struct pre_family family_ufakzeka = {
    {{"[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n]*|" BREAKS SPACES,
      false}}};
static const struct pre_family family_seed_coder = {
    {{SHORT_ANY "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^" WS "\\p{L}\\p{N}]+|" BREAKS SPACES,
      false}}};
static const struct pre_family family_bailing = {
    {{SHORT_ANY "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n]*|" SPACE
                "*[\\r\\n]|" SPACES,
      false}}};
static const struct pre_family family_exaone_moe = {
    {{SHORT_ANY "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}[\\p{L}\\p{M}]*+(?: \\p{L}[\\p{L}\\p{M}]*+)*+|\\p{N}|"
                " ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]?|" SPACE "*[\\r\\n]|" SPACES,
      false}}};
static const struct pre_family family_jais2 = {
    {{SHORT_ANY "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^" WS
                "\\p{L}\\p{N}]+[\\r\\n]*|" BREAKS SPACE "{512}(?!" SOLID ")|" SPACE "{256}(?!" SOLID
                ")|" SPACE "{128}(?!" SOLID ")|" SPACE "{64}(?!" SOLID ")|" SPACE "{32}(?!" SOLID
                ")|" SPACE "{16}(?!" SOLID ")|" SPACE "{8}(?!" SOLID ")|" SPACE "{4}(?!" SOLID
                ")|" SPACE "{1,2}(?!" SOLID ")|" SPACE,
      false}}};
static const struct pre_family family_laguna = {
    {{"[^\\n]+|\\n+", false}, {GPT4("\\p{L}+", "\\p{N}"), false}}};
static const struct pre_family family_tekken = {
    {{CAMEL(NOT_LOWER, NOT_UPPER, "") "\\p{N}" CAMEL_REST, false}}};
static const struct pre_family family_gpt4o = {{{GPT4O, false}}};
static const struct pre_family family_granite_multi = {
    {{CAMEL("[^\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}a-z]", "[^\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}A-Z]",
            "(?:" SHORT_ANY ")?") "\\p{N}{1,3}" CAMEL_REST,
      false}}};
static const struct pre_family family_tiny_aya = {
    {{"[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+(?:" SHORT_ANY ")?|\\p{N}+" CAMEL_REST, false},
     {"\\p{N}+", true}}};
static const struct pre_family family_youtu = {
    {{"[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|"
      "[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}\\x{2019}\\x{2014}\\x{ff1a}\\x{ff1b}\\x{ff0c}"
      "\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+|[\\x{3105}-\\x{312f}]+|" CJK,
      false},
     {"[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+(?:" SHORT_ANY ")?|\\p{N}" CAMEL_REST, false}}};
static const struct pre_family family_kimi_k2 = {
    {{"[" HAN "]+|[^\\r\\n\\p{L}\\p{N}]?[^\\P{L}" HAN "]+(?:" SHORT_ANY ")?|\\p{N}{1,3}| ?[^" WS
      "\\p{L}\\p{N}]+[\\r\\n]*|" BREAKS SPACES,
      false}}};
static const struct pre_family family_superbpe = {{{"\\p{N}+", false}, {"[0-9]+", true}}};
static const struct pre_family family_deepseek_llm = {
    {{"[\\r\\n]", false},
     {SPACE "?[" CASED "]+", false},
     {SPACE "?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3001}\\x{3002}]+",
      false},
     {SPACE "++(?:\\z|(*SKIP)(*FAIL))", false},
     {CJK_WIDE, false},
     {"\\p{N}+", false}}};
static const struct pre_family family_deepseek_coder = {{{"[\\r\\n]", false},
                                                         {SPACE "?\\p{L}+", false},
                                                         {SPACE "?\\p{P}+", false},
                                                         {CJK_WIDE, false},
                                                         {"\\p{N}", false}}};
static const struct pre_family family_deepseek_v3 = {
    {{"\\p{N}{1,3}", false},
     {CJK, false},
     {DEEPSEEK3_WORD(BEFORE_WORD) " ?[\\p{P}\\p{S}]+[\\r\\n]*|" BREAKS SPACES, false}}};
static const struct pre_family family_spark = {
    {{"\\p{N}{1,3}", false},
     {CJK, false},
     {DEEPSEEK3_WORD(BEFORE_WORD) " ?[\\p{P}\\p{S}]+|[\\r\\n]|" SPACES, false},
     {"\\p{N}", false}}};
/* What no other part of afmoe's rule takes, like U+200B: it stays with digits behind it, as no cut
 * is before the first of them. The lookbehind keeps PCRE2's interpreter from trying a long run from
 * each of its characters; its machine code sees that by itself. */
#define UNSEEN "[^" WS "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}]"
/* The first range begins at U+8C48, which is what U+F900 became where this list was normalized. */
static const struct pre_family family_afmoe = {
    {{"[\\x{8c48}-\\x{faff}\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{3040}-\\x{30ff}"
      "\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{eff}\\x{1780}-\\x{17ff}\\x{1000}-\\x{"
      "109f}"
      "\\x{1100}-\\x{11ff}]+",
      false},
     {DEEPSEEK3_WORD(
          "[^\\r\\n\\p{L}\\p{N}\\p{P}\\p{S}]") "(?<!" UNSEEN ")" UNSEEN
                                               "*+\\p{N}+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" BREAKS
                                                   SPACES,
      false},
     {"\\p{N}\\K\\p{N}+", true}}};
#define BLOOM " ?[^(" WS "|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"
static const struct pre_family family_bloom = {{{BLOOM, false}}};
static const struct pre_family family_viking = {{{BLOOM, false}, {"\\p{N}", false}}};
static const struct pre_family family_chameleon = {{{"<sentinel:[0-9]+>", false},
                                                    {"IMGIMG[A-I]{1,4}Z", false},
                                                    {"[\\t\\n]|    |  ", false},
                                                    {"\\p{N}", false},
                                                    {"[\\p{P}!-/:-@\\[-`{-~]", false},
                                                    {GPT2, false}}};
static const struct pre_family family_lines = {{{"[^\\n]+|\\n+", false}}};
static const struct pre_family family_mmbert = {{{"\\n+|\\x{2581}[^\\n\\x{2581}]*", false}}};
static const struct pre_family family_whitespace = {{{SOLID "+", false}}};

static const struct pre_row rows[] = {
    {"default", &family_default, PRE_CLEAN_SPACES},
    {"minicpm5", &family_minicpm5, PRE_CLEAN_SPACES | PRE_WHOLE_WORD},
    {"llama3", &family_llama3, PRE_ADD_BOS | PRE_CLEAN_SPACES | PRE_WHOLE_WORD},
    {"llama-v3", &family_llama3, PRE_ADD_BOS | PRE_CLEAN_SPACES | PRE_WHOLE_WORD},
    {"llama-bpe", &family_llama3, PRE_ADD_BOS | PRE_CLEAN_SPACES | PRE_WHOLE_WORD},
    {"falcon3", &family_llama3, PRE_ADD_BOS | PRE_CLEAN_SPACES | PRE_WHOLE_WORD},
    {"falcon-h1", &family_llama3, PRE_ADD_BOS | PRE_CLEAN_SPACES | PRE_WHOLE_WORD},
    {"pixtral", &family_llama3, PRE_ADD_BOS | PRE_CLEAN_SPACES | PRE_WHOLE_WORD},
    {"midm-2.0", &family_llama3, PRE_ADD_BOS | PRE_CLEAN_SPACES | PRE_WHOLE_WORD},
    {"lfm2", &family_llama3, PRE_ADD_BOS | PRE_CLEAN_SPACES | PRE_WHOLE_WORD},
    {"jina-v5-nano", &family_llama3, PRE_ADD_BOS | PRE_CLEAN_SPACES | PRE_WHOLE_WORD},
    {"deepseek-llm", &family_deepseek_llm, 0},
    {"deepseek-coder", &family_deepseek_coder, 0},
    {"deepseek-v3", &family_deepseek_v3, 0},
    {"spark2_5", &family_spark, 0},
    {"youtu", &family_youtu, PRE_WHOLE_WORD},
    {"falcon", &family_falcon, PRE_CLEAN_SPACES},
    {"mpt", &family_gpt2, PRE_CLEAN_SPACES},
    {"starcoder", &family_starcoder, PRE_CLEAN_SPACES},
    {"gpt-2", &family_gpt2, PRE_CLEAN_SPACES},
    {"phi-2", &family_gpt2, PRE_CLEAN_SPACES},
    {"jina-es", &family_gpt2, PRE_CLEAN_SPACES},
    {"jina-de", &family_gpt2, PRE_CLEAN_SPACES},
    {"gigachat", &family_gpt2, PRE_CLEAN_SPACES},
    {"jina-v2-es", &family_gpt2, PRE_CLEAN_SPACES},
    {"jina-v2-de", &family_gpt2, PRE_CLEAN_SPACES},
    {"a.x-4.0", &family_gpt2, PRE_CLEAN_SPACES},
    {"mellum", &family_gpt2, PRE_CLEAN_SPACES},
    {"modern-bert", &family_gpt2, PRE_CLEAN_SPACES},
    {"jais-2", &family_jais2, PRE_CLEAN_SPACES},
    {"gemma4", &family_lines,
     PRE_ADD_BOS | PRE_CLEAN_SPACES | PRE_RAW | PRE_SPACE_MARK | PRE_WHOLE_LINES},
    {"granite-embed-multi-311m", &family_lines,
     PRE_ADD_BOS | PRE_CLEAN_SPACES | PRE_RAW | PRE_SPACE_MARK | PRE_WHOLE_LINES},
    {"mmbert", &family_mmbert,
     PRE_CLEAN_SPACES | PRE_RAW | PRE_SPACE_MARK | PRE_WHOLE_LINES | PRE_MARK_LINES},
    {"sarvam-moe", &family_lines, PRE_RAW | PRE_SPACE_MARK},
    {"jina-v1-en", &family_gpt2, PRE_CLEAN_SPACES},
    {"jina-v2-code", &family_gpt2, PRE_CLEAN_SPACES},
    {"roberta-bpe", &family_gpt2, PRE_CLEAN_SPACES},
    {"whitespace", &family_whitespace, PRE_CLEAN_SPACES | PRE_RAW},
    {"refact", &family_starcoder, PRE_CLEAN_SPACES},
    {"command-r", &family_starcoder, 0},
    {"qwen2", &family_qwen2, 0},
    {"deepseek-r1-qwen", &family_qwen2, 0},
    {"kormo", &family_qwen2, 0},
    {"f2llmv2", &family_qwen2, 0},
    {"qwen35", &family_qwen35, 0},
    {"stablelm2", &family_qwen2, PRE_CLEAN_SPACES},
    {"olmo", &family_gpt2, PRE_CLEAN_SPACES},
    {"dbrx", &family_llama3, PRE_CLEAN_SPACES},
    {"smaug-bpe", &family_llama3, PRE_CLEAN_SPACES},
    {"poro-chat", &family_bloom, 0},
    {"glm4", &family_llama3, PRE_CLEAN_SPACES | PRE_WHOLE_WORD},
    {"glm5", &family_llama3, PRE_CLEAN_SPACES | PRE_WHOLE_WORD},
    {"chatglm-bpe", &family_llama3, PRE_CLEAN_SPACES},
    {"viking", &family_viking, 0},
    {"jais", &family_gpt2, PRE_CLEAN_SPACES},
    {"tekken", &family_tekken, PRE_ADD_BOS | PRE_WHOLE_WORD},
    {"smollm", &family_starcoder, 0},
    {"codeshell", &family_starcoder, PRE_CLEAN_SPACES},
    {"bloom", &family_bloom, PRE_CLEAN_SPACES},
    {"gpt3-finnish", &family_bloom, PRE_CLEAN_SPACES},
    {"exaone", &family_starcoder, PRE_CLEAN_SPACES},
    {"exaone4", &family_gpt2, PRE_CLEAN_SPACES},
    {"exaone-moe", &family_exaone_moe, PRE_CLEAN_SPACES},
    {"chameleon", &family_chameleon, PRE_ADD_BOS},
    {"minerva-7b", &family_starcoder, PRE_CLEAN_SPACES},
    {"megrez", &family_qwen2, PRE_CLEAN_SPACES},
    {"gpt-4o", &family_gpt4o, 0},
    {"llama4", &family_gpt4o, 0},
    {"kanana2", &family_gpt4o, 0},
    {"talkie", &family_gpt4o, 0},
    {"granite-embed-multi-97m", &family_granite_multi, PRE_WHOLE_WORD},
    {"tiny_aya", &family_tiny_aya, 0},
    {"cohere2moe", &family_tiny_aya, 0},
    {"superbpe", &family_superbpe, 0},
    {"trillion", &family_gpt2, 0},
    {"granite-docling", &family_gpt2, 0},
    {"bailingmoe", &family_bailing, 0},
    {"bailingmoe2", &family_bailing, 0},
    {"llada-moe", &family_bailing, 0},
    {"seed-coder", &family_seed_coder, 0},
    {"hunyuan", &family_qwen2, 0},
    {"hunyuan-dense", &family_deepseek_v3, 0},
    {"hy_v4", &family_deepseek_v3, 0},
    {"joyai-llm", &family_deepseek_v3, 0},
    {"kimi-k2", &family_kimi_k2, 0},
    {"k2-horizon", &family_k2_horizon, 0},
    {"ufakzeka", &family_ufakzeka, 0},
    {"grok-2", &family_qwen2, 0},
    {"afmoe", &family_afmoe, 0},
    {"laguna", &family_laguna, 0},
    {"minimax-m2", &family_gpt4o, 0},
    {"solar-open", &family_qwen2, 0},
    {"mellum2", &family_starcoder, PRE_CLEAN_SPACES},
};

const struct pre_row *pre_row_at(size_t index)
{
    return index < ARRAY_LEN(rows) ? &rows[index] : NULL;
}

const struct pre_row *pre_row_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_equal(name, str_of(rows[i].name)))
            return &rows[i];
    return NULL;
}

const char *pre_nearest(struct str name)
{
    const char *names[ARRAY_LEN(rows) + 1];
    char word[64];
    if (name.len >= sizeof word)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        names[i] = rows[i].name;
    names[ARRAY_LEN(rows)] = NULL;
    for (size_t i = 0; i < name.len; i++)
        word[i] = name.ptr[i];
    word[name.len] = '\0';
    return nearest_name(word, names);
}
