/*
 * attention_args.h — arguments of attention over the paged cache.
 */
#ifndef SHADERS_ATTENTION_ARGS_H
#define SHADERS_ATTENTION_ARGS_H

#include "common/shared.h"

struct attention_args {
    ref_t batch;
    ref_t q;      /* [HEAD_K, n_head, T] */
    ref_t y;      /* [HEAD_V × n_head, T] */
    ref_t sinks;  /* [n_head] or REF_NONE */
    u32 q_stride; /* elements between tokens */
    u32 y_stride;
    u32 k_offset; /* of this layer's K in a page, in units of 256 bytes */
    u32 v_offset;
    u32 heads; /* query heads per KV head */
    f32 scale;
    f32 softcap; /* 0: none */
    u32 window;  /* 0: none */
    ref_t parts; /* with SPLITS > 1: [workgroup][QR][HEAD_V + 2] F32, what each has come to */
};

#endif
