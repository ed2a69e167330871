// matmul_f16.comp: W·x in tiles, fp16 products.
// variants: quant
// args: matmul_args matmul/matmul_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#define TILE_F16 1
#include "matmul/matmul.glsl"
