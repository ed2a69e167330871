// attention_coop_f16.comp: attention of many tokens over a cache in F16, on cooperative matrices.
// args: attention_args attention/attention_args.h
// requires: GL_KHR_cooperative_matrix GL_KHR_memory_scope_semantics
#version 460
#extension GL_GOOGLE_include_directive : require
#define KV_F16 1
#include "attention/attention_coop.glsl"
