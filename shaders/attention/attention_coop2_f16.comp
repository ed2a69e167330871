// attention_coop2_f16.comp: attention of many tokens over a cache in F16, on cooperative matrices with elements.
// args: attention_args attention/attention_args.h
// target: vulkan1.3
// requires: GL_KHR_cooperative_matrix GL_KHR_memory_scope_semantics GL_NV_cooperative_matrix2
#version 460
#extension GL_GOOGLE_include_directive : require
#define KV_F16 1
#include "attention/attention_coop2.glsl"
