#include "harness/test.h"

#include <time.h>

#include "base/mem.h"
#include "data/tokenizer/joins.h"
#include "text/pretokenize.h"

static struct pretokenizer *make(const struct pre_family *family)
{
    struct pretokenizer *made;
    test_log_clear();
    if (pretokenizer_create(&made, family, test_log()) != HTH_OK)
        fail_msg("%s", test_log_text());
    return made;
}

/* Words of a text, with '|' between them. */
static void check_words(const char *pre, const char *text, const char *expected)
{
    const struct pre_row *row = pre_row_find(str_of(pre));
    assert_non_null(row);
    struct pretokenizer *pretokenizer = make(row->family);
    struct pre_cuts cuts = {0};
    struct strbuf words = {0};
    assert_int_equal(pretokenize(pretokenizer, str_of(text), &cuts), HTH_OK);
    for (size_t i = 0, from = 0; i < cuts.count; from = cuts.ends[i++]) {
        if (i)
            strbuf_append_char(&words, '|');
        strbuf_append(&words, str_slice(str_of(text), from, cuts.ends[i]));
    }
    if (!str_equal(strbuf_str(&words), str_of(expected)))
        fail_msg("%s: \"%s\" was cut into \"%s\"", pre, text, words.ptr);
    strbuf_free(&words);
    pre_cuts_free(&cuts);
    pretokenizer_destroy(pretokenizer);
}

#define ZHONG "\xe4\xb8\xad" /* U+4E2D, an ideograph */
#define ACUTE "\xcc\x81"     /* U+0301, a mark */
#define NBSP  "\xc2\xa0"
#define ZWSP  "\xe2\x80\x8b" /* U+200B, neither white space nor a mark */
#define ONE   "\xd9\xa1"     /* U+0661, a digit */

