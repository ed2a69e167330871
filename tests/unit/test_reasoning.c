/* Where a model's reasoning begins and ends, however its text is cut into pieces. */
#include "harness/test.h"

#include "text/reasoning.h"

/* What came: reasoning between '{' and '}'. */
struct seen {
    struct strbuf text;
    bool inside;
};

static void see(void *user, struct str text, bool reasoning)
{
    struct seen *seen = user;
    assert_true(text.len > 0);
    if (reasoning != seen->inside)
        strbuf_append_char(&seen->text, reasoning ? '{' : '}');
    seen->inside = reasoning;
    strbuf_append(&seen->text, text);
}

static void expect(const char *prompt, const char *answer, const char *wanted)
{
    size_t len = strlen(answer);
    for (size_t piece = 1; piece <= len; piece++) {
        struct reasoning state;
        struct seen seen = {0};
        reasoning_begin(&state, str_of(prompt));
        for (size_t at = 0; at < len; at += piece)
            reasoning_push(&state, str_slice(str_of(answer), at, at + piece), see, &seen);
        reasoning_end(&state, see, &seen);
        if (strcmp(seen.text.ptr, wanted) != 0)
            fail_msg("pieces of %zu: \"%s\" instead of \"%s\"", piece, seen.text.ptr, wanted);
        strbuf_free(&seen.text);
    }
}

TEST(markers_enclose_reasoning)
{
    expect("", "<think>a < b</think>c", "{<think>a < b</think>}c");
    expect("", "\n <think>\nx\n</think>\n\ny", "\n {<think>\nx\n</think>}\n\ny");
    expect("", "[THINK]x[/THINK]y", "{[THINK]x[/THINK]}y");
    expect("", "<seed:think>x</seed:think>y", "{<seed:think>x</seed:think>}y");
    expect("", "\xe2\x97\x81think\xe2\x96\xb7x\xe2\x97\x81/think\xe2\x96\xb7y",
           "{\xe2\x97\x81think\xe2\x96\xb7x\xe2\x97\x81/think\xe2\x96\xb7}y");
    expect("", "<thinking>x</think>y</thinking>z", "{<thinking>x</think>y</thinking>}z");
}

TEST(markers_may_be_several_tokens)
{
    expect("<|start|>assistant",
           "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>x",
           "{<|channel|>analysis<|message|>hm<|end|><|start|>assistant"
           "<|channel|>final<|message|>}x");
    expect("", "<|channel|>analysis<|message|>a<|channel|>commentary<|message|>b",
           "{<|channel|>analysis<|message|>a<|channel|>commentary<|message|>b");
    expect("", "<|channel|>final<|message|>x", "<|channel|>final<|message|>x");
}

TEST(no_marker_is_longer_than_what_is_held)
{
    for (int i = 0; i < N_REASONING_MARKERS; i++) {
        assert_true(strlen(reasoning_markers[i].open) <= sizeof((struct reasoning *)0)->held);
        assert_true(strlen(reasoning_markers[i].close) <= sizeof((struct reasoning *)0)->held);
    }
}

TEST(a_prompt_may_open_it)
{
    expect("<|im_start|>assistant\n<think>\n", "x</think>y", "{x</think>}y");
    expect("assistant<think>", "x<think></think>y", "{x<think></think>}y");
    expect("assistant\n<think>\n\n</think>\n\n", "plain", "plain");
    expect("tell me of <think> please", "plain", "plain");
}

TEST(only_the_beginning_opens_it)
{
    expect("", "The tag <think> opens, </think> closes.",
           "The tag <think> opens, </think> closes.");
    expect("", "<think>a</think>b<think>c", "{<think>a</think>}b<think>c");
    expect("", "</think>x", "</think>x");
}

TEST(what_only_looks_like_a_marker_is_text)
{
    expect("", "<thin", "<thin");
    expect("", "<thinner>x", "<thinner>x");
    expect("", "<<think>x", "<<think>x");
    expect("", "<think>a<</think>b", "{<think>a<</think>}b");
    expect("", "<think>a</thin", "{<think>a</thin");
    expect("", "\xe2\x80\x9cquoted\xe2\x80\x9d", "\xe2\x80\x9cquoted\xe2\x80\x9d");
}

TEST(control_tokens_open_it_anywhere)
{
    struct reasoning now;
    struct seen seen = {0};
    reasoning_begin(&now, STR(""));
    reasoning_push(&now, STR("a"), see, &seen);
    reasoning_mark(&now, &reasoning_markers[1]);
    reasoning_push(&now, STR("b"), see, &seen);
    reasoning_mark(&now, NULL);
    reasoning_push(&now, STR("c<think>"), see, &seen);
    reasoning_end(&now, see, &seen);
    assert_string_equal(seen.text.ptr, "a{b}c<think>");
    strbuf_free(&seen.text);
}
