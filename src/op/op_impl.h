/*
 * op_impl.h — what the files of this folder share: the beginnings and ends of constructors,
 * questions about shapes, and sums of bytes.
 *
 * Owns nothing; private to op/. One thread per graph.
 */
#ifndef OP_OP_IMPL_H
#define OP_OP_IMPL_H

#include "op/op_def.h"

/* A label with "blk.N." in front while the graph is inside a layer; NULL after a failure. */
const char *graph_label(struct graph *graph, const char *label);

/* True if a constructor may begin: nothing has failed, and the input is a usable tensor (else the
 * graph fails, naming `label`). */
bool graph_can(struct graph *graph, const char *label, const struct tensor *input);

/* Appends `op` with its label; returns out[0], or the broken tensor. */
struct tensor *graph_finish(struct graph *graph, const char *label, struct op *op);

bool tensor_same_shape(const struct tensor *a, const struct tensor *b);
bool tensor_is_contiguous(const struct tensor *tensor);

/* An F32 tensor with at most three dimensions; the type of all activations but indices. */
bool tensor_is_f32(const struct tensor *tensor);

/* One F32 row of n elements (a norm's weight, a bias). */
bool tensor_is_vector(const struct tensor *tensor, int64_t n);

/* Is dimension d the one that the batch bounds? (A dimension of one row may stand at its place.) */
bool tensor_batch_dim(const struct tensor *tensor, int d);

uint64_t tensor_bytes(const struct tensor *tensor);

/* Bytes of the inputs and outputs that are activations. */
uint64_t op_act_bytes(const struct op *op);

/* Cost of an op that reads and writes its tensors once and computes `flops` per element of out[0].
 */
struct op_cost op_cost_elementwise(const struct op *op, int flops);

#endif
