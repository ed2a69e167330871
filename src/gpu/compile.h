/*
 * compile.h — ops and places become steps: which pipeline, which arguments, how many groups, what
 * is read and written, where a barrier stands.
 *
 * Owns the steps of one graph (a program) until it is freed. No commands are recorded here
 * (exec.c). One thread.
 */
#ifndef GPU_COMPILE_H
#define GPU_COMPILE_H

#include "gpu/hazard.h"
#include "gpu/place.h"
#include "gpu/row.h"
#include "plan/memmap.h"

struct step {
    const struct row *row; /* NULL: a helper dispatch of the row before (quantize, group) */
    const char *label;     /* of the op */
    const char *name;      /* of the row or helper */
    struct row_choice choice;
    struct vk_pipeline *pipeline;
    uint8_t args[VK_MAX_PUSH_BYTES];
    uint32_t args_bytes;
    uint32_t groups[3];
    struct access access;
    uint64_t bytes, flops; /* what it moves and computes at the bucket's size */
    int takes, gives;      /* number of the hop that it reads, or writes; −1: none */
};

/* A weight that is brought into the ring. */
struct load {
    const struct placed *placed;
    uint64_t bytes;
    size_t first, end; /* the steps that read it */
    size_t after;      /* the end of those that read what lies there before; 0: none does */
};

/* Attention of buckets up to this size may share a tile's pages between workgroups. */
enum { SPLIT_TOKENS = 64 };

/* Query tokens per tile of attention, of which `n_tokens` are to be made. */
uint32_t attention_tile_tokens(const struct op *op, int n_tokens);

/* A rotary table that the host computes for each batch. */
struct rope_table {
    struct rope_params params;
    const float *factors; /* [n_rot / 2] or NULL */
    uint32_t at;          /* word offset in the batch buffer */
};

enum { MAX_ROPE_TABLES = 8 };

/* Word offsets of the arrays in the batch buffer, for one bucket. */
struct batch_layout {
    uint32_t ids, pos, seq, outputs, tiles, pages, counters;
    uint32_t n_counters;
    uint32_t max_tiles, tile_tokens; /* query tokens per tile of attention */
    uint32_t table_stride;
    struct rope_table ropes[MAX_ROPE_TABLES];
    int n_ropes;
    uint32_t n_words;
};

struct program {
    struct arena arena;
    struct step *steps;
    size_t n_steps, cap_steps;
    struct load *loads; /* in the order of the steps that read them */
    size_t n_loads, cap_loads;
    struct batch_layout batch;
    uint64_t activation_bytes; /* with scratch at the end */
    uint64_t hop_bytes;        /* to the end of the last hop */
    uint32_t result_place;     /* graph_result: offset in the activation chunk */
    uint64_t result_bytes;     /* 0: another device has it */
};

/* Contents made by helper dispatches, shared by several ops; from SIDE_FOUND on only while an op
 * runs. */
enum side { SIDE_QUANTIZED, SIDE_HALVES, SIDE_GROUPS, SIDE_FOUND, SIDE_PARTS, SIDE_COUNT };

/* A row in a shape of its own. */
struct row_pick {
    const struct row *row;
    struct row_choice choice;
};

/* What compiling needs to know. */
struct compile {
    struct vk *vk;
    const struct log *log;
    struct row_env env;
    const struct row_pick *pick;
    const struct place *place, *ring;
    const struct graph *graph;
    const struct memmap *map;
    struct program *program;
    uint32_t activations; /* chunk */
    uint32_t batch_chunk; /* chunk of the batch buffer, offset 0 */
    uint32_t hops;        /* chunk of what comes from other devices and goes there */
    const struct op *op;  /* at hand, and its row */
    const struct row *row;
    /* side buffers behind the activations, and whose contents they hold now */
    bool measuring; /* the first pass: nothing is added */
    uint64_t side_at[SIDE_COUNT], side_bytes[SIDE_COUNT];
    const struct tensor *quantized, *halved, *grouped;
    const char *halved_by; /* the helper */
    uint32_t grouped_tile;
};

