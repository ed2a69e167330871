/*
 * rows_part.h — the graphs of a model, or of made ones of all architectures and formats, whose rows
 * are listed or tested.
 *
 * Private to the rows files and the self-test of this folder. Owns nothing that outlives a call.
 * One thread.
 */
#ifndef ENGINE_ROWS_PART_H
#define ENGINE_ROWS_PART_H

#include "base/str.h"
#include "engine/rows.h"
#include "model/arch.h"
#include "model/model.h"

/* Gets each graph, as the model builds it, not fused yet; it may be changed. */
typedef enum hth_status rows_graph_fn(void *user, const struct model *model, struct graph *graph);

struct rows_walk {
    const struct rows_options *options; /* model, device, cache */
    const struct log *log;
    bool gpu;           /* formats that have shaders; else those that can be decoded */
    const int *buckets; /* of tokens; NULL: all that there are up to 512 */
    size_t n_buckets;
    bool one_format; /* made models in Q4_0 alone, with the cache that is asked for */
    rows_graph_fn *fn;
    void *user;
    enum hth_status worst; /* out: the first failure that did not end the walk */
};

/* Only memory and a lost device end it, and what a model cannot be opened for. */
HTH_MUST_CHECK rows_walk(struct rows_walk *walk);

/* The file of a made model of an architecture appended to `out`: zeroed weights, Q4_0 matrices, no
 * vocabulary. `moe`: with experts, if it can. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK rows_model(struct strbuf *out, const struct arch *arch, bool moe, int head_dim,
                          const struct log *log);

/* Does an architecture come without experts (or with them)? */
bool rows_arch_has(const struct arch *arch, bool moe);

#endif
