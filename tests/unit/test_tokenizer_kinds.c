/* The tokenizer models beside SPM and BPE, on vocabularies worked out by hand. */
#include "harness/test.h"

#include "data/tokenizer/tiny_kinds.h"
#include "text/tokenizer_charsmap.h"
#include "text/tokenizer_kind.h"
#include "text/tokenizer_trie.h"

enum { MAX_IDS = 16 };

struct encoding {
    const char *text;
    int n;
    int32_t ids[MAX_IDS];
};

static void check_encoding(const struct tiny *tiny, unsigned flags, const struct encoding *row)
{
    struct token_list got = {0};
    struct strbuf ours = {0};
    assert_int_equal(tokenizer_encode(tiny->tokenizer, str_of(row->text), flags, &got), HTH_OK);
    bool same = got.count == (size_t)row->n;
    for (size_t i = 0; i < got.count; i++) {
        strbuf_printf(&ours, " %d", (int)got.ids[i]);
        same = same && got.ids[i] == row->ids[i];
    }
    if (!same)
        fail_msg("\"%s\" with flags %u became%s", row->text, flags, ours.len ? ours.ptr : " none");
    strbuf_free(&ours);
    token_list_free(&got);
}

static void check_encodings(const struct tiny *tiny, const struct encoding *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_encoding(tiny, 0, &rows[i]);
}

static void check_text(const struct tiny *tiny, const int32_t *ids, size_t n, bool special,
                       struct str expected)
{
    struct strbuf text = {0};
    assert_int_equal(tokenizer_decode(tiny->tokenizer, ids, n, special, &text), HTH_OK);
    if (!str_equal(strbuf_str(&text), expected))
        fail_msg("\"%.*s\" instead of \"%.*s\"", (int)text.len, text.ptr ? text.ptr : "",
                 (int)expected.len, expected.ptr);
    strbuf_free(&text);
}

static struct tiny open_kind(const char *model)
{
    struct tiny tiny;
    test_log_clear();
    if (tiny_open_kind(&tiny, model, test_log()) != HTH_OK)
        fail_msg("%s", test_log_text());
    return tiny;
}

/* With a flag beside the keys of the vocabulary. */
static struct tiny open_with(const char *model, const char *name, bool value)
{
    struct gguf_writer *writer;
    struct tiny tiny;
    test_log_clear();
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    tiny_put_kind(writer, model);
    gguf_put_bool(writer, name, value);
    if (tiny_open_writer(&tiny, writer, test_log()) != HTH_OK)
        fail_msg("%s", test_log_text());
    return tiny;
}

/* With tokens behind those of the vocabulary; returns the id of the first of them. */
static int32_t open_with_tokens(struct tiny *tiny, const char *model,
                                const struct tiny_token *tokens, size_t n)
{
    struct gguf_writer *writer;
    static struct tiny_lists lists;
    test_log_clear();
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    tiny_kind_lists(&lists, model);
    int32_t first = (int32_t)lists.n;
    tiny_add_all(&lists, tokens, n);
    gguf_put_str(writer, "tokenizer.ggml.model", str_of(model));
    tiny_put_lists(writer, &lists);
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, lists.scores, lists.n);
    if (tiny_open_writer(tiny, writer, test_log()) != HTH_OK)
        fail_msg("%s", test_log_text());
    return first;
}

/* --- WordPiece --- */

TEST(wpm_takes_the_longest_from_the_left)
{
    static const struct encoding rows[] = {
        {"", 0, {0}},     {"hes", 2, {4, 12}}, {"hello", 1, {1}}, /* the longest is "hell", and
                                                                     nothing goes on from it */
        {"hell", 1, {6}}, {"s", 1, {11}},      {"hex he", 2, {1, 4}}, {" he\n\the ", 2, {4, 4}},
    };
    struct tiny tiny = open_kind("bert");
    check_encodings(&tiny, rows, ARRAY_LEN(rows));
    tiny_close(&tiny);
}

