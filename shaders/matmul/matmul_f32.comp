// matmul_f32.comp: W·x in tiles, fp32.
// variants: quant
// args: matmul_args matmul/matmul_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#define TILE_F32 1
#include "matmul/matmul.glsl"
