/*
 * op.h — the graph of a model as data: tensors with shape and type, ops in order, no device.
 *
 * Owns the list of ops and their parameters, and `struct graph` with all it points to (one arena).
 * Does not own bytes: a weight is a reference into a file, an activation only a shape. One family
 * of ops per file of this folder gives check, reference, cost and tolerance (op_def.h). Building a
 * graph never returns NULL in the middle: the first failure is kept in the graph and said at its
 * end, so that model code reads straight down. One thread per graph.
 *
 * Shapes: ne[0] is the length of a row, rows are contiguous; ne[1], ne[2] … count rows. Activations
 * are F32 but for indices (I32).
 */
#ifndef OP_OP_H
#define OP_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/log.h"
#include "quant/dtype.h"

enum op_kind {
    OP_GET_ROWS,   /* rows of a table, by token id or by wanted output */
    OP_MATMUL,     /* W·x (+ bias) (+ residual), plain or by expert */
    OP_RMS_NORM,   /* x / rms(x) × w over ne[0] */
    OP_LAYER_NORM, /* (x − mean) / deviation × w + bias over ne[0] */
    OP_ROPE,       /* rotary position embedding */
    OP_KV_WRITE,   /* keys and values of this batch into the cache */
    OP_ATTENTION,  /* softmax(q·Kᵀ)·V over the cache */
    OP_SOFTMAX,    /* over ne[0] */
    OP_ROUTER,     /* which experts, and how much of each */
    OP_EXPERT_SUM, /* Σ over the used experts of weight × output */
    OP_GLU,        /* act(gate) × up */
    OP_ADD,
    OP_MUL,
    OP_SCALE,        /* by a constant, or by position */
    OP_COPY,         /* to or from a hop, or both; partition puts it in */
    OP_TOP_K,        /* the largest of each row, and which they are */
    OP_ADD_RMS_NORM, /* fused: residual + x, and its norm */
    OP_MATMUL_GLU,   /* fused: gate, up and GLU */
    OP_MATMUL_QKV,   /* fused: up to three matmuls of one input */
    OP_ROPE_KV,      /* fused: rope of q and k (after a norm of each head), KV write */
    OP_MATMUL_SUM,   /* fused: matmul by expert, their sum (+ residual) */
    OP_NORM_MATMUL,  /* fused: a norm, and one of the matmuls above of what it gives */
    OP_KIND_COUNT,
};

enum { OP_MAX_IN = 8, OP_MAX_OUT = 4, OP_MAX_PARTS = 6, OP_MAX_DIMS = 4 };
enum { OP_NORM_W = OP_MAX_IN - 1 }; /* of norm_matmul: where the norm's weight stands in `in` */

/* How a weight's bytes lie. Every format has a row for LAYOUT_FILE on every device, so nothing
 * needs repacking to run. */
enum weight_layout {
    LAYOUT_FILE,   /* blocks one after the other, as in the file */
    LAYOUT_PLANES, /* the parts of blocks apart, for a GPU */
    LAYOUT_CPU,    /* rows interleaved, for a CPU kernel */
};

/* A matrix of the model: [ne0 × ne1 (× n experts)]. */
struct weight {
    const char *name;
    const struct dtype *dtype;
    enum weight_layout layout; /* of the bytes that ops of this weight read */
    int64_t ne[OP_MAX_DIMS];
    const void *data; /* rows in the mapping, LAYOUT_FILE */
    uint64_t size_bytes;
    int index; /* position in the model's list of weights */
    /* Experts that lie apart (older Mixtral files: a tensor each), or NULL: expert e is at
     * data + e × size_bytes / ne[2]. */
    const void *const *experts;
};

enum tensor_kind {
    TENSOR_WEIGHT,
    TENSOR_ACTIVATION,
    TENSOR_KV,  /* one layer's part of the cache */
    TENSOR_HOP, /* host memory, in which one device hands an activation to another */
};

/* Which number of the batch bounds the rows that are really there: a graph is built for a bucket of
 * batch sizes, a batch fills a part of it. */
enum row_count { ROWS_FIXED, ROWS_TOKENS, ROWS_OUTPUTS };