TEST(wpm_cuts_and_cleans_before)
{
    static const struct encoding rows[] = {
        {"he,he's", 5, {4, 7, 4, 13, 11}},
        {"$s", 2, {15, 11}}, /* of the symbols those of ASCII stand alone */
        {"s\xe4\xb8\xad\xe4\xb8\xads", 4, {11, 8, 8, 11}},
        {"h\x01\xe2\x80\x8d\x65", 1, {4}}, /* control and format characters go */
        {"he\xef\xbf\xbd", 1, {4}},
        {"he\xff", 1, {4}}, /* as what stands for bytes that are no character does */
        {"he\xc2\xa0he", 2, {4, 4}},
        {"he\xe2\x82\xac", 1, {1}}, /* others stay in their word */
        {"h\xcd\xb8", 1, {1}},      /* U+0378 is not assigned, and stays */
    };
    struct tiny tiny = open_kind("bert");
    check_encodings(&tiny, rows, ARRAY_LEN(rows));
    tiny_close(&tiny);
}

TEST(wpm_without_case_has_no_accents)
{
    static const struct encoding uncased[] = {
        {"CAF\xc3\x89", 1, {9}}, {"cafe\xcc\x81", 1, {9}}, {"he\xcc\x81", 1, {4}}};
    static const struct encoding cased[] = {
        {"caf\xc3\xa9", 1, {10}}, {"Cafe", 1, {14}}, {"CAFE", 1, {1}}, {"he\xcc\x81", 1, {16}}};
    struct tiny tiny = open_kind("bert");
    check_encodings(&tiny, uncased, ARRAY_LEN(uncased));
    tiny_close(&tiny);
    tiny = open_with("bert", "tokenizer.ggml.normalizer.lowercase", false);
    check_encodings(&tiny, cased, ARRAY_LEN(cased));
    tiny_close(&tiny);
}

/* "s" on both sides: in one word with it, or three words of which the middle one is unknown. */
static void check_stands_alone(const struct tiny *tiny, uint32_t c, bool alone)
{
    static const int32_t three[] = {11, 1, 11}, one[] = {1};
    struct encoding row = {.n = alone ? 3 : 1};
    struct strbuf text = {0};
    strbuf_append_char(&text, 's');
    strbuf_append_utf8(&text, c);
    strbuf_append_char(&text, 's');
    row.text = text.ptr;
    memcpy(row.ids, alone ? three : one, alone ? sizeof three : sizeof one);
    check_encoding(tiny, 0, &row);
    strbuf_free(&text);
}

/* The blocks of _is_chinese_char in BERT's tokenization.py, of which the sixth begins at U+2B920 in
 * Hugging Face's tokenizers (bert.rs) and llama.cpp. Two that touch stand in one row; U+F8FF, of
 * private use, is dropped. */
TEST(wpm_chinese_characters_stand_alone)
{
    static const uint32_t blocks[][2] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},
                                         {0x20000, 0x2a6df}, {0x2a700, 0x2b81f}, {0x2b920, 0x2ceaf},
                                         {0x2f800, 0x2fa1f}};
    static const struct encoding dropped = {"s\xef\xa3\xbfs", 2, {11, 12}};
    /* Without case a character becomes the base of its decomposition, here one of U+4E00 and on. */
    struct tiny tiny = open_with("bert", "tokenizer.ggml.normalizer.lowercase", false);
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        check_stands_alone(&tiny, blocks[i][0], true);
        check_stands_alone(&tiny, blocks[i][1], true);
        if (blocks[i][0] != 0xf900)
            check_stands_alone(&tiny, blocks[i][0] - 1, false);
        check_stands_alone(&tiny, blocks[i][1] + 1, false);
    }
    check_stands_alone(&tiny, 0x2b73f, true);
    check_stands_alone(&tiny, 0x2b740, true);
    check_encoding(&tiny, 0, &dropped);
    tiny_close(&tiny);
}

TEST(wpm_text_stands_between_cls_and_sep)
{
    static const struct encoding both = {"he", 3, {2, 4, 3}}, empty = {"", 2, {2, 3}},
                                 front = {"he", 2, {2, 4}}, behind = {"he", 2, {4, 3}};
    struct tiny tiny = open_kind("bert");
    check_encoding(&tiny, TOKEN_ADD_BOS | TOKEN_ADD_END, &both);
    check_encoding(&tiny, TOKEN_ADD_BOS | TOKEN_ADD_END, &empty);
    check_encoding(&tiny, TOKEN_ADD_BOS, &front);
    check_encoding(&tiny, TOKEN_ADD_END, &behind);
    tiny_close(&tiny);
    tiny = open_with("bert", "tokenizer.ggml.add_sep_token", false);
    check_encoding(&tiny, TOKEN_ADD_BOS | TOKEN_ADD_END, &front);
    tiny_close(&tiny);
    tiny = open_with("bert", "tokenizer.ggml.add_bos_token", false);
    check_encoding(&tiny, TOKEN_ADD_BOS | TOKEN_ADD_END, &behind);
    tiny_close(&tiny);
}

