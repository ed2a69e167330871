/*
 * units.h — what is placed: a model cut into units, as numbers.
 *
 * A unit is what moves as one: a layer's attention weights (its router too), its cache of keys and
 * values, its dense feed-forward weights, its shared expert, one routed expert (all of a layer's
 * are one record with a count, as they are alike), the output head. Embedding rows are gathered
 * from the host's memory and belong to no unit. Owns its arrays (one arena). Immutable once made:
 * any thread.
 */
#ifndef PLAN_UNITS_H
#define PLAN_UNITS_H

#include "base/arena.h"
#include "model/model.h"
#include "plan/machine.h"

enum unit_kind {
    UNIT_ATTENTION,
    UNIT_KV,
    UNIT_FFN,
    UNIT_SHARED,
    UNIT_EXPERTS,
    UNIT_HEAD,
};

/* What of a unit, or of one expert, is in one format. */
struct unit_share {
    const struct dtype *dtype;
    double bytes, elems;
    int next; /* 0: the last */
};

struct unit {
    enum unit_kind kind;
    int layer;        /* the head's is the number of layers */
    uint64_t bytes;   /* as allocated; of one expert; of UNIT_KV for the whole context */
    double elems;     /* multiplied by each token; of one expert; of UNIT_KV 0 */
    int n_ops;        /* dispatches of an answer's pass, of what is fused one */
    int n_cpu_ops;    /* so many more of them where the CPU computes, which fuses otherwise */
    int n_copies;     /* its weights, each a copy where they are streamed */
    int n, n_used;    /* experts and those that a token takes; else 1 and 1 */
    int shares;       /* the first of its matrices by format, in units->shares; 0: not known */
    unsigned allowed; /* bit d: may live with device d; from options that say where */
};

/* Units in the order of a pass: layer by layer, the head last. */
struct units {
    struct arena arena;
    struct unit *items;
    int n_units, n_layers;     /* layers of the model; the head counts as one more */
    int *layer_first;          /* [n_layers + 2]: units of layer l are [first[l], first[l + 1]) */
    struct unit_share *shares; /* from 1 on */
    int n_shares;
    size_t n_weights;
    int *unit_of_weight; /* by weight->index; -1: host memory only */
    int n_embd, n_ctx, n_seqs, n_ctx_train, n_vocab;
    double attn_flop;               /* of a token and a position of the cache, in one layer */
    uint64_t kv_bytes_per_position; /* of one layer */
    struct cache_shape cache;       /* of the first layer, for all */
    char cache_name[MACHINE_CACHE_NAME];
    uint64_t host_bytes;          /* tables that only the host reads */
    uint64_t token_bytes;         /* activations that one token of a batch needs at once */
    uint64_t largest_bytes;       /* of a layer's matrix, or expert: what staging must take */
    uint64_t largest_stack_bytes; /* the same with all experts of a matrix, as allocated */
    uint64_t working_bytes; /* of a GPU that has a part, beside units; 0: not known, estimated */
    uint64_t taken_bytes[MACHINE_MAX_DEVICES]; /* and what is there that is of no unit */
};

enum { UNITS_PER_LAYER = 4, ALLOW_ALL = -1 };

/* Cuts a model for `n_seqs` contexts of n_ctx positions. Its layers' caches are like `kv`, their
 * pages `kv_page_bytes` for all of them (kv_layout). Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK units_create(struct units *out, const struct model *model, int n_ctx, int n_seqs,
                            const struct kv_geom *kv, uint64_t kv_page_bytes);
void units_free(struct units *units);

/* A matrix leaves the unit of this index. */
void units_take_out(struct units *units, int index, const struct weight *weight);

/* Are two units of the same formats? */
bool units_alike(const struct units *units, const struct unit *a, const struct unit *b);

/* Bytes of all units, the cache among them or alone. */
uint64_t units_weight_bytes(const struct units *units);
uint64_t units_kv_bytes(const struct units *units);

/* "blk.3.attention"; without the experts' numbers. Writes into `out`, which it returns. */
const char *unit_name(const struct unit *unit, char *out, size_t size);
const char *unit_kind_name(enum unit_kind kind);

#endif
