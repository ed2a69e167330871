// halve_bf16.comp: activations to bfloat16.
// args: halve_args matmul/halve_args.h
// requires: GL_EXT_bfloat16
#version 460
#extension GL_GOOGLE_include_directive : require
#define HALVE_BF16 1
#include "matmul/halve.glsl"
