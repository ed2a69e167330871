// matmul_int.comp: W·x in tiles, packed integer dot products.
// variants: quant
// args: matmul_args matmul/matmul_args.h
// requires: GL_EXT_integer_dot_product
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_integer_dot_product : require
#define TILE_INT 1
#include "matmul/matmul.glsl"
