#define LANES 4
#define WIDTH 16
#include "cpu/cpu_op.h"
#include "cpu/float_body.h"

/* The same text in vectors of four: what every compiler has, on any processor. */
const struct float_kernels float_kernels_scalar = {
    .width = WIDTH,
    .tile = float_tile,
    .dot = float_dot,
    .softmax = softmax,
    .few_scores = few_scores,
    .softmax_rows = softmax_rows,
    .glu = glu,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
};

const struct cpu_op cpu_op_attention_scalar = {
    .name = "attention_scalar",
    .kind = OP_ATTENTION,
    .level = CPU_SCALAR,
    .floats = &float_kernels_scalar,
    .scratch_bytes = attention_scratch_bytes,
    .run = attention_run,
};

const struct cpu_op cpu_op_glu_scalar = {
    .name = "glu_scalar",
    .kind = OP_GLU,
    .level = CPU_SCALAR,
    .floats = &float_kernels_scalar,
    .run = glu_run,
};

const struct cpu_op cpu_op_kv_write_scalar = {
    .name = "kv_write_scalar",
    .kind = OP_KV_WRITE,
    .level = CPU_SCALAR,
    .floats = &float_kernels_scalar,
    .run = kv_write_run,
};

const struct cpu_op cpu_op_rms_norm_scalar = {
    .name = "rms_norm_scalar",
    .kind = OP_RMS_NORM,
    .level = CPU_SCALAR,
    .floats = &float_kernels_scalar,
    .run = rms_norm_run,
};

const struct cpu_op cpu_op_layer_norm_scalar = {
    .name = "layer_norm_scalar",
    .kind = OP_LAYER_NORM,
    .level = CPU_SCALAR,
    .floats = &float_kernels_scalar,
    .run = layer_norm_run,
};
