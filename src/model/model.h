/*
 * model.h — a bound model: what its file says (hyper-parameters) and where its weights are.
 *
 * Owns the lists of weights and layers (one arena); bytes stay in the gguf, which must outlive it.
 * What differs between architectures is behind `struct arch` (arch.h); nothing here or elsewhere
 * asks for an architecture's name. Immutable once loaded: any thread.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "gguf/gguf.h"
#include "op/op.h"

struct arch;

/* The names of the field (GGUF keys "<arch>.…"). Zero where an architecture has none. */
struct hparams {
    int n_layer, n_embd, n_vocab;
    int n_ctx_train;
    int n_head, n_head_kv;
    int head_dim_k, head_dim_v;
    int n_ff;
    int n_expert, n_expert_used, n_ff_expert;
    float norm_eps;
    struct rope_params rope;
    float attention_scale; /* 1/√head_dim_k unless the file says otherwise */
    struct router_params router;
    float temperature_scale; /* query × (1 + scale·ln(1 + ⌊pos / length⌋)); 0: none */
    int temperature_length;
    int no_rope_every; /* each n-th layer has no position; 0: all have */
    int n_window;      /* positions that layers with a window look back */
    float logit_scale;
};

/* What a layer holds; NULL where an architecture or file has none. Names as in GGUF. */
struct layer {
    const struct weight *attn_norm;
    const struct weight *attn_q, *attn_k, *attn_v, *attn_output;
    const struct weight *attn_q_bias, *attn_k_bias, *attn_v_bias, *attn_output_bias;
    const struct weight *attn_q_norm, *attn_k_norm;
    const struct weight *ffn_norm;
    const struct weight *ffn_gate, *ffn_up, *ffn_down;
    const struct weight *ffn_gate_bias, *ffn_up_bias, *ffn_down_bias;
    const struct weight *ffn_gate_inp, *ffn_gate_exps, *ffn_up_exps, *ffn_down_exps;
};

struct model {
    const struct gguf *gguf;
    const struct arch *arch;
    struct arena arena;
    const struct log *log;
    struct hparams hp;
    struct layer *layers;
    const struct weight *token_embd, *output_norm, *output, *output_bias, *rope_freqs;
    struct weight **weights; /* all that are used, in file order of first use; index = position */
    size_t n_weights, cap_weights;
};

/* Binds a file (or its directory alone: then weights have no data): finds the architecture, reads
 * its keys, checks that every weight it needs is there with the right shape and a type hearth can
 * multiply. Errors, naming file, key or tensor: HTH_ERROR_UNSUPPORTED (unknown architecture, with
 * those that are known), HTH_ERROR_FORMAT (missing or malformed key or tensor, wrong shape),
 * HTH_ERROR_MEMORY. */
HTH_MUST_CHECK model_load(struct model **out, const struct gguf *gguf, const struct log *log);
void model_free(struct model *model);

/* Number of parameters; bytes of all used weights as stored. */
uint64_t model_n_params(const struct model *model);
uint64_t model_weight_bytes(const struct model *model);

/* The layer that a tensor is of, by its name; −1: none. */
int model_layer_of(const char *tensor);

/* The shape of each layer's cache for a given type of keys and values: fills layers[n_layer] but
 * for the offsets, which kv_layout gives. */
void model_kv_geometry(const struct model *model, const struct dtype *type, struct kv_geom *layers);

/* Builds the graph of a forward pass for a bucket of batch sizes. `kv` has one geometry per layer.
 * The graph is initialised here; free it with graph_free whatever the result. */
HTH_MUST_CHECK model_build(const struct model *model, struct graph *graph, int n_tokens,
                           int n_outputs, const struct kv_geom *kv);

#endif
