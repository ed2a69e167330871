/*
 * rope_kv_args.h — arguments of rope and of writing the cache: heads of q, then of k, then of v.
 */
#ifndef SHADERS_ROPE_KV_ARGS_H
#define SHADERS_ROPE_KV_ARGS_H

#include "common/shared.h"

struct rope_kv_args {
    ref_t batch;
    ref_t q, q_out; /* [dim_q, n_q, T]; turned into q_out */
    ref_t k, v;     /* [dim_k, n_kv, T], [dim_v, n_kv, T] */
    u32 n_q, n_kv;  /* heads; 0: none of these */
    u32 dim_q;      /* also of k */
    u32 dim_v;
    u32 q_stride, q_out_stride, k_stride, v_stride; /* elements between tokens */
    u32 k_offset, v_offset; /* in a page, in units of 256 bytes */
    u32 n_rot;      /* 0: nothing turns */
    u32 neox;       /* 1: halves; 0: adjacent pairs */
    ref_t q_norm, k_norm; /* [dim_q]: heads are normed first; or REF_NONE */
    f32 eps;
    u32 rope_at; /* word offset in the batch of pairs (cos, sin), [token][n_rot / 2] */
};

#endif
