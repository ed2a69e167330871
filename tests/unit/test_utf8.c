#include "harness/test.h"

#include "base/rng.h"
#include "text/utf8.h"

/* Unicode 15, table 3-7, row by row: is this a well-formed character of exactly these bytes? */
static bool table_says(const uint8_t *b, size_t n)
{
    static const struct {
        size_t n;
        uint8_t low[4], high[4];
    } rows[] = {
        {1, {0x00}, {0x7f}},
        {2, {0xc2, 0x80}, {0xdf, 0xbf}},
        {3, {0xe0, 0xa0, 0x80}, {0xe0, 0xbf, 0xbf}},
        {3, {0xe1, 0x80, 0x80}, {0xec, 0xbf, 0xbf}},
        {3, {0xed, 0x80, 0x80}, {0xed, 0x9f, 0xbf}},
        {3, {0xee, 0x80, 0x80}, {0xef, 0xbf, 0xbf}},
        {4, {0xf0, 0x90, 0x80, 0x80}, {0xf0, 0xbf, 0xbf, 0xbf}},
        {4, {0xf1, 0x80, 0x80, 0x80}, {0xf3, 0xbf, 0xbf, 0xbf}},
        {4, {0xf4, 0x80, 0x80, 0x80}, {0xf4, 0x8f, 0xbf, 0xbf}},
    };
    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        bool fits = rows[r].n == n;
        for (size_t i = 0; fits && i < n; i++)
            fits = b[i] >= rows[r].low[i] && b[i] <= rows[r].high[i];
        if (fits)
            return true;
    }
    return false;
}

/* Bytes at and beside every boundary of the table. */
static const uint8_t edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xfe, 0xff};

static void check_four(const uint8_t bytes[4])
{
    struct str text = {(const char *)bytes, 4};
    size_t expected = 0;
    for (size_t n = 1; n <= 4; n++)
        if (table_says(bytes, n))
            expected = n;
    uint32_t codepoint = 0;
    size_t n = utf8_decode(text, 0, &codepoint);
    assert_int_equal(n, expected);
    if (n == 0) {
        assert_int_equal(codepoint, 0xfffd);
        return;
    }
    struct strbuf back = {0};
    strbuf_append_utf8(&back, codepoint);
    assert_true(str_equal(strbuf_str(&back), str_slice(text, 0, n)));
    strbuf_free(&back);
}

TEST(decode_agrees_with_table_3_7_at_every_edge)
{
    enum { N = ARRAY_LEN(edges) };
    for (size_t i = 0; i < (size_t)N * N * N * N; i++) {
        uint8_t bytes[4] = {edges[i % N], edges[i / N % N], edges[i / N / N % N],
                            edges[i / N / N / N]};
        check_four(bytes);
    }
}

TEST(decode_every_character)
{
    for (uint32_t c = 0; c < 0x110000; c++) {
        struct strbuf text = {0};
        bool surrogate = c >= 0xd800 && c < 0xe000;
        if (surrogate)
            strbuf_append(&text, (struct str){(char[3]){(char)0xed, (char)(0x80 | (c >> 6 & 0x3f)),
                                                        (char)(0x80 | (c & 0x3f))},
                                              3});
        else
            strbuf_append_utf8(&text, c);
        uint32_t back;
        size_t n = utf8_decode(strbuf_str(&text), 0, &back);
        assert_int_equal(n, surrogate ? 0 : text.len);
        assert_int_equal(back, surrogate ? 0xfffd : c);
        assert_int_equal(utf8_valid(strbuf_str(&text)), !surrogate);
        strbuf_free(&text);
    }
}

TEST(decode_stops_at_the_end_of_the_text)
{
    struct str text = STR("a\xf0\x9f\x98\x80");
    uint32_t codepoint;
    for (size_t len = 2; len < text.len; len++) {
        assert_int_equal(utf8_decode(str_slice(text, 0, len), 1, &codepoint), 0);
        assert_false(utf8_valid(str_slice(text, 0, len)));
    }
    assert_int_equal(utf8_decode(text, 1, &codepoint), 4);
    assert_int_equal(codepoint, 0x1f600);
    assert_true(utf8_valid(STR("")));
}

