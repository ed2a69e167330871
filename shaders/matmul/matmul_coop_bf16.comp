// matmul_coop_bf16.comp: W·x in tiles, on cooperative matrices of bfloat16 with sums in fp32.
// variants: quant
// only: bf16
// args: matmul_args matmul/matmul_args.h
// requires: GL_KHR_cooperative_matrix GL_KHR_memory_scope_semantics GL_EXT_bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#define COOP_BF16 1
#include "matmul/matmul_coop.glsl"
