/*
 * plan.h — the plan: where each unit of a model lives on a machine, and how fast that will be.
 *
 * Made from numbers alone: a machine, the units of a model, what is asked for. Owns the lists in
 * `struct plan`; machine and units are borrowed and must outlive it. Immutable once made: any
 * thread. docs/placement.md says how it is thought.
 */
#ifndef PLAN_PLAN_H
#define PLAN_PLAN_H

#include "base/str.h"
#include "plan/cost.h"

/* Of `skew` where nothing else is known. */
#define USUAL_EXPERT_SKEW 0.7

/* What there is to decide by. Zero: a usual conversation, everything chosen. */
struct plan_options {
    int n_in, n_out; /* tokens of prompt and answer of a turn; 0: 1000 and 300 */
    int n_batch;     /* tokens of a batch at most; 0: chosen */
    double skew;     /* of the use of experts; see struct turn */
    bool as_run;     /* only what models run with by now: see struct turn */
    bool more;       /* what one more GiB would bring, too: as long again */
};

struct plan_unit {
    struct choice choice;
    enum weight_layout layout; /* of its bytes where they live with the CPU */
    double decode_s;           /* of a token; hops to it included */
    double gain_s;             /* of a turn, had it been on the fastest GPU; 0 if it is on one */
};

/* What is planned for one memory: of the host (0) or of a GPU. */
struct plan_heap {
    uint64_t weights, experts_cached, kv, activations, staging;
    uint64_t planned; /* the sum */
    uint64_t in_file; /* weights of the host that its memory has no room for */
    uint64_t budget;
};

/* What a plan by what models run with so far would bring, beside one that counts with more. */
struct plan_so_far {
    double prompt_tokens_per_s, answer_tokens_per_s; /* 0: this is one */
};

/* What one more GiB on a GPU would bring. */
struct plan_more {
    int device; /* 0: nobody asked, or there is no GPU */
    double prompt_tokens_per_s, answer_tokens_per_s;
};

struct plan {
    const struct machine *machine;
    const struct units *units;
    struct turn turn;        /* with the batch that was chosen */
    struct plan_unit *items; /* [units->n_units]; mem_free by plan_free */
    struct plan_heap heaps[MACHINE_MAX_DEVICES];
    struct cost_parts total; /* of all layers */
    double turn_s, prompt_tokens_per_s, answer_tokens_per_s;
    double file_part;  /* of the host's weights, read from the file for every token */
    int stream_from;   /* tokens of a batch for which weights are streamed; 0: for none are */
    int stream_to;     /* the GPU that they are streamed to */
    double expert_hit; /* expected share of experts that the GPU has, over layers with some */
    bool estimated;    /* some rate that it rests on is an estimate */
    struct plan_more more;
    struct plan_so_far so_far; /* set by who asks for both */
    char bottleneck[256];      /* a sentence */
};

/* Errors: HTH_ERROR_LIMIT when a context, or units that options bind to a device, fit nowhere,
 * with what would; HTH_ERROR_MEMORY. On failure *plan is empty. */
HTH_MUST_CHECK plan_create(struct plan *plan, const struct machine *machine,
                           const struct units *units, const struct plan_options *options,
                           const struct log *log);
void plan_free(struct plan *plan);

/* *n_batch tokens at once are usual; more where weights are streamed and a turn is clearly faster
 * so: each batch copies them again. Errors: those of plan_create. */
HTH_MUST_CHECK plan_choose_batch(int *n_batch, const struct machine *machine,
                                 const struct units *units, const struct plan_options *options,
                                 const struct log *log);

/* The same for units that live where `choices` ([units->n_units]) say: what that takes and how fast
 * it is, whether it fits or not. `n_batch` must be given. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK plan_judge(struct plan *plan, const struct machine *machine,
                          const struct units *units, const struct plan_options *options,
                          const struct choice *choices, const struct log *log);

/* A turn that may be another than what a plan was made for: `n_prompt` tokens in batches of at most
 * n_batch, behind `depth` others, then n_answer one by one. */
struct plan_asked {
    int depth, n_prompt, n_answer, n_batch;
    int stream_from; /* with fewer tokens in a batch nothing is streamed; 0: what the plan streams
                      */
};

/* Seconds of it. */
struct plan_expected {
    double cpu_s[PHASES], gpu_s[PHASES];
    double others_s[PHASES]; /* hand-overs; below 0 where the two overlap */
};
static inline double plan_expected_s(const struct plan_expected *expected, enum phase phase)
{
    return expected->cpu_s[phase] + expected->gpu_s[phase] + expected->others_s[phase];
}
void plan_expect(const struct plan *plan, const struct plan_asked *asked,
                 struct plan_expected *out);

/* An estimate of what a GPU holds beside units for batches of n_batch tokens. */
uint64_t plan_working_bytes(const struct units *units, int n_batch);

const char *plan_mode_name(enum prefill_mode mode);
const char *plan_layout_name(enum weight_layout layout);

/* The report for people, and the picture as SVG. Appended; out->failed tells when memory ran out.
 */
void plan_print(const struct plan *plan, struct strbuf *out);
void plan_draw(const struct plan *plan, struct strbuf *out);

#endif
