// attention_q4_0.comp: attention over a cache in Q4_0.
// args: attention_args attention/attention_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#define KV_Q4_0 1
#include "attention/attention.glsl"
