// rope_kv_q8_0.comp: rotary positions and writing the cache in Q8_0.
// args: rope_kv_args kv/rope_kv_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#define KV_Q8_0 1
#include "kv/rope_kv.glsl"
