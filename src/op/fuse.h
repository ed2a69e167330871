/*
 * fuse.h — rewrites of a graph for one device: several ops become one that the device does at once.
 *
 * Owns nothing. A fused op keeps its parts, and the tensors between them stay in the graph if
 * anyone else reads them. Deterministic. One thread per graph.
 */
#ifndef OP_FUSE_H
#define OP_FUSE_H

#include "op/op.h"

enum fuse_flags {
    FUSE_ADD_RMS_NORM = 1,
    FUSE_MATMUL_GLU = 2,
    FUSE_MATMUL_QKV = 4,
    FUSE_ROPE_KV = 8,
    FUSE_MATMUL_SUM = 16,
    FUSE_MATMUL_ADD = 32, /* a residual into the matmul before it */
    FUSE_NORM_MATMUL = 64,
    FUSE_ALL = 127,
};

/* Rewrites `graph` in place; `flags` says what this device has kernels for, `fits` (may be NULL) is
 * asked for each candidate. */
HTH_MUST_CHECK fuse_graph(struct graph *graph, unsigned flags,
                          bool (*fits)(void *user, const struct op *op), void *user);

#endif