/* Where a layer's keys and values are inside a page of the cache (kv/kv.h): K of (head h, slot s)
 * at page + k_offset + (h × KV_PAGE + s) × bytes of a row of k_dim; V likewise. */
struct kv_geom {
    int n_head_kv, k_dim, v_dim;
    const struct dtype *k_type, *v_type;
    uint32_t k_offset, v_offset; /* bytes */
};

enum { KV_PAGE = 64 }; /* positions per page */

struct tensor {
    const char *name; /* "blk.3.attn_q" */
    enum tensor_kind kind;
    const struct dtype *dtype;
    int64_t ne[OP_MAX_DIMS];
    int64_t stride[OP_MAX_DIMS]; /* in elements; stride[0] is 1 */
    int n_dims;                  /* in use; the outermost is ne[n_dims - 1], even if it is 1 */
    enum row_count rows;         /* bounds the outermost dimension */
    const struct weight *weight; /* TENSOR_WEIGHT */
    struct kv_geom kv;           /* TENSOR_KV */
    int hop;                     /* TENSOR_HOP: its number (partition.h), and where it lies: */
    int hop_device;              /* in whose memory for hops, */
    uint64_t hop_offset;         /* and at which byte of it */
    struct tensor *view_of;      /* shares the bytes of this one, from view_offset elements on */
    int64_t view_offset;
    int id; /* position in graph.tensors */
};

enum batch_index { INDEX_TOKENS, INDEX_OUTPUTS };

struct get_rows_params {
    enum batch_index index;
};

struct matmul_params {
    bool by_expert; /* in[4] holds the experts' numbers, I32 [n_used, T] */
};

struct rms_norm_params {
    float eps;
};

struct layer_norm_params {
    float eps;
};

enum rope_kind { ROPE_NORM, ROPE_NEOX }; /* adjacent pairs; halves */

/* θ_i = pos × base^(−2i/n_rot) / factor_i × freq_scale; YaRN (Peng et al. 2023, arXiv:2309.00071)
 * mixes scaled and unscaled angles by a ramp between beta_fast and beta_slow rotations. */
struct rope_params {
    enum rope_kind kind;
    int n_rot; /* dimensions that turn, from the front of the row; the rest is copied */
    float freq_base, freq_scale;
    float ext_factor;  /* 0: no YaRN, 1: all of it */
    float attn_factor; /* multiplies cos and sin; YaRN's 0.1·ln(1/freq_scale) + 1 comes on top */
    float beta_fast, beta_slow;
    int n_ctx_orig; /* positions the model was trained on before scaling */
};

struct attention_params {
    int n_head;
    float scale;   /* of q·k */
    float softcap; /* 0: none; else c × tanh(s / c) */
    int window;    /* 0: all; else only positions > pos − window */
};

enum router_kind { ROUTER_SOFTMAX, ROUTER_SIGMOID, ROUTER_SOFTMAX_CHOSEN };

/* Probabilities over experts; the n_used largest (of prob + bias, if there is a bias) are chosen,
 * ties to the lower number; weights are the unbiased probabilities, normalised by their sum
 * (at least 6.1e-5) if `normalize`, then × scale. ROUTER_SOFTMAX_CHOSEN: top of the logits (with
 * the bias added), softmax over the chosen only. */
struct router_params {
    enum router_kind kind;
    int n_used;
    bool normalize;
    float scale;
};

enum glu_kind { GLU_SILU, GLU_GELU_TANH, GLU_GELU_ERF };

struct glu_params {
    enum glu_kind kind;
};

/* y = x × scale, and × (1 + log_scale × ln(1 + ⌊pos / log_length⌋)) if log_length > 0. */
struct scale_params {
    float scale;
    float log_scale;
    int log_length;
};

struct top_k_params {
    int k;
};

