// roof_dot.comp: products of four signed bytes by four, added up.
// args: roof_args roof/roof_args.h
// requires: GL_EXT_integer_dot_product
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_integer_dot_product : require
#define DOT 1
#include "roof/roof_math.glsl"
