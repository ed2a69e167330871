// attention_coop2_q8_0.comp: attention of many tokens over a cache in Q8_0, on cooperative matrices with elements.
// args: attention_args attention/attention_args.h
// target: vulkan1.3
// requires: GL_KHR_cooperative_matrix GL_KHR_memory_scope_semantics GL_NV_cooperative_matrix2
#version 460
#extension GL_GOOGLE_include_directive : require
#define KV_Q8_0 1
#include "attention/attention_coop2.glsl"
