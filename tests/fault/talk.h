/*
 * talk.h — a prompt fed in batches and an answer token by token, undisturbed the first time, and
 * with something happening in between later: the answer must be the same.
 *
 * What it looks at of the engine is private. Everything asserts. One thread.
 */
#ifndef FAULT_TALK_H
#define FAULT_TALK_H

#include "hearth/hearth.h"

#include "harness/test.h"

enum { TALK_PROMPT = 70, TALK_ANSWER = 24, TALK_ALL = TALK_PROMPT + TALK_ANSWER };

struct talk {
    const char *path;
    bool discrete;
    uint64_t vram_bytes; /* with the device twice, and at most so much of each; 0: once */
    enum hth_kv_type kv;
    bool integers;    /* activations of 8 bits, as usual, which the two sides round differently */
    double tolerance; /* NMSE of a token's logits; 0: 1e-6 */
    /* Called before each step of the answer, and as step −1 before the session is opened. */
    void (*disturb)(struct talk *talk, int step);

    struct hth_model *model;
    struct hth_session *session;
    int32_t ids[TALK_ALL]; /* as learned */
    float *logits;         /* [TALK_ANSWER, n_vocab] as learned */
    size_t n_vocab;
    int n_errors; /* sentences of errors that were said */
};

/* Opens model and session, with sequences for two, and lets nothing of what moves a model wait. */
void talk_open(struct talk *talk);

/* Talks; learns if there is nothing learned yet, else compares: logits within the tolerance, and
 * the best token, unless it was best by a narrow margin. */
void talk_run(struct talk *talk);
void talk_close(struct talk *talk);

/* Opens, runs and closes one that learns. */
void talk_learn(struct talk *talk);

/* One step: feeds what comes before the answer's token `step`. */
void talk_feed(struct talk *talk, struct hth_session *session, int step);

/* Fails unless the session's logits are those of this step. */
void talk_check(const struct talk *talk, struct hth_session *session, int step);

/* Bytes of the device in use, of two the first's; what the driver grants beyond what hearth uses of
 * it. */
uint64_t talk_held(const struct talk *talk);
uint64_t talk_margin(const struct talk *talk);

/* GPUs that have a part of the model. */
int talk_n_gpus(const struct talk *talk);

/* Looks at the budget now, and lets the session come back if it had to leave. */
void talk_settle(struct talk *talk);

/* How often the log has a text. */
int talk_count_logged(const char *text);

#endif
