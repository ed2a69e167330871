/*
 * synth_part.h — what the files of synth share; nothing for others.
 *
 * synth_shape.c: the sizes of published models; synth_mix.c: which type a matrix has in a mix;
 * synth_vocab.c: tokens; synth_bank.c: encoded random elements; synth.c: keys and tensors. Owns
 * nothing but each bank its rows. One thread per model made.
 */
#ifndef MODEL_SYNTH_PART_H
#define MODEL_SYNTH_PART_H

#include "base/arena.h"
#include "base/rng.h"
#include "model/synth.h"

struct synth_shape {
    const char *name, *arch;
    int n_layer, n_embd, n_head, n_head_kv, head_dim, n_ff;
    int n_expert, n_expert_used, n_ff_expert;
    int n_ctx;
    float freq_base, norm_eps;
    float rope_factor; /* > 0: rope_freqs as Llama 3.1 has them */
    bool tied, qk_norm;
    const char *pre; /* NULL: SPM, else byte-level BPE with this pre-tokenizer */
    int n_vocab;
    int n_base; /* tokens of bytes and words; control tokens follow */
    bool add_bos;
};

/* By name without regard to case; NULL if there is none. */
const struct synth_shape *synth_shape_find(struct str name);

/* What a matrix is for, as far as mixes care. */
enum synth_role {
    ROLE_EMBED,
    ROLE_OUTPUT, /* and embeddings that serve as output too */
    ROLE_ATTN_Q,
    ROLE_ATTN_K,
    ROLE_ATTN_V,
    ROLE_ATTN_OUT,
    ROLE_FFN_IN, /* gate and up */
    ROLE_FFN_DOWN,
};

struct synth_mix {
    const char *name;
    int file_type;    /* general.file_type */
    const char *base; /* the type of most matrices */
    bool pure;        /* no exceptions */
};

/* Finds a mix, or makes one of a plain type in *plain; NULL if the name is neither. */
const struct synth_mix *synth_mix_find(struct str name, struct synth_mix *plain);

/* The type of a matrix with rows of `cols` in a layer; always one that can be encoded and whose
 * blocks divide the rows. */
const struct dtype *synth_mix_type(const struct synth_mix *mix, const struct synth_shape *shape,
                                   enum synth_role role, int layer, int64_t cols);

/* Writes the tokenizer's keys. False when memory ran out. */
bool synth_put_vocab(struct gguf_writer *writer, const struct synth_shape *shape,
                     struct arena *arena);

/* Encoded random elements of one type and scale, in units that tensors are put together from. */
struct synth_bank {
    const struct dtype *type;
    float deviation;
    size_t unit_elems, unit_bytes, n_units;
    char *units;
};

/* Normal with the given deviation. False when memory ran out. */
bool synth_bank_init(struct synth_bank *bank, const struct dtype *type, float deviation,
                     uint64_t seed, struct pool *pool);
void synth_bank_free(struct synth_bank *bank);

/* FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/) of a text, mixed with a number. */
uint64_t synth_hash(struct str text, uint64_t number);

#endif
