// roof_matrix_s8.comp: signed bytes, added up in integers.
// args: roof_args roof/roof_args.h
// requires: GL_KHR_cooperative_matrix GL_KHR_memory_scope_semantics
#version 460
#extension GL_GOOGLE_include_directive : require
#define INPUT int8_t
#define NUMBER(bits) INPUT(int(bits))
#define SUM int
#include "roof/roof_matrix.glsl"