TEST(wpm_decoding_cleans_spaces)
{
    static const int32_t ids[] = {2, 4, 5, 7, 6, 13, 11, 3};
    struct tiny tiny = open_kind("bert");
    check_text(&tiny, ids, ARRAY_LEN(ids), false, STR(" hello, hell's"));
    check_text(&tiny, ids, ARRAY_LEN(ids), true, STR("[CLS] hello, hell's[SEP]"));
    tiny_close(&tiny);
}

/* --- unigram --- */

TEST(ugm_takes_the_best_sum)
{
    static const struct encoding rows[] = {
        {"", 0, {0}},
        {"b", 1, {5}},
        {"ab", 1, {6}}, /* as good as "a" and "b", and begins earlier */
        {"aba", 2, {4, 8}},
        {"a b", 3, {4, 3, 5}},
        {" a", 1, {7}},
        {"zz", 1, {10}}, /* tokens out of use are no worse than others */
        {"a<tool>b", 3, {4, 9, 5}},
        {"<tool", 2, {13, 2}},
        {"fiq", 2, {2, 14}}, /* better than "fi" and the unknown token for "q" */
    };
    struct tiny tiny = open_kind("t5");
    check_encodings(&tiny, rows, ARRAY_LEN(rows));
    tiny_close(&tiny);
}

TEST(ugm_writes_one_unknown_token_for_a_run)
{
    static const struct encoding rows[] = {
        {"\xe4\xb8\xad", 1, {2}},
        {"\xe4\xb8\xad\xe4\xb8\xad q", 3, {2, 3, 2}},
        {"a\xff\xfe\xe4\xb8\xad"
         "b",
         3,
         {4, 2, 5}},
    };
    struct tiny tiny = open_kind("t5");
    check_encodings(&tiny, rows, ARRAY_LEN(rows));
    tiny_close(&tiny);
}

TEST(ugm_rewrites_by_the_character_map)
{
    static const struct encoding rows[] = {
        {"\xef\xac\x81", 1, {11}},
        {"\xef\xbd\x81", 1, {4}},
        {"x", 1, {5}},
        {"axya", 2, {4, 4}}, /* the longest that is rewritten, to nothing */
        {"xz", 2, {5, 2}},
        {"e\xcc\x81", 1, {12}},
        {"e", 1, {2}},
        {"b\xe3\x80\x80"
         "a",
         2,
         {5, 7}},
        {"\xef\xbc\x9ctool>", 1, {9}}, /* nothing is better than a token of the user's */
        {"\xef\xac", 1, {2}},          /* the beginning of a key is none */
    };
    struct tiny tiny = open_kind("t5");
    check_encodings(&tiny, rows, ARRAY_LEN(rows));
    tiny_close(&tiny);
}

TEST(ugm_treats_spaces_as_the_file_says)
{
    static const struct encoding merged[] = {
        {"a", 1, {7}}, {"  a   b ", 3, {7, 3, 5}}, {"  ", 0, {0}}};
    static const struct encoding prefixed[] = {
        {"a", 1, {7}}, {" a", 2, {3, 7}}, {"a  ", 3, {7, 3, 3}}, {" ", 1, {3}}};
    struct tiny tiny = open_with("t5", "tokenizer.ggml.remove_extra_whitespaces", true);
    check_encodings(&tiny, merged, ARRAY_LEN(merged));
    tiny_close(&tiny);
    tiny = open_with("t5", "tokenizer.ggml.add_space_prefix", true);
    check_encodings(&tiny, prefixed, ARRAY_LEN(prefixed));
    static const int32_t ids[] = {7, 7};
    check_text(&tiny, ids, 2, false, STR("a a"));
    tiny_close(&tiny);
}