struct op {
    enum op_kind kind;
    const char *label; /* its output's name */
    struct tensor *in[OP_MAX_IN];
    struct tensor *out[OP_MAX_OUT];
    union {
        struct get_rows_params get_rows;
        struct matmul_params matmul;
        struct rms_norm_params rms_norm;
        struct layer_norm_params layer_norm;
        struct rope_params rope;
        struct attention_params attention;
        struct router_params router;
        struct glu_params glu;
        struct scale_params scale;
        struct top_k_params top_k;
    } p;
    int layer; /* -1: before the first or after the last */
    /* A fused op is its parts, in order; its reference runs them. */
    struct op *parts[OP_MAX_PARTS];
    int n_parts;
};

struct graph {
    struct arena arena;
    struct tensor **tensors;
    size_t n_tensors, cap_tensors;
    struct tensor **by_index; /* of weights, by weight->index: the first that had it, or NULL */
    size_t n_by_index, cap_by_index;
    struct op **ops;
    size_t n_ops, cap_ops;
    int n_tokens, n_outputs; /* the bucket */
    int layer;               /* prefixed to names while building; -1: none */
    const struct log *log;
    enum hth_status status; /* the first failure */
    struct tensor broken;   /* what constructors return after one */
    struct tensor *logits;  /* [n_vocab, n_outputs] */
    struct tensor *best;    /* of them, where these alone are the result (op_top_k); or NULL */
};

/* --- building (graph.c) ----------------------------------------------------------------------- */

/* An empty graph for a bucket of batch sizes. */
void graph_init(struct graph *graph, int n_tokens, int n_outputs, const struct log *log);
void graph_free(struct graph *graph);

/* The tensor that stands for a weight; one per (graph, weight). NULL gives NULL. */
struct tensor *graph_weight(struct graph *graph, const struct weight *weight);

/* A layer's cache. */
struct tensor *graph_kv(struct graph *graph, const char *name, const struct kv_geom *geom);

/* A fresh activation. */
struct tensor *graph_activation(struct graph *graph, const char *name, const struct dtype *dtype,
                                const int64_t ne[OP_MAX_DIMS], enum row_count rows);

/* The same bytes with another shape (the product of ne is unchanged; x is contiguous). */
struct tensor *graph_reshape(struct graph *graph, struct tensor *x, int64_t ne0, int64_t ne1,
                             int64_t ne2);

/* Appends an op after checking it (op_def.check); on failure logs it by label and breaks the graph.
 */
struct op *graph_append(struct graph *graph, const struct op *op);

/* Logs and remembers a failure of the model's own code. */
void graph_fail(struct graph *graph, enum hth_status status, const char *fmt, ...)
    ATTR_PRINTF(3, 4);

/* What is read when the graph has run: the best, or the logits; NULL: another device has them. */
struct tensor *graph_result(const struct graph *graph);

/* One line per op: label, kind, inputs with shapes, outputs; the same graph gives the same text. */
void graph_print(const struct graph *graph, struct strbuf *out);

/* Where a kind of matmul, plain or fused, has its x in `in`; -1: it is none, or it sums up. */
int op_product_x(enum op_kind kind);

/* The tensor whose bytes these are (follows view_of), and the offset in elements. */
struct tensor *tensor_base(const struct tensor *tensor, int64_t *offset);
int64_t tensor_elems(const struct tensor *tensor);
int64_t tensor_rows(const struct tensor *tensor); /* ne[1] × ne[2] × ne[3] */

/* --- the ops, as model code calls them; shapes in → out --- */

/* After a failure they return &g->broken and do nothing more. Where their tensors stand in op.in
 * and op.out, those of fused ops included ("-": NULL may stand there in every case):
 *
 *   kind          in                                          out
 *   get_rows      table                                       rows
 *   matmul        W, x, bias or -, residual or -, ids or -    y (residual only ever by fusion)
 *   rms_norm      x, w or -                                   y
 *   layer_norm    x, w or -, bias or -                        y
 *   rope          x, factors or -                             y
 *   kv_write      k, v                                        kv
 *   attention     q, kv, sinks or -                           y
 *   softmax       x                                           y
 *   router        logits, bias or -                           weights, ids
 *   expert_sum    x, weights                                  y
 *   glu           gate, up                                    y
 *   add, mul      a, b                                        y
 *   scale, copy   x                                           y
 *   top_k         x                                           best
 *   add_rms_norm  a, b, w                                     sum, normed; p.rms_norm
 *   matmul_glu    Wg, x, bias_g or -, -, ids or -, Wu,        y; p.glu, by expert if ids
 *                 bias_u or -
 *   matmul_qkv    x, W0, b0 or -, W1, b1 or -, W2 or -,       y0, y1, y2 or -
 *                 b2 or -
 *   rope_kv       q, k, v, factors or -, w_q or -, w_k or -   q turned, kv; p.rope, norms of heads
 *                                                             if there are w_q and w_k
 *   matmul_sum    W, x, bias or -, residual or -, ids,        y; by expert
 *                 weights
 *   norm_matmul   those of the matmul it ends with, whose x   those of the matmul
 *                 is not normed yet; in[7]: w of the norm
 */

