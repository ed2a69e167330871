// rope_kv_f16.comp: rotary positions and writing the cache in F16.
// args: rope_kv_args kv/rope_kv_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#define KV_F16 1
#include "kv/rope_kv.glsl"