TEST(ugm_text_ends_with_eos)
{
    static const struct encoding row = {"b", 2, {5, 1}}, none = {"b", 1, {5}};
    struct tiny tiny = open_kind("t5");
    check_encoding(&tiny, TOKEN_ADD_BOS | TOKEN_ADD_END, &row);
    check_encoding(&tiny, TOKEN_ADD_BOS, &none);
    tiny_close(&tiny);
    tiny = open_with("t5", "tokenizer.ggml.add_eos_token", false);
    check_encoding(&tiny, TOKEN_ADD_BOS | TOKEN_ADD_END, &none);
    tiny_close(&tiny);
}

/* SentencePiece's unknown token is 10 worse than the worst of normal ones, here U+2581 "<" of -9:
 * two are -38. Tokens out of use do not count for that, and may be as bad. */
TEST(ugm_unknown_costs_ten_more_than_the_worst)
{
    static const struct tiny_token tokens[] = {
        {"cd", TOKEN_UNUSED, -38},
        {"ef", TOKEN_UNUSED, -38.001f},
        {"gh", TOKEN_UNUSED, -37.999f},
    };
    struct tiny tiny;
    int32_t first = open_with_tokens(&tiny, "t5", tokens, ARRAY_LEN(tokens));
    const struct encoding rows[] = {{"cd", 1, {first}}, {"ef", 1, {2}}, {"gh", 1, {first + 2}}};
    check_encodings(&tiny, rows, ARRAY_LEN(rows));
    tiny_close(&tiny);
}

/* --- RWKV --- */

TEST(rwkv_reads_escapes)
{
    static const struct encoding rows[] = {
        {"", 0, {0}},
        {"hello", 1, {258}},
        {"hell", 3, {257, 1 + 'l', 1 + 'l'}},
        {"\n\n\n", 2, {259, 1 + '\n'}},
        {"caf\xc3\xa9", 1, {260}},
        {"\\x41", 3, {261, 1 + '4', 1 + '1'}}, /* the text of an escape is none */
        {"it's", 1, {262}},
        {"\t\r", 1, {263}},
        {"\xe2\x82\xac", 2, {264, 1 + 0xac}},
        {"<s>", 1, {0}}, /* control tokens' texts are text like any other */
        {"\xff", 1, {1 + 0xff}},
    };
    struct tiny tiny = open_kind("rwkv");
    check_encodings(&tiny, rows, ARRAY_LEN(rows));
    static const int32_t ids[] = {0, 260, 261, 262, 263, 264, 1 + 0xac};
    check_text(&tiny, ids, ARRAY_LEN(ids), false, STR("caf\xc3\xa9\\xit's\t\r\xe2\x82\xac"));
    check_text(&tiny, ids, 2, true, STR("<s>caf\xc3\xa9"));
    tiny_close(&tiny);
}

TEST(rwkv_goes_on_after_a_byte_without_a_token)
{
    static const struct str texts[] = {{"<unk>", 5}, {"a", 1}, {"abc", 3}};
    static const struct encoding row = {"xxaab\xff", 6, {0, 0, 1, 1, 0, 0}};
    for (int unknown = 0; unknown < 2; unknown++) {
        struct gguf_writer *writer;
        struct tiny tiny;
        assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
        gguf_put_str(writer, "tokenizer.ggml.model", STR("rwkv"));
        gguf_put_strs(writer, "tokenizer.ggml.tokens", texts, ARRAY_LEN(texts));
        if (unknown)
            gguf_put_u32(writer, "tokenizer.ggml.unknown_token_id", 0);
        assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
        static const struct encoding none = {"xxaab\xff", 2, {1, 1}};
        check_encoding(&tiny, 0, unknown ? &row : &none);
        tiny_close(&tiny);
    }
}

/* Which characters are digits of an escape, and what stays of one without two of them: all but the
 * backslash. */
