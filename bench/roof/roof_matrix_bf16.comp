// roof_matrix_bf16.comp: bfloat16, added up in floats.
// args: roof_args roof/roof_args.h
// requires: GL_KHR_cooperative_matrix GL_KHR_memory_scope_semantics GL_EXT_bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_bfloat16 : require
#define INPUT bfloat16_t
#define NUMBER(bits) INPUT(uintBitsToFloat(bits))
#define SUM float
#include "roof/roof_matrix.glsl"
