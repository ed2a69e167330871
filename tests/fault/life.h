/*
 * life.h — a model's whole life through hearth.h: opened, a chat rendered and tokenized, a session
 * fed in two batches, tokens sampled and turned into text, all closed again.
 *
 * The first life is undisturbed and learned from; each later one must end with the same logits and
 * the same text, or with a status and exactly one sentence. Whatever fails in the session is tried
 * once more. One thread.
 */
#ifndef FAULT_LIFE_H
#define FAULT_LIFE_H

#include "hearth/hearth.h"

#include "harness/test.h"

enum { LIFE_MAX_TOKENS = 256 };

struct life {
    const char *path;   /* of a model with a vocabulary and a chat template */
    const char *device; /* "cpu", "vulkan:0" */
    bool discrete;
    int gpu_layers;
    uint64_t vram_bytes;
    void (*closing)(void); /* called when nothing is left but to close; may be NULL */

    /* what came of it */
    enum hth_status status;   /* the first failure */
    int n_errors, n_warnings; /* sentences that were said */
    struct strbuf said;       /* and their text */
    uint64_t n_expert_uses;   /* of layers whose experts change places */

    /* what was learned */
    struct strbuf chat; /* rendered, to tokens and back */
    struct strbuf text; /* the answer */
    float *logits;      /* of the last token of the last batch */
    size_t n_vocab;
};

/* Lives once; learns if there is nothing learned yet (then every failure fails the test). Asserts
 * that a failure was said in exactly one sentence, and none without a failure. */
void life_run(struct life *life);
void life_free(struct life *life);

/* Bytes on the device when it has all of the model. */
uint64_t life_whole_bytes(struct life life);

/* Did a warning say that a device refused memory, was lost or could not be opened, and that life
 * went on? */
bool life_placed_anew(const struct life *life);

/* Did a warning say that the CPU reads weights in the file's layout, as its own had no memory? */
bool life_read_slower(const struct life *life);

/* The device of the test run twice, as if there were two GPUs. */
const char *life_two_gpus(void);

/* A small model in the temporary folder: few layers, a BPE vocabulary, a chat template. */
const char *life_model(void);
/* The same of another shape (model/synth.h); one in a program. */
const char *life_model_like(const char *shape);

#endif