TEST(rwkv_escapes_have_two_digits)
{
    static const struct {
        const char *token, *text;
    } rows[] = {
        {"\\x40#", "@#"},    {"\\x49#", "I#"},   {"\\x4a#", "J#"},    {"\\x4f#", "O#"},
        {"\\x4A~", "J~"},    {"\\x4F~", "O~"},   {"\\xa0#", "\xa0#"}, {"\\xF9#", "\xf9#"},
        {"\\x4/#", "x4/#"},  {"\\x4:#", "x4:#"}, {"\\x4@#", "x4@#"},  {"\\x4G#", "x4G#"},
        {"\\x4`#", "x4`#"},  {"\\x4g#", "x4g#"}, {"\\x/4#", "x/4#"},  {"\\x:4#", "x:4#"},
        {"\\x@4#", "x@4#"},  {"\\xG4#", "xG4#"}, {"\\x`4#", "x`4#"},  {"\\xg4#", "xg4#"},
        {"#\\x5", "#x5"},    {"#\\x", "#x"},     {"#\\", "#\\"},      {"\\q#", "q#"},
        {"\\x\\n#", "x\n#"},
    };
    struct tiny_token tokens[ARRAY_LEN(rows)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tokens[i] = (struct tiny_token){rows[i].token, TOKEN_NORMAL, 0};
    struct tiny tiny;
    int32_t first = open_with_tokens(&tiny, "rwkv", tokens, ARRAY_LEN(rows));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int32_t id = first + (int32_t)i;
        check_encoding(&tiny, 0, &(struct encoding){rows[i].text, 1, {id}});
        check_text(&tiny, &id, 1, false, str_of(rows[i].text));
    }
    tiny_close(&tiny);
}

/* --- PLaMo --- */

TEST(plamo_takes_the_cheapest_way)
{
    static const struct encoding rows[] = {
        {"", 0, {0}},
        {"ab", 1, {262}},       /* as good as two tokens: the longer one */
        {"aba", 2, {260, 263}}, /* 2 + 3.5 is less than 4 + 2 */
        {"a b", 2, {267, 261}},
        {"c", 1, {4 + 'c'}},
        {"a\xc3\xa9", 3, {260, 4 + 0xc3, 4 + 0xa9}},
        {"\xe4\xb8\xad", 1, {266}},
        {"\xff\xe4\xb8", 3, {4 + 0xff, 4 + 0xe4, 4 + 0xb8}}, /* as they are */
        {"<0x41>", 6, {4 + '<', 4 + '0', 4 + 'x', 4 + '4', 4 + '1', 4 + '>'}},
        {"<|plamo:bos|>", 1, {1}}, /* control tokens' texts are text like any other */
    };
    for (int i = 0; i < 2; i++) {
        struct tiny tiny = open_kind(i ? "plamo3" : "plamo2");
        check_encodings(&tiny, rows, ARRAY_LEN(rows));
        static const int32_t ids[] = {1, 262, 4 + 0xc3, 4 + 0xa9, 264};
        check_text(&tiny, ids, ARRAY_LEN(ids), false, STR("ab\xc3\xa9 "));
        tiny_close(&tiny);
    }
}

/* A character that no token covers costs 10⁷, a token its score × −10⁴, rounded, and one of 2 × 10⁷
 * or more is never taken (tokenization_plamo.py: UNKNOWN_SCORE, INVALID_SCORE). */
TEST(plamo_unknown_costs_as_much_as_a_thousand)
{
    static const struct tiny_token tokens[] = {
        {"c", TOKEN_NORMAL, -1000},     {"d", TOKEN_NORMAL, -1000.0001f},
        {"e", TOKEN_NORMAL, -999.9f},   {"fff", TOKEN_NORMAL, -1999.9999f},
        {"ggg", TOKEN_NORMAL, -2000},   {"hh", TOKEN_NORMAL, -0.00016f},
        {"h", TOKEN_NORMAL, -0.00006f}, {"ii", TOKEN_NORMAL, -0.00024f},
        {"i", TOKEN_NORMAL, -0.00006f},
    };
    struct tiny tiny;
    int32_t first = open_with_tokens(&tiny, "plamo2", tokens, ARRAY_LEN(tokens));
    const struct encoding rows[] = {
        {"c", 1, {first}},
        {"d", 1, {4 + 'd'}},
        {"e", 1, {first + 2}},
        {"fff", 1, {first + 3}},
        {"ggg", 3, {4 + 'g', 4 + 'g', 4 + 'g'}},
        {"hh", 1, {first + 5}}, /* 2 and 1 + 1, as good, though not so before rounding */
        {"ii", 1, {first + 7}}, /* rounded up it would be 3 */
    };
    check_encodings(&tiny, rows, ARRAY_LEN(rows));
    tiny_close(&tiny);
}