/* table [n, rows] → [n, T]; INDEX_OUTPUTS: x [n, T] → [n, n_outputs]. */
struct tensor *op_get_rows(struct graph *g, const char *label, struct tensor *table,
                           enum batch_index index);
/* W [k, n], x [k, T], bias [n] or NULL → [n, T]. */
struct tensor *op_matmul(struct graph *g, const char *label, struct tensor *w, struct tensor *x,
                         struct tensor *bias);
/* W [k, n, n_expert], x [k, T] or [k, n_used, T], ids I32 [n_used, T] → [n, n_used, T]. An expert
 * that is not on this device gives zeros, its bias included. */
struct tensor *op_matmul_experts(struct graph *g, const char *label, struct tensor *w,
                                 struct tensor *x, struct tensor *ids);
/* x [n, …], w [n] or NULL (no weight) → same shape; over each row. */
struct tensor *op_rms_norm(struct graph *g, const char *label, struct tensor *x, struct tensor *w,
                           float eps);
/* x [n, …], w and bias [n] or NULL → same shape; over each row. */
struct tensor *op_layer_norm(struct graph *g, const char *label, struct tensor *x, struct tensor *w,
                             struct tensor *bias, float eps);
/* x [head_dim, n_head, T], factors [n_rot / 2] or NULL → same shape. */
struct tensor *op_rope(struct graph *g, const char *label, struct tensor *x, struct tensor *factors,
                       const struct rope_params *params);
/* k [k_dim, n_head_kv, T], v [v_dim, n_head_kv, T] → cache. */
void op_kv_write(struct graph *g, const char *label, struct tensor *k, struct tensor *v,
                 struct tensor *kv);
/* q [k_dim, n_head, T], the cache, sinks [n_head] or NULL → [v_dim × n_head, T]; causal. */
struct tensor *op_attention(struct graph *g, const char *label, struct tensor *q, struct tensor *kv,
                            struct tensor *sinks, const struct attention_params *params);
struct tensor *op_softmax(struct graph *g, const char *label, struct tensor *x);
/* logits [n_expert, T], bias [n_expert] or NULL → weights [n_used, T]; *ids I32 [n_used, T]. */
struct tensor *op_router(struct graph *g, const char *label, struct tensor *logits,
                         struct tensor *bias, const struct router_params *params,
                         struct tensor **ids);
/* x [n, n_used, T], weights [n_used, T] → [n, T]. */
struct tensor *op_expert_sum(struct graph *g, const char *label, struct tensor *x,
                             struct tensor *weights);
/* gate, up [n, …] → same shape. */
struct tensor *op_glu(struct graph *g, const char *label, struct tensor *gate, struct tensor *up,
                      enum glu_kind kind);
/* a, b of one shape, or b a single row [n] → shape of a. */
struct tensor *op_add(struct graph *g, const char *label, struct tensor *a, struct tensor *b);
struct tensor *op_mul(struct graph *g, const char *label, struct tensor *a, struct tensor *b);
struct tensor *op_scale(struct graph *g, const char *label, struct tensor *x,
                        const struct scale_params *params);
/* The same bytes, elsewhere. */
struct tensor *op_copy(struct graph *g, const char *label, struct tensor *x);
/* x [n, T] → I32 [1, T] or [2 k, T] (top_k.h). */
struct tensor *op_top_k(struct graph *g, const char *label, struct tensor *x, int k);

#endif