#define R "\xef\xbf\xbd"

/* The first three are Unicode 15's own examples, tables 3-8 to 3-10 (section 3.9). */
static const struct {
    const char *bytes, *text;
} lossy[] = {
    {"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", R R R R R R R R "A"},
    {"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", R R R R R R R R "A"},
    {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", R R R R "A"},
    {"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", R R R R R "A" R R "B"},
    {"plain", "plain"},
    {"\xc3\xa9\xc3", "\xc3\xa9" R},
    {"\xf0\x9f\x98", R},
    {"\xf0\x9f\x98\xf0\x9f\x98\x80", R "\xf0\x9f\x98\x80"},
    {"\xe2\xe2\x82\xac", R "\xe2\x82\xac"},
    {"", ""},
};

TEST(lossy_replaces_maximal_subparts)
{
    for (size_t i = 0; i < ARRAY_LEN(lossy); i++) {
        struct strbuf out = {0};
        utf8_append_lossy(&out, str_of(lossy[i].bytes));
        assert_true(str_equal(strbuf_str(&out), str_of(lossy[i].text)));
        strbuf_free(&out);
    }
}

/* What a stream gives in pieces is what the whole gives at once, and every prefix is valid. */
static void check_stream(struct str bytes, struct rng *rng)
{
    struct strbuf whole = {0}, pieces = {0};
    utf8_append_lossy(&whole, bytes);
    struct utf8_stream stream = {0};
    for (size_t at = 0; at < bytes.len;) {
        size_t n = rng ? rng_below(rng, 4) : 1;
        utf8_stream_push(&stream, str_slice(bytes, at, at + n), &pieces);
        at += n;
        assert_true(utf8_valid(strbuf_str(&pieces)));
    }
    assert_true(whole.len >= pieces.len);
    utf8_stream_end(&stream, &pieces);
    assert_true(str_equal(strbuf_str(&whole), strbuf_str(&pieces)));
    assert_int_equal(stream.n_held, 0);
    strbuf_free(&whole);
    strbuf_free(&pieces);
}

TEST(stream_split_at_every_byte)
{
    for (size_t i = 0; i < ARRAY_LEN(lossy); i++)
        check_stream(str_of(lossy[i].bytes), NULL);
}

TEST(stream_split_anywhere)
{
    struct rng rng = rng_seed(7);
    for (int round = 0; round < 20000; round++) {
        char bytes[24];
        size_t n = rng_below(&rng, sizeof bytes + 1);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)edges[rng_below(&rng, ARRAY_LEN(edges))];
        check_stream((struct str){bytes, n}, round % 2 ? &rng : NULL);
    }
}

TEST(stream_holds_back_only_the_unfinished)
{
    struct utf8_stream stream = {0};
    struct strbuf out = {0};
    utf8_stream_push(&stream, STR("ab\xe2\x82"), &out);
    assert_true(str_equal(strbuf_str(&out), STR("ab")));
    assert_int_equal(stream.n_held, 2);
    utf8_stream_push(&stream, STR(""), &out);
    assert_int_equal(stream.n_held, 2);
    utf8_stream_push(&stream, STR("\xac"), &out);
    assert_true(str_equal(strbuf_str(&out), STR("ab\xe2\x82\xac")));
    assert_int_equal(stream.n_held, 0);
    utf8_stream_push(&stream, STR("\xff"), &out); /* begins nothing: no reason to wait */
    assert_true(str_equal(strbuf_str(&out), STR("ab\xe2\x82\xac" R)));
    utf8_stream_push(&stream, STR("\xf0\x9f"), &out);
    utf8_stream_end(&stream, &out);
    assert_true(str_equal(strbuf_str(&out), STR("ab\xe2\x82\xac" R R)));
    strbuf_free(&out);
}
