/*
 * answer.h — the loop that run and chat share: prompt in, tokens out as they come.
 *
 * Owns nothing but its lists; model, session and sampler are the caller's. The program's main
 * thread.
 */
#ifndef CLI_ANSWER_H
#define CLI_ANSWER_H

#include <stddef.h>

#include "base/str.h"
#include "hearth/hearth.h"
#include "text/reasoning.h"

enum answer_end {
    ANSWER_DONE,        /* the model ended it, or a stop text came */
    ANSWER_LIMIT,       /* n_max tokens */
    ANSWER_FULL,        /* no room left in the context */
    ANSWER_INTERRUPTED, /* Ctrl-C */
    ANSWER_NO_READER,   /* stdout failed */
};

/* Tokens, which mem_free takes. Zero is an empty list. */
struct id_list {
    int32_t *items;
    size_t count, capacity;
};

/* Called when the context is full in the middle of an answer of `n_answer` tokens: a shorter prompt
 * that leaves room, *ids (hth_free) and *count, or NULL where there is none. Returns an exit code.
 */
typedef int answer_room_fn(void *user, int n_answer, int32_t **ids, int *count);

struct answer {
    const struct hth_model *model;
    struct hth_session *session;
    struct hth_sampler *sampler;
    int n_max;                /* tokens at most; 0: no limit */
    const char *const *stops; /* [n_stops]: texts that the answer ends before */
    size_t n_stops;
    const char *seed;          /* that the sampler drew its numbers from; NULL: it drew none */
    answer_room_fn *make_room; /* NULL: the answer is cut */
    void *room_user;

    /* what came of it */
    struct strbuf text;
    struct id_list fed; /* what sequence 0 now holds, prompt and answer */
    struct id_list ids; /* the answer's, with what is sampled but not fed */
    enum answer_end end;
    int n_prompt, n_answer, n_steps; /* tokens fed, sampled, and steps of one token */
    uint64_t prompt_ns, steps_ns;    /* what they took */
    uint64_t first_step_ns;          /* of it: the first step, which compiles and loads */
    uint64_t first_word_ns;          /* when, os_time_ns; 0: there was none */

    /* its own */
    struct reasoning reasoning;
    int32_t opens[N_REASONING_MARKERS], closes[N_REASONING_MARKERS]; /* control tokens, or -1 */
};

/* Before each answer_run: forgets the last answer but not the cache, and looks at the prompt as the
 * template rendered it for where the model's reasoning begins. Returns an exit code. */
ATTR_WARN_UNUSED int answer_begin(struct answer *answer, struct str prompt);

/* Makes sequence 0 hold `ids`, keeping what it has in common with them (answer->fed), and streams
 * the answer to stdout with a newline at its end, reasoning dimmed. Ctrl-C stops it. Returns an
 * exit code, everything said; EXIT_OK however the answer ended. */
int answer_run(struct answer *answer, const int32_t *ids, int count);

void answer_free(struct answer *answer);

/* Says that stdout's reader left, if it did. */
void answer_explain_closed(const struct answer *answer);

/* The line that run ends with. */
void answer_summary(const struct answer *answer);

/* What the steps took corrects what is expected of them from then on. Returns an exit code. */
ATTR_WARN_UNUSED int answer_learn(const struct answer *answer);

#endif
