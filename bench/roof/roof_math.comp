// roof_math.comp: multiply-adds of floats, or of pairs of halves.
// args: roof_args roof/roof_args.h
// defines: f16 F16=1
#version 460
#extension GL_GOOGLE_include_directive : require
#include "roof/roof_math.glsl"
