// rope_kv_q4_0.comp: rotary positions and writing the cache in Q4_0.
// args: rope_kv_args kv/rope_kv_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#define KV_Q4_0 1
#include "kv/rope_kv.glsl"
