/*
 * arch.h — what a model architecture is: one file in model/arch with one constant.
 *
 * `const struct arch arch_<name> = {` in a file of its own (the build lists them): the keys it reads,
 * the weights it needs, and `build`, straight-line code with one named op per line. It sees op.h,
 * model.h and blocks.h, nothing else. Constants: any thread.
 */
#ifndef MODEL_ARCH_H
#define MODEL_ARCH_H

#include <stddef.h>

#include "model/model.h"

/* Reads "<arch>.<suffix>" keys; each logs what is missing or out of range and returns false then.
 * Defined in load.c. */
struct key_reader {
    const struct gguf *gguf;
    const char *arch; /* prefix */
    const struct log *log;
    bool failed; /* a required key was missing or malformed */
};
/* Integer in [min, max]; absent: `fallback` (negative: the key is required). */
int key_int(struct key_reader *keys, const char *suffix, int min, int max, int fallback);
/* Finite float; absent: `fallback` (NAN: the key is required). */
float key_float(struct key_reader *keys, const char *suffix, float fallback);
bool key_bool(struct key_reader *keys, const char *suffix, bool fallback);
/* A string, or empty when absent. */
struct str key_str(struct key_reader *keys, const char *suffix);

/* A size that weights' shapes are written in. */
enum dim {
    DIM_NONE, /* no such dimension */
    DIM_EMBD,
    DIM_VOCAB,
    DIM_Q,  /* n_head × head_dim_k */
    DIM_K,  /* n_head_kv × head_dim_k */
    DIM_V,  /* n_head_kv × head_dim_v */
    DIM_O,  /* n_head × head_dim_v */
    DIM_HEAD_K,
    DIM_FF,
    DIM_FF_EXPERT,
    DIM_EXPERT,
    DIM_ROT_HALF, /* n_rot / 2 */
};

enum weight_flags {
    WEIGHT_OPTIONAL = 1,
    WEIGHT_VECTOR = 2,        /* used element by element: F32 (F16 and BF16 are converted) */
    WEIGHT_EXPERTS_APART = 4, /* may come as one tensor per expert, "blk.%d.ffn_gate.%d.weight" */
    WEIGHT_IF_MOE = 8,        /* only where n_expert > 0 */
    WEIGHT_IF_DENSE = 16,     /* only where n_expert == 0 */
};

struct weight_spec {
    const char *name; /* "blk.%d.attn_q.weight"; without %d: one for the model */
    size_t offset;    /* of the pointer in struct layer, or in struct model */
    enum dim ne[3];
    unsigned flags;
};

struct arch {
    const char *name; /* general.architecture */
    const struct weight_spec *weights;
    size_t n_weights;
    /* Fills hparams beyond what all share; NULL: nothing to add. */
    void (*read_keys)(struct key_reader *keys, struct hparams *hp);
    void (*build)(const struct model *model, struct graph *g, const struct kv_geom *kv);
};

#endif
