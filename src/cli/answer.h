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

enum answer_end {
    ANSWER_DONE,        /* the model ended it */
    ANSWER_LIMIT,       /* n_max tokens */
    ANSWER_FULL,        /* no room left in the context */
    ANSWER_INTERRUPTED, /* Ctrl-C */
    ANSWER_NO_READER,   /* stdout failed */
};

struct answer {
    const struct hth_model *model;
    struct hth_session *session;
    struct hth_sampler *sampler;
    int n_max; /* tokens at most; 0: no limit */

    /* what came of it */
    struct strbuf text;
    int32_t *fed; /* tokens that sequence 0 now holds, prompt and answer */
    size_t n_fed, cap_fed;
    enum answer_end end;
    int n_prompt, n_answer, n_steps; /* tokens fed, sampled, and steps of one token */
    uint64_t prompt_ns, steps_ns;    /* what they took */
    uint64_t first_word_ns;          /* when, os_time_ns; 0: there was none */
};

/* Makes sequence 0 hold `ids`, keeping what it has in common with them (answer->fed), and streams
 * the answer to stdout with a newline at its end. Ctrl-C stops it. Returns an exit code, everything
 * said; EXIT_OK however the answer ended. */
int answer_run(struct answer *answer, const int32_t *ids, int count);

/* Ready for the next turn: text and counts are forgotten, the cache is not. */
void answer_reset(struct answer *answer);
void answer_free(struct answer *answer);

/* The line that run ends with. */
void answer_summary(const struct answer *answer);

#endif
