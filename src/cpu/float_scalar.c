#define LANES 4
#define WIDTH 16
#include "cpu/cpu_op.h"
#include "cpu/float_body.h"

/* The same text in vectors of four: what every compiler has, on any processor. */
const struct float_kernels float_kernels_scalar = {
    .width = WIDTH, .tile = float_tile, .dot = float_dot, .softmax = softmax, .glu = glu};

static void run_attention(const struct op_call *call, const struct cpu_scratch *scratch)
{
    attention_run(call, scratch, &float_kernels_scalar);
}

const struct cpu_op cpu_op_attention_scalar = {
    .name = "attention_scalar",
    .kind = OP_ATTENTION,
    .level = CPU_SCALAR,
    .scratch_bytes = attention_scratch_bytes,
    .run = run_attention,
};

static void run_glu(const struct op_call *call, const struct cpu_scratch *scratch)
{
    glu_run(call, scratch, &float_kernels_scalar);
}

const struct cpu_op cpu_op_glu_scalar = {
    .name = "glu_scalar", .kind = OP_GLU, .level = CPU_SCALAR, .run = run_glu};
