/*
 * rows.h — which kernels a model runs with: listed without running it, and counted for
 * measurements.
 *
 * Owns nothing that outlives a call. For tools of hearth's own; nothing of ops or devices is
 * reached through it. One thread.
 */
#ifndef ENGINE_ROWS_H
#define ENGINE_ROWS_H

#include "hearth/hearth.h"

enum { MAX_ROW_STATS = 64, MAX_ROW_SPECS = 16 };

/* A specialization constant of a shader, as the row sets it. */
struct row_spec {
    const char *name;
    uint32_t value;
};

/* A number that the driver's compiler says about a pipeline, in the driver's own words. */
struct row_stat {
    char name[64];
    double value;
};

/* One machine program of one pipeline that selection picks. */
struct row_item {
    const char *row;  /* of the row, or of a helper dispatch beside it */
    const char *blob; /* of the shader; NULL: a kernel of the CPU */
    /* in the shader's order, without max_chunks, which is the device's, not the row's */
    struct row_spec specs[MAX_ROW_SPECS];
    int n_specs;
    uint32_t subgroup_demanded; /* 0: any */
    int fallback;               /* rows that had to be wrong for it to be taken */
    char executable[64];        /* the driver's name for it; "" without statistics */
    uint32_t subgroup_size;     /* as compiled; 0 without statistics */
    struct row_stat stats[MAX_ROW_STATS];
    int n_stats;
};

typedef void row_item_fn(void *user, const struct row_item *item);

struct rows_options {
    const char *model; /* a path or synth:SHAPE:QUANT; NULL: made ones of every architecture, format
                        * and cache, too small to be of use but of the usual proportions */
    struct hth_model_options device; /* where; the log too */
    enum hth_kv_type kv;             /* of the cache; made ones add the others */
    bool float_only;
    bool fallbacks; /* and the rows that take the place of chosen ones that turn out wrong */
    bool stats;     /* what the driver's compiler says; nothing then comes from the cache on disk;
                     * a driver that says nothing is a line in the log, no error */
};

/* Compiles for every bucket that matters (1 … 16, 32, 512 tokens) every pipeline that selection
 * picks on the device (of a model that is named: as it was tuned), each once, and calls fn for it.
 * No weights are placed, nothing runs. With no Vulkan device asked for it lists the CPU's kernels.
 * Errors: those of opening the device and the model; HTH_ERROR_UNSUPPORTED naming an op that no row
 * fits and HTH_ERROR_DEVICE for a pipeline that cannot be compiled, in both cases after all others
 * were listed. */
HTH_CHECKED rows_list(const struct rows_options *options, row_item_fn *fn, void *user);

/* One dispatch of a program. */
struct row_step {
    const char *arch;  /* of the model */
    const char *label; /* of the op: "blk.3.attn_q" */
    const char *row;   /* or a helper dispatch beside it */
    int layer;         /* -1: before the first or after the last */
    bool moe;          /* does the model have experts? */
    bool barrier;      /* does it wait for those before it? */
};

typedef void row_step_fn(void *user, const struct row_step *step);

/* Compiles for one batch of `n_tokens` and calls fn for each dispatch, in order; model after model
 * (of made ones in one format). Needs a Vulkan device; otherwise as rows_list. */
HTH_CHECKED rows_steps(const struct rows_options *options, int n_tokens, row_step_fn *fn,
                       void *user);

enum { MAX_STEP_ROWS = 96 };

/* What one batch of a session takes. */
struct step_info {
    uint64_t weight_bytes; /* read, each weight once, of experts as many as tokens can choose */
    uint64_t flops;
    const char *rows[MAX_STEP_ROWS]; /* names of its kernels, each once, in order of first use */
    int n_rows;
};
HTH_CHECKED session_step_info(struct hth_session *session, int n_tokens, struct step_info *out);

#endif
