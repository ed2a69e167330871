/*
 * logits.h — what tests of whole models share: golden logits, a run of a session in pieces, places
 * at random, the Vulkan device of the test run.
 *
 * Everything asserts: a test ends where something cannot be had. One thread.
 */
#ifndef GOLDEN_LOGITS_H
#define GOLDEN_LOGITS_H

#include "gguf/gguf.h"
#include "harness/test.h"
#include "hearth/hearth.h"

/* Tokens, and logits of positions [first, first + n_rows), one row of n_vocab each. */
struct golden {
    struct gguf *gguf;
    const int32_t *tokens;
    const float *logits;
    int n_tokens, n_vocab, n_rows, first;
    double nmse_f16; /* golden.nmse_f16_activations: the reference's own error; 0: not said */
};

void golden_open(struct golden *out, const char *path);
void golden_close(struct golden *golden);

/* How a model is run. */
struct logits_run {
    enum hth_kv_type kv;
    bool float_only;
    int piece; /* tokens per batch; 0: all at once */
};

/* The golden's rows computed by a session of its own; free with mem_free. */
float *logits_compute(struct hth_model *model, const struct golden *golden,
                      const struct logits_run *run);

/* The two best of a row of n ≥ 2 logits, first and second; of equals the earlier one first. */
void logits_top(const float *row, size_t n, size_t top[2]);

/* Opens a model with the test's log, or fails with what the log says. Of `options` the log is
 * replaced. */
struct hth_model *model_open(const char *path, struct hth_model_options options);

/* Keeps for the device of a model that is open, for all products of a batch of so many tokens, that
 * they are fastest as the entry says; says how many classes of them there are. */
struct table_entry;
int model_tune(struct hth_model *model, int n_tokens, const struct table_entry *as);

/* Where the parts of a model live, at random: `random_place` is hth_model_options.place, with one
 * of these. By tensor, by layer, all experts with the CPU and the rest on GPUs, or each expert by
 * itself. */
enum random_mode { PLACE_TENSORS, PLACE_LAYERS, PLACE_EXPERTS_APART, PLACE_EACH_EXPERT };
struct random_places {
    uint64_t seed;
    enum random_mode mode;
    int n_gpus; /* 1 or 2 */
    int n[3];   /* of tensors and experts with each, the CPU's first */
};
int random_place(void *user, const char *tensor, int expert);

/* Name of the Vulkan device of this test run for hth_model_options.device:
 * HEARTH_TEST_DEVICE=NUMBER, or with HEARTH_TEST_SOFTWARE=1 the first software device. Others are
 * left alone: a test must not disturb somebody's desktop unasked. Skips the test where there is
 * none that computes. */
const char *test_device(void);

#endif
