// matmul_coop_f16.comp: W·x in tiles, on cooperative matrices of halves with sums in fp32.
// variants: quant
// args: matmul_args matmul/matmul_args.h
// requires: GL_KHR_cooperative_matrix GL_KHR_memory_scope_semantics
#version 460
#extension GL_GOOGLE_include_directive : require
#define COOP_F16 1
#include "matmul/matmul_coop.glsl"
