// roof_matrix_f16.comp: halves, added up in floats.
// args: roof_args roof/roof_args.h
// requires: GL_KHR_cooperative_matrix GL_KHR_memory_scope_semantics
#version 460
#extension GL_GOOGLE_include_directive : require
#define INPUT float16_t
#define NUMBER(bits) INPUT(uintBitsToFloat(bits))
#define SUM float
#include "roof/roof_matrix.glsl"