TEST(plamo3_cuts_runs_out)
{
    static const struct encoding two[] = {
        {"a  b", 3, {267, 264, 261}},
        {"baaaa", 2, {261, 268}},
        {"aaaab", 2, {268, 261}},
        {"\xef\xbb\xbf"
         "a",
         1,
         {260}},
    };
    static const struct encoding three[] = {
        {"a  b", 4, {260, 264, 264, 261}},
        {"a b", 2, {267, 261}},
        {"baaaa", 2, {261, 268}},
        {"baaaaa ", 4, {261, 268, 260, 264}}, /* without the cut "a " would be better */
        {"aaa b", 4, {260, 260, 267, 261}},   /* three are no run */
        {"\n\n\n\nb", 4, {14, 14, 14, 269}},
        {"\n\n\n\n\n", 5, {14, 14, 14, 14, 14}},
        {"\xef\xbb\xbf"
         "a",
         4,
         {4 + 0xef, 4 + 0xbb, 4 + 0xbf, 260}},
    };
    struct tiny tiny = open_kind("plamo2");
    check_encodings(&tiny, two, ARRAY_LEN(two));
    tiny_close(&tiny);
    tiny = open_kind("plamo3");
    check_encodings(&tiny, three, ARRAY_LEN(three));
    tiny_close(&tiny);
}

/* --- DNA, white space --- */

TEST(hybriddna_takes_six_bases_at_once)
{
    static const struct encoding rows[] = {
        {"", 0, {0}},
        {"hell", 1, {258}},
        {"<dna></dna>", 2, {270, 271}},
        {"he<dna>ACGTACacgtac</dna>ll", 6, {256, 270, 273, 273, 271, 257}},
        {"<dna>ACGTACC", 3, {270, 273, 274}}, /* filled up, and never closed */
        {"<dna>ACGTAN</dna>", 3, {270, 272, 271}},
        {"<dna>\xe4\xb8\xad\xe4\xb8\xad", 2, {270, 272}},
        {"<dna><dna>A</dna></dna>", 9, {270, 272, 271, '<', '/', 'd', 'n', 'a', '>'}},
        {"ACGTAC", 6, {'A', 'C', 'G', 'T', 'A', 'C'}},
        {"<dna", 4, {'<', 'd', 'n', 'a'}},
    };
    struct tiny tiny = open_kind("hybriddna");
    check_encodings(&tiny, rows, ARRAY_LEN(rows));
    static const int32_t ids[] = {256, 270, 273, 274, 272, 271, 275};
    check_text(&tiny, ids, ARRAY_LEN(ids), false, STR("he<dna>ACGTACCAAAAA<oov></dna>ACGTAC"));
    tiny_close(&tiny);
}

TEST(whitespace_loses_it)
{
    static const struct encoding rows[] = {
        {"", 0, {0}},
        {"  \n\t", 0, {0}},
        {" hell  he\n\xe3\x80\x80w", 3, {258, 256, 'w'}},
        {"a\xff", 2, {'a', 0xff}},
    };
    struct tiny tiny = open_kind("whitespace");
    check_encodings(&tiny, rows, ARRAY_LEN(rows));
    tiny_close(&tiny);
}

/* --- beginnings and ends --- */

TEST(a_token_that_is_wanted_and_missing_is_not_added)
{
    static const struct encoding row = {"h", 1, {1 + 'h'}};
    struct tiny tiny = open_with("rwkv", "tokenizer.ggml.add_eos_token", true);
    assert_logged("wants an EOS token but names none");
    check_encoding(&tiny, TOKEN_ADD_BOS | TOKEN_ADD_END, &row);
    tiny_close(&tiny);
}

TEST(plamo_adds_what_keys_say)
{
    static const struct encoding row = {"a", 2, {260, 2}};
    struct tiny tiny = open_with("plamo2", "tokenizer.ggml.add_eos_token", true);
    check_encoding(&tiny, TOKEN_ADD_BOS | TOKEN_ADD_END, &row);
    tiny_close(&tiny);
}