/* Worked out from the published expressions; the golden data says the same of far more texts. */
static const char *const words[][3] = {
    {"gpt-2", "I'm  not 'RE 12345 a!?", "I|'m| | not| '|RE| 12345| a|!?"},
    {"gpt-2", "a\n\n b\t", "a|\n\n| b|\t"},
    {"gpt-2", "a\nb" NBSP "c", "a|\n|b|" NBSP "|c"},
    {"smollm", "in 1984!", "in| |1|9|8|4|!"},
    {"falcon", "a`b 12345", "a|`|b| |123|45"},
    {"default", "a`b, 1234", "a|`|b|,| |123|4"},
    {"llama-bpe", "I'M 1234567 x!!\n\ny", "I|'M| |123|456|7| x|!!\n\n|y"},
    {"llama-bpe", "a  \n  b   c", "a|  \n| | b|  | c"},
    {"llama-bpe", "don'\xc5\xbfx", "don|'\xc5\xbfx"}, /* U+017F is no s */
    {"qwen2", "x 123", "x| |1|2|3"},
    {"qwen2", "e" ACUTE "e", "e|" ACUTE "e"},
    {"qwen35", "e" ACUTE "e", "e" ACUTE "e"},
    {"seed-coder", "a!\n", "a|!|\n"},
    {"bailingmoe", "a\n\nb", "a|\n\n|b"},
    {"exaone-moe", "the old man 1", "the old man| |1"},
    {"gpt-4o", "CamelCase HTTPServer's a/\n/", "Camel|Case| HTTPServer's| a|/\n/"},
    {"tekken", "iPhone's 12", "i|Phone|'s| |1|2"},
    {"deepseek-v3", "a" ZHONG "b 1234 +x !", "a|" ZHONG "|b| |123|4| +|x| !"},
    {"deepseek-coder", " ab, 12\n", " ab|,| |1|2|\n"},
    {"deepseek-llm", "ab  12  ", "ab|  |12|  "},
    {"kimi-k2", "a" ZHONG "b 1234", "a|" ZHONG "|b| |123|4"},
    {"kimi-k2",
     ZHONG "\xf0\xaa\x9b\xa0"
           "a",
     ZHONG "|\xf0\xaa\x9b\xa0"
           "a"}, /* U+2A6E0 */
    {"superbpe", "no 1234567 cuts", "no |1|234|567| cuts"},
    {"tiny_aya", "a  12345b", "a| | |12|345|b"},
    {"afmoe", "a  12345b", "a| | |12|345|b"},
    {"afmoe", "a" ZWSP ZWSP "12345" ZWSP "123" ZWSP "x" ZWSP "!1",
     "a|" ZWSP ZWSP "12|345|" ZWSP "123|" ZWSP "x|" ZWSP "|!|1"},
    {"afmoe", "e" ACUTE ZWSP "1 " ZWSP "2", "e" ACUTE "|" ZWSP "1| |" ZWSP "2"},
    {"superbpe", "a12345" ONE "234" ONE "5", "a|12|345" ONE "|234" ONE "5"},
    {"superbpe", "a1204b1294c", "a|1|204|b|1|294|c"},
    {"default", "000999909", "000|999|909"},
    {"falcon", "000999909", "000|999|909"},
    {"minicpm5", "a 1234", "a| |123|4"},
    {"laguna", "a\n\n\nb c", "a|\n\n\n|b| c"},
    {"jais-2", "a      b", "a|    | | b"},
    {"bloom", "Yes, (no). x", "Yes|, (|no|).| x"},
    {"viking", "a12", "a|1|2"},
    {"chameleon", "<sentinel:7>IMGIMGABZ  a", "<|sentinel|:|7|>|IMGIMGABZ|  |a"},
    {"chameleon", "aIMGIMGAIZb", "a|IMGIMGAIZ|b"},
    {"chameleon", "aIMGIMGABCDZb", "a|IMGIMGABCDZ|b"},
    {"chameleon", "aIMGIMGZb aIMGIMGAAAAAZb", "aIMGIMGZb| aIMGIMGAAAAAZb"},
    {"chameleon", "aIMGIMGJZb aIMGIMG@Zb", "aIMGIMGJZb| aIMGIMG|@|Zb"},
    {"gemma4", "a b\n\nc", "a b|\n\n|c"},
    {"mmbert",
     "\xe2\x96\x81"
     "a\xe2\x96\x81"
     "b\n",
     "\xe2\x96\x81"
     "a|\xe2\x96\x81"
     "b|\n"},
    /* U+2580 and U+2582 beside the mark */
    {"mmbert",
     "a\xe2\x96\x80"
     "b\xe2\x96\x82"
     "c",
     "a\xe2\x96\x80"
     "b\xe2\x96\x82"
     "c"},
    {"mmbert",
     "\xe2\x96\x81\xe2\x96\x80"
     "b\xe2\x96\x82"
     "c",
     "\xe2\x96\x81\xe2\x96\x80"
     "b\xe2\x96\x82"
     "c"},
    {"whitespace", "ab  cd", "ab|  |cd"},
    {"k2-horizon",
     "a\xe2\x80\x8d"
     "b 1234",
     "a\xe2\x80\x8d"
     "b| |123|4"},
    /* U+200C, and U+200B and U+200E beside the joiners */
    {"k2-horizon",
     "a\xe2\x80\x8c"
     "b",
     "a\xe2\x80\x8c"
     "b"},
    {"k2-horizon",
     "a\xe2\x80\x8b"
     "b\xe2\x80\x8e"
     "c",
     "a|\xe2\x80\x8b"
     "b|\xe2\x80\x8e"
     "c"},
    {"ufakzeka", "a's 12", "a|'s| |1|2"},
    {"spark2_5", "a!\nb", "a|!|\n|b"},
    {"youtu", "ABcd's 12" ZHONG, "ABcd's| |1|2|" ZHONG},
    {"granite-embed-multi-97m", "ABcd e" ACUTE "f", "ABcd| e" ACUTE "f"},
};

TEST(families_cut_as_published)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        check_words(words[i][0], words[i][1], words[i][2]);
}

/* How a character between two texts joins them, as in joins.h. */
static int join_of(const struct pretokenizer *pretokenizer, const char *before, uint32_t character,
                   const char *after)
{
    struct strbuf text = {0};
    struct pre_cuts cuts = {0};
    strbuf_append(&text, str_of(before));
    size_t from = text.len;
    strbuf_append_utf8(&text, character);
    size_t to = text.len;
    strbuf_append(&text, str_of(after));
    assert_int_equal(pretokenize(pretokenizer, strbuf_str(&text), &cuts), HTH_OK);
    int digit = (from > 0) | (to < text.len) << 1;
    for (size_t i = 0; i < cuts.count; i++) {
        digit &= cuts.ends[i] == from ? ~1 : ~0;
        digit &= cuts.ends[i] == to ? ~2 : ~0;
    }
    pre_cuts_free(&cuts);
    strbuf_free(&text);
    return digit;
}

static struct pretokenizer *make_by_name(struct str name)
{
    const struct pre_row *row = pre_row_find(name);
    assert_non_null(row);
    return make(row->family);
}

