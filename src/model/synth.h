/*
 * synth.h — made models: the shape of a published one, random weights, a vocabulary that works.
 *
 * For tests and measurements where no model can be had. Owns what the writer asks for while the
 * file is written; weights are made piece by piece, so that a model may be larger than memory.
 * Weights are normal with variance 1/fan-in and norms near 1: activations keep their size through
 * any depth. Large matrices are put together at random from a store of about a million encoded
 * elements per type and scale, which is far faster than encoding each anew and as random to every
 * test but one for repetition. The same parameters give the same bytes, for any number of threads.
 * One thread.
 */
#ifndef MODEL_SYNTH_H
#define MODEL_SYNTH_H

#include "base/pool.h"
#include "gguf/gguf_write.h"

struct synth;

struct synth_params {
    const char *shape; /* "llama-1b" …, synth_shape_at */
    const char *quant; /* any type that hearth can encode, for all matrices, or one of
                        * synth_mix_at: "q4_k_m" …; without regard to case */
    uint64_t seed;
    bool no_vocabulary; /* for who asks for sizes only */
    struct pool *pool;  /* borrowed; NULL: the calling thread alone */
};

/* Describes the model; its bytes are made when `synth_writer`'s is saved. Errors:
 * HTH_ERROR_ARGUMENT (an unknown shape or type, with those that are known), HTH_ERROR_MEMORY. */
HTH_MUST_CHECK synth_create(struct synth **out, const struct synth_params *params,
                            const struct log *log);
void synth_destroy(struct synth *synth);

/* Saves to a file or to memory (gguf_write.h), any number of times; lives as long as the synth. */
struct gguf_writer *synth_writer(struct synth *synth);

/* Names for people; NULL past the end. */
const char *synth_shape_at(size_t index);
const char *synth_mix_at(size_t index);

#endif