struct compile_options {
    struct vk *vk;
    struct row_env env;
    const struct row_pick *pick; /* for every op; NULL: selection */
    const struct place *place;
    const struct place *ring; /* of weights that come when needed; NULL: there are none */
    uint32_t activations, batch_chunk, hops;
    int table_stride; /* pages per sequence in the batch's table */
};

/* Compiles a fused graph for one bucket. Steps hold offsets in the activation chunk, which must
 * then have program.activation_bytes. Pipelines are requested, not waited for. Errors:
 * HTH_ERROR_UNSUPPORTED naming the op that no row fits, HTH_ERROR_MEMORY, the device's. */
HTH_MUST_CHECK compile_program(struct program *out, const struct graph *graph,
                               const struct compile_options *options, const struct log *log);
void program_free(struct program *program);

/* Fuses a graph with what rows can do at once. */
HTH_MUST_CHECK compile_fuse(struct graph *graph, const struct row_env *env);

/* The sizes alone, of a fused graph whose weights are laid out (place_measure): activation_bytes,
 * batch, result_bytes and hop_bytes of `out`, which holds nothing to free. No pipeline is made. */
HTH_MUST_CHECK compile_measure(struct program *out, const struct graph *graph,
                               const struct compile_options *options, const struct log *log);

/* The same for tensors that are placed already; program->result_* stay zero. For op tests. */
HTH_MUST_CHECK compile_placed(struct program *out, const struct graph *graph,
                              const struct memmap *map, const struct compile_options *options,
                              const struct log *log);

/* One line per step: barrier or not, row, label, specialization, groups. */
void program_print(const struct program *program, struct strbuf *out);

/* --- for the rows' emit ----------------------------------------------------------------------- */

/* The place of an activation, and its range; REF_NONE for NULL. A layer's cache, whose pages lie
 * anywhere, stands as a range of its own in chunk UINT32_MAX. */
uint32_t compile_ref(const struct compile *c, const struct tensor *tensor);
struct range compile_range(const struct compile *c, const struct tensor *tensor);

/* Where a weight is; never NULL (compile fails before). */
const struct placed *compile_weight(const struct compile *c, const struct tensor *tensor);

/* Place of a small weight used as it is (norm, bias), with one part; REF_NONE for NULL. */
uint32_t compile_vector(const struct compile *c, const struct tensor *tensor);

uint32_t compile_batch_ref(const struct compile *c);

/* BATCH_N_TOKENS or BATCH_N_OUTPUTS for a tensor's rows. */
uint32_t compile_rows_field(const struct tensor *tensor);

/* How many tokens (or outputs) the bucket has for this tensor. */
uint32_t compile_bucket(const struct compile *c, const struct tensor *tensor);

/* Elements between tokens of a tensor [n, T] or [.., .., T] (any number where T is 1). */
uint32_t compile_stride(const struct tensor *tensor);

/* The word offset of the rotary table for these parameters. */
uint32_t compile_rope(struct compile *c, const struct rope_params *params,
                      const struct tensor *factors, enum hth_status *status);

/* A dispatch under construction: set args and groups, declare what it touches, then add it. */
struct dispatch {
    const char *name;
    struct row_choice choice;
    const void *args;
    uint32_t args_bytes;
    uint32_t groups[3];
    struct access access;
};
void dispatch_reads(struct dispatch *d, const struct compile *c, const struct tensor *tensor);
void dispatch_writes(struct dispatch *d, const struct compile *c, const struct tensor *tensor);
void dispatch_reads_range(struct dispatch *d, struct range range);
void dispatch_writes_range(struct dispatch *d, struct range range);
/* A dispatch with a name is a helper's; one without is the row's own. */
HTH_MUST_CHECK compile_add(struct compile *c, const struct dispatch *d);

/* A helper blob with default specialization. NULL with a logged reason if this device lacks it. */
const struct shader_blob *compile_helper(struct compile *c, const char *blob,
                                         struct row_choice *choice);

/* The place of a side buffer, with room for `size_bytes`, and its range. */
void compile_side(struct compile *c, enum side side, uint64_t size_bytes, uint32_t *place,
                  struct range *range);

#endif