TEST(classes_end_where_published)
{
    for (size_t i = 0; i < ARRAY_LEN(class_joins); i++) {
        const struct class_joins *row = &class_joins[i];
        struct pretokenizer *pretokenizer = make_by_name(str_of(row->pre));
        for (const struct join *join = row->joins; join->character; join++) {
            int digit = join_of(pretokenizer, row->before, join->character, row->after);
            if (digit != join->digit)
                fail_msg("%s: U+%04X between \"%s\" and \"%s\" joins %d, not %d", row->pre,
                         (unsigned)join->character, row->before, row->after, digit, join->digit);
        }
        pretokenizer_destroy(pretokenizer);
    }
}

static void check_mixed(const struct mixed_joins *row, struct str pre)
{
    struct pretokenizer *pretokenizer = make_by_name(pre);
    assert_int_equal(strlen(row->digits), ARRAY_LEN(mixed_characters));
    for (size_t i = 0; i < ARRAY_LEN(mixed_characters); i++) {
        int digit = join_of(pretokenizer, row->before, mixed_characters[i], row->after);
        if (digit != row->digits[i] - '0')
            fail_msg("%.*s: U+%04X between \"%s\" and \"%s\" joins %d, not %c", (int)pre.len,
                     pre.ptr, (unsigned)mixed_characters[i], row->before, row->after, digit,
                     row->digits[i]);
    }
    pretokenizer_destroy(pretokenizer);
}

TEST(spaces_and_marks_join_as_published)
{
    for (size_t i = 0; i < ARRAY_LEN(mixed_joins); i++) {
        struct str pres = str_of(mixed_joins[i].pres);
        for (size_t from = 0, to; from < pres.len; from = to + 1) {
            for (to = from; to < pres.len && pres.ptr[to] != ' ';)
                to++;
            check_mixed(&mixed_joins[i], str_slice(pres, from, to));
        }
    }
}

/* How jais-2 cuts runs of white space before a letter, which goes with the last one, and at the end
 * of the text: from llama.cpp as in joins.h. */
static const struct run_cuts {
    int n;
    const char *before_letter, *at_end;
} run_cuts[] = {
    {1, "1", "1"},           {2, "1 1", "2"},
    {3, "2 1", "2 1"},       {4, "2 1 1", "4"},
    {5, "4 1", "4 1"},       {8, "4 2 1 1", "8"},
    {9, "8 1", "8 1"},       {16, "8 4 2 1 1", "16"},
    {17, "16 1", "16 1"},    {32, "16 8 4 2 1 1", "32"},
    {33, "32 1", "32 1"},    {64, "32 16 8 4 2 1 1", "64"},
    {65, "64 1", "64 1"},    {128, "64 32 16 8 4 2 1 1", "128"},
    {129, "128 1", "128 1"}, {256, "128 64 32 16 8 4 2 1 1", "256"},
    {257, "256 1", "256 1"}, {512, "256 128 64 32 16 8 4 2 1 1", "512"},
    {513, "512 1", "512 1"}, {1023, "512 256 128 64 32 16 8 4 2 1", "512 256 128 64 32 16 8 4 2 1"},
};

static void check_run(const struct pretokenizer *pretokenizer, int n, const char *behind,
                      const char *expected)
{
    struct strbuf text = {0}, lengths = {0};
    struct pre_cuts cuts = {0};
    strbuf_append_char(&text, 'a');
    for (int i = 0; i < n; i++)
        strbuf_append_utf8(&text, 0x1680);
    strbuf_append(&text, str_of(behind));
    assert_int_equal(pretokenize(pretokenizer, strbuf_str(&text), &cuts), HTH_OK);
    for (size_t i = 1; i < cuts.count; i++) /* U+1680 has three bytes */
        strbuf_printf(&lengths, "%s%zu", i > 1 ? " " : "", (cuts.ends[i] - cuts.ends[i - 1]) / 3);
    if (!str_equal(strbuf_str(&lengths), str_of(expected)))
        fail_msg("%d before \"%s\" were cut into %s, not %s", n, behind, lengths.ptr, expected);
    pre_cuts_free(&cuts);
    strbuf_free(&lengths);
    strbuf_free(&text);
}

TEST(runs_of_spaces_are_cut_by_powers_of_two)
{
    struct pretokenizer *pretokenizer = make_by_name(STR("jais-2"));
    for (size_t i = 0; i < ARRAY_LEN(run_cuts); i++) {
        check_run(pretokenizer, run_cuts[i].n, "b", run_cuts[i].before_letter);
        check_run(pretokenizer, run_cuts[i].n, "", run_cuts[i].at_end);
    }
    pretokenizer_destroy(pretokenizer);
}

TEST(names_are_known_once)
{
    size_t n = 0;
    for (const struct pre_row *row; (row = pre_row_at(n)) != NULL; n++)
        assert_ptr_equal(pre_row_find(str_of(row->name)), row);
    assert_int_equal(n, 93);
    assert_string_equal(pre_row_at(0)->name, "default");
    assert_null(pre_row_find(STR("")));
    assert_null(pre_row_find(STR("gpt-22")));
}

