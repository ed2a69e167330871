// matmul_coop_s8.comp: W·x in tiles, on cooperative matrices of signed bytes with sums in 32-bit integers.
// variants: quant
// args: matmul_args matmul/matmul_args.h
// requires: GL_KHR_cooperative_matrix GL_KHR_memory_scope_semantics GL_EXT_shader_explicit_arithmetic_types_int8
#version 460
#extension GL_GOOGLE_include_directive : require
#define COOP_S8 1
#include "matmul/matmul_coop.glsl"
