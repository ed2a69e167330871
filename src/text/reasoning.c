#include "text/reasoning.h"

/* From the chat templates that come with the models named. */
const struct reasoning_marker reasoning_markers[N_REASONING_MARKERS] = {
    {"<think>", "</think>"},                    /* DeepSeek R1, Qwen 3, SmolLM3, GLM 4.5 */
    {"[THINK]", "[/THINK]"},                    /* Magistral, Ministral 3 */
    {"<|START_THINKING|>", "<|END_THINKING|>"}, /* Command A reasoning */
    {"<seed:think>", "</seed:think>"},          /* Seed-OSS */
    {"<thought>", "</thought>"},                /* EXAONE Deep */
    {"<thinking>", "</thinking>"},              /* fine-tuned Llama and Qwen models */
    /* gpt-oss; the heads of messages, in between, are shown and belong to it */
    {"<|channel|>analysis<|message|>", "<|channel|>final<|message|>"},
    {"\xe2\x97\x81think\xe2\x96\xb7", "\xe2\x97\x81/think\xe2\x96\xb7"}, /* Kimi-VL */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

void reasoning_begin(struct reasoning *state, struct str prompt)
{
    *state = (struct reasoning){0};
    while (prompt.len && is_blank(prompt.ptr[prompt.len - 1]))
        prompt.len--;
    for (int i = 0; i < N_REASONING_MARKERS && !state->inside; i++)
        if (str_ends_with(prompt, str_of(reasoning_markers[i].open)))
            state->inside = &reasoning_markers[i];
}

void reasoning_mark(struct reasoning *state, const struct reasoning_marker *marker)
{
    state->inside = marker;
    state->answering = !marker;
}

/* Does `held` begin a marker that would change something now? *whole: it is one, *found which. */
static bool begins_marker(const struct reasoning *state, struct str held, bool *whole,
                          const struct reasoning_marker **found)
{
    *whole = false;
    for (int i = 0; i < N_REASONING_MARKERS; i++) {
        const struct reasoning_marker *marker = &reasoning_markers[i];
        bool wanted = state->inside ? marker == state->inside : !state->answering;
        struct str text = str_of(state->inside ? marker->close : marker->open);
        if (!wanted || !str_starts_with(text, held))
            continue;
        *whole = text.len == held.len;
        *found = marker;
        return true;
    }
    return false;
}

static void emit(struct reasoning *state, struct str text, reasoning_fn *fn, void *user)
{
    if (text.len == 0)
        return;
    for (size_t i = 0; i < text.len && !state->inside; i++)
        state->answering |= !is_blank(text.ptr[i]);
    fn(user, text, state->inside != NULL);
}

/* What is held grew by a byte: hands on what cannot be a marker's beginning any more. */
static void settle(struct reasoning *state, reasoning_fn *fn, void *user)
{
    bool whole = false;
    const struct reasoning_marker *found = NULL;
    size_t from = 0;
    while (from < state->n_held &&
           !begins_marker(state, (struct str){state->held + from, state->n_held - from}, &whole,
                          &found))
        from++;
    emit(state, (struct str){state->held, from}, fn, user);
    state->n_held -= from;
    memmove(state->held, state->held + from, state->n_held);
    if (!whole)
        return;
    fn(user, (struct str){state->held, state->n_held}, true);
    state->n_held = 0;
    reasoning_mark(state, state->inside ? NULL : found);
}

void reasoning_push(struct reasoning *state, struct str text, reasoning_fn *fn, void *user)
{
    size_t from = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool whole;
        const struct reasoning_marker *found;
        if (state->n_held == 0 &&
            !begins_marker(state, (struct str){text.ptr + i, 1}, &whole, &found))
            continue;
        emit(state, str_slice(text, from, i), fn, user);
        from = i + 1;
        state->held[state->n_held++] = text.ptr[i];
        settle(state, fn, user);
    }
    emit(state, str_slice(text, from, text.len), fn, user);
}

void reasoning_end(struct reasoning *state, reasoning_fn *fn, void *user)
{
    emit(state, (struct str){state->held, state->n_held}, fn, user);
    state->n_held = 0;
}