TEST(thirds_count_characters)
{
    static const struct pre_family family = {{{"\\p{N}+", true}}};
    struct pretokenizer *pretokenizer = make(&family);
    struct pre_cuts cuts = {0};
    /* Arabic-Indic digits have two bytes each. */
    struct str text = STR("x\xd9\xa1\xd9\xa2\xd9\xa3\xd9\xa4y");
    assert_int_equal(pretokenize(pretokenizer, text, &cuts), HTH_OK);
    static const size_t ends[] = {3, 10};
    assert_int_equal(cuts.count, ARRAY_LEN(ends));
    assert_memory_equal(cuts.ends, ends, sizeof ends);
    pre_cuts_free(&cuts);
    pretokenizer_destroy(pretokenizer);
}

TEST(a_rule_that_does_not_compile_is_an_error)
{
    static const struct pre_family family = {{{"a", false}, {"(", false}}};
    struct pretokenizer *pretokenizer;
    test_log_clear();
    assert_int_equal(pretokenizer_create(&pretokenizer, &family, test_log()),
                     HTH_ERROR_UNSUPPORTED);
    assert_null(pretokenizer);
    assert_logged("refuses a pre-tokenizer's rule");
}

static enum hth_status cut_a_text(void *arg)
{
    const struct pre_row *row = arg;
    struct pretokenizer *pretokenizer;
    enum hth_status status = pretokenizer_create(&pretokenizer, row->family, NULL);
    if (status != HTH_OK)
        return status;
    struct pre_cuts cuts = {0};
    status = pretokenize(pretokenizer, STR("It's 12345 words, and\n\n more of them"), &cuts);
    pre_cuts_free(&cuts);
    pretokenizer_destroy(pretokenizer);
    return status;
}

TEST(each_allocation_may_fail)
{
    static const char *const names[] = {"default", "gpt-4o", "afmoe"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        test_each_allocation_fails(cut_a_text, (void *)pre_row_find(str_of(names[i])));
}

/* Runs and patterns that make careless expressions quadratic or worse. */
static const char *const hostile[] = {
    " ",           "\n", "\t \n", "a",          "A",      "aB",  "A ",           "1",  "1a",
    "'",           "'s", "!",     "! ",         ZHONG,    ACUTE, "e" ACUTE,      ZWSP, " \n ",
    "a" ACUTE " ", NBSP, "a b ",  "<sentinel:", "IMGIMG", "1_",  "\xe2\x96\x81",
};

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* 100 KB of each, with a different end so that no run matches as a whole: well under a second. */
TEST(hostile_text_takes_linear_time)
{
    enum { SIZE = 100 * 1000 };
    const struct pre_family *last = NULL;
    struct strbuf text = {0};
    for (size_t r = 0; pre_row_at(r); r++) {
        const struct pre_row *row = pre_row_at(r);
        if (row->family == last)
            continue;
        last = row->family;
        struct pretokenizer *pretokenizer = make(row->family);
        struct pre_cuts cuts = {0};
        for (size_t h = 0; h < ARRAY_LEN(hostile); h++) {
            strbuf_clear(&text);
            while (text.len < SIZE)
                strbuf_append(&text, str_of(hostile[h]));
            strbuf_append(&text, STR("1x"));
            double start = cpu_seconds();
            assert_int_equal(pretokenize(pretokenizer, strbuf_str(&text), &cuts), HTH_OK);
            double took = cpu_seconds() - start;
            if (took > 1.0)
                fail_msg("%s: 100 KB of \"%s\" took %.2f s", row->name, hostile[h], took);
            assert_int_equal(cuts.ends[cuts.count - 1], text.len);
        }
        pre_cuts_free(&cuts);
        pretokenizer_destroy(pretokenizer);
    }
    strbuf_free(&text);
}

TEST(the_nearest_name)
{
    static const char *const names[][2] = {
        {"llama-bp", "llama-bpe"},     {"QWEN2", NULL}, {"gpt2", "gpt-2"},
        {"deepsek-v3", "deepseek-v3"}, {"", NULL},      {"qwen35moe", "qwen35"},
        {"nothing-of-it", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *near = pre_nearest(str_of(names[i][0]));
        if (!names[i][1])
            assert_null(near);
        else
            assert_string_equal(near, names[i][1]);
    }
    static char longest[1000];
    memset(longest, 'q', sizeof longest);
    for (size_t len = 60; len < 70; len++)
        assert_null(pre_nearest((struct str){longest, len}));
    assert_null(pre_nearest((struct str){longest, sizeof longest}));
}