TEST(a_separator_stands_behind_text_in_bert_alone)
{
    struct gguf_writer *writer;
    struct tiny tiny;
    static const struct encoding row = {"a", 1, {260}};
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    tiny_put_kind(writer, "plamo2");
    gguf_put_u32(writer, "tokenizer.ggml.seperator_token_id", 3);
    gguf_put_bool(writer, "tokenizer.ggml.add_sep_token", true);
    assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
    check_encoding(&tiny, TOKEN_ADD_BOS | TOKEN_ADD_END, &row);
    tiny_close(&tiny);
}

/* --- their parts --- */

TEST(trie_finds_every_beginning)
{
    static const char *const texts[] = {"a", "abc", "abcdef", "abd", "b", "abc", "\xff", "z\xff"};
    struct trie trie = {0};
    for (uint32_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_true(trie_add(&trie, str_of(texts[i]), i));
    assert_true(trie_add(&trie, STR(""), 99));
    assert_true(trie_build(&trie));
    struct trie_walk walk = trie_walk_from(&trie, STR("abcdefg"));
    static const uint32_t ids[] = {0, 5, 2}; /* of equal texts the last */
    static const size_t lens[] = {1, 3, 6};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(trie_next(&walk), ids[i]);
        assert_int_equal(walk.len, lens[i]);
    }
    assert_int_equal(trie_next(&walk), TRIE_NONE);
    assert_int_equal(trie_next(&walk), TRIE_NONE);
    size_t len;
    assert_int_equal(trie_longest(&trie, STR("abcde"), &len), 5);
    assert_int_equal(len, 3);
    assert_int_equal(trie_longest(&trie, STR("z"), &len), TRIE_NONE);
    assert_int_equal(len, 0);
    assert_int_equal(trie_longest(&trie, STR(""), &len), TRIE_NONE);
    assert_int_equal(trie_longest(&trie, STR("\xff"), &len), 6);
    trie_free(&trie);
    assert_true(trie_build(&trie));
    assert_int_equal(trie_longest(&trie, STR("a"), &len), TRIE_NONE);
    trie_free(&trie);
}

/* An offset in units of 256. */
TEST(charsmap_reads_large_offsets)
{
    uint8_t bytes[2 * 4 * 256] = {0};
    struct charsmap map = {bytes, 2 * 256, {"no\0yes", 7}};
    struct str written;
    uint32_t root = 1 << 10 | 0x200, child = 'a' | 1 << 10 | 0x100, leaf = 0x80000000u | 3;
    memcpy(bytes, &root, 4);
    memcpy(bytes + 4 * (0x100 ^ 'a'), &child, 4);
    memcpy(bytes + 4 * (0x100 ^ 'a' ^ 1), &leaf, 4);
    assert_int_equal(charsmap_match(&map, STR("ab"), &written), 1);
    assert_true(str_equal(written, STR("yes")));
    assert_int_equal(charsmap_match(&map, STR("b"), &written), 0);
}

TEST(charsmap_rewrites_the_longest)
{
    struct gguf_writer *writer;
    struct gguf *gguf;
    struct strbuf bytes = {0};
    struct charsmap map;
    struct str written;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    tiny_put_map(writer);
    assert_int_equal(gguf_writer_save_memory(writer, &bytes), HTH_OK);
    gguf_writer_destroy(writer);
    assert_int_equal(gguf_open_memory(&gguf, bytes.ptr, bytes.len, "map", test_log()), HTH_OK);
    assert_int_equal(charsmap_load(&map, gguf, test_log()), HTH_OK);
    for (size_t i = 0; i < ARRAY_LEN(tiny_rewritings); i++) {
        struct str from = str_of(tiny_rewritings[i].from);
        assert_int_equal(charsmap_match(&map, from, &written), from.len);
        assert_true(str_equal(written, str_of(tiny_rewritings[i].to)));
        assert_int_equal(charsmap_match(&map, str_slice(from, 1, from.len), &written), 0);
    }
    assert_int_equal(charsmap_match(&map, STR("xz"), &written), 1);
    assert_int_equal(charsmap_match(&map, STR("xyz"), &written), 2);
    assert_int_equal(charsmap_match(&map, STR(""), &written), 0);
    gguf_close(gguf);
    strbuf_free(&bytes);
}
