// halve.comp: activations to halves, each row by a power of two.
// args: halve_args matmul/halve_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "matmul/halve.glsl"
