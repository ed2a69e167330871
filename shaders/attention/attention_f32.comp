// attention_f32.comp: attention over a cache in F32.
// args: attention_args attention/attention_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#define KV_F32 1
#include "attention/attention.glsl"
