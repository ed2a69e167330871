/* Texts that end an answer, however the answer is cut into pieces. */
#include "harness/test.h"

#include "text/stops.h"

enum { MOST = 4 };

static void create(struct stops *stops, const char *const *texts)
{
    size_t n = 0;
    while (texts[n])
        n++;
    assert_int_equal(stops_create(stops, texts, n, test_log()), HTH_OK);
}

/* What comes of an answer cut into pieces of n bytes, in the tests below characters. */
static void expect_pieces(const char *const *texts, const char *answer, const char *wanted,
                          size_t n)
{
    struct stops stops;
    struct strbuf out = {0};
    struct str all = str_of(answer);
    create(&stops, texts);
    for (size_t at = 0; at < all.len; at += n)
        stops_push(&stops, str_slice(all, at, at + n), &out);
    assert_int_equal(stops.found, strlen(wanted) < all.len);
    stops_end(&stops, &out);
    assert_false(stops.found);
    if (!str_equal(strbuf_str(&out), str_of(wanted)))
        fail_msg("pieces of %zu: \"%s\" instead of \"%s\"", n, out.ptr, wanted);
    strbuf_free(&out);
    stops_destroy(&stops);
}

static void expect(const char *const *texts, const char *answer, const char *wanted)
{
    for (size_t n = 1; n <= strlen(answer); n++)
        expect_pieces(texts, answer, wanted, n);
}

#define EXPECT(answer, wanted, ...)                                                                \
    expect((const char *const[MOST + 1]){__VA_ARGS__}, answer, wanted)

TEST(an_answer_ends_before_a_stop_text)
{
    EXPECT("one\nUser: two", "one", "\nUser:");
    EXPECT("User: two", "", "User:");
    EXPECT("one User", "one User", "User:");
    EXPECT("one", "one", "three", "two");
    EXPECT("one", "one", NULL);
}

/* What repeats itself begins anew in its own middle. */
TEST(no_beginning_is_missed)
{
    EXPECT("xaaab", "xa", "aab");
    EXPECT("ababababac", "abab", "ababac");
    EXPECT("\n\n\n", "", "\n\n");
    EXPECT("ab#a#ab#b", "ab#a", "#ab#b");
}

/* The first to be whole counts, and of those that end together the longest. */
TEST(stop_texts_may_overlap)
{
    EXPECT("one two three", "one ", "two", "three");
    EXPECT("wxyz", "w", "xy", "wxyz");
    EXPECT("wxyz", "", "yz", "wxyz");
    EXPECT("wxyz", "wx", "yz", "vxyz");
}

TEST(characters_stay_whole)
{
    const char *const texts[] = {"\xc3\xa9t\xc3\xa9", NULL};
    static const char answer[] = "\xc3\xa9t\xc3\xa8 \xc3\xa9t\xc3\xa9";
    struct stops stops;
    create(&stops, texts);
    for (size_t at = 0, n; answer[at]; at += n) {
        struct strbuf out = {0};
        n = answer[at] == '\xc3' ? 2 : 1;
        stops_push(&stops, (struct str){answer + at, n}, &out);
        for (size_t i = 0; i < out.len; i += out.ptr[i] == '\xc3' ? 2 : 1)
            assert_true(out.ptr[i] != '\xc3' || i + 2 <= out.len);
        strbuf_free(&out);
    }
    assert_true(stops.found);
    stops_destroy(&stops);
}

/* Nothing waits that can be no stop text any more. */
TEST(no_more_is_held_back_than_may_become_one)
{
    const char *const texts[] = {"abc", "cd", NULL};
    static const char answer[] = "xabxcabd";
    static const size_t held[] = {0, 1, 2, 0, 1, 1, 2, 0};
    struct stops stops;
    struct strbuf out = {0};
    create(&stops, texts);
    for (size_t i = 0; answer[i]; i++) {
        stops_push(&stops, (struct str){answer + i, 1}, &out);
        assert_int_equal(out.len, i + 1 - held[i]);
    }
    strbuf_free(&out);
    stops_destroy(&stops);
}

TEST(nothing_comes_after_a_stop)
{
    const char *const texts[] = {"|", NULL};
    struct stops stops;
    struct strbuf out = {0};
    create(&stops, texts);
    stops_push(&stops, STR("a|b"), &out);
    stops_push(&stops, STR("c"), &out);
    stops_end(&stops, &out);
    assert_string_equal(out.ptr, "a");
    stops_push(&stops, STR("d"), &out); /* of another answer */
    assert_string_equal(out.ptr, "ad");
    stops_halt(&stops, &out);
    stops_push(&stops, STR("e"), &out);
    assert_string_equal(out.ptr, "ad");
    strbuf_free(&out);
    stops_destroy(&stops);
}

/* Half of a stop text at an answer's end is none of the next answer's. */
TEST(another_answer_begins_anew)
{
    const char *const texts[] = {"ab", NULL};
    struct stops stops;
    struct strbuf out = {0};
    create(&stops, texts);
    stops_push(&stops, STR("xa"), &out);
    stops_end(&stops, &out);
    stops_push(&stops, STR("b"), &out);
    assert_false(stops.found);
    assert_string_equal(out.ptr, "xab");
    strbuf_free(&out);
    stops_destroy(&stops);
}

TEST(texts_are_checked)
{
    char text[NEEDLE_BYTES + 2];
    const char *one[] = {text}, *const bad[] = {"\xff"}, *const empty[] = {"a", ""};
    struct stops stops;
    memset(text, 'a', sizeof text);
    text[NEEDLE_BYTES] = '\0';
    assert_int_equal(stops_create(&stops, one, 1, test_log()), HTH_OK);
    struct strbuf out = {0};
    stops_push(&stops, str_of(text), &out);
    assert_true(stops.found && out.len == 0);
    strbuf_free(&out);
    stops_destroy(&stops);
    text[NEEDLE_BYTES] = 'a';
    text[NEEDLE_BYTES + 1] = '\0';
    assert_int_equal(stops_create(&stops, one, 1, test_log()), HTH_ERROR_ARGUMENT);
    assert_logged("a stop text has 1 to 255 bytes, not 256");
    assert_int_equal(stops_create(&stops, bad, 1, test_log()), HTH_ERROR_ARGUMENT);
    assert_logged("is not UTF-8");
    assert_int_equal(stops_create(&stops, empty, 2, test_log()), HTH_ERROR_ARGUMENT);
    assert_logged("not 0");
    assert_int_equal(stops_create(&stops, NULL, STOPS_MAX + 1, test_log()), HTH_ERROR_ARGUMENT);
    assert_logged("257 stop texts");
}
