/*
 * shared.h — one vocabulary for headers that both C and GLSL include.
 *
 * A struct declared with these types has the same layout on both sides (scalars of 32 bits only).
 */
#ifndef SHADERS_COMMON_SHARED_H
#define SHADERS_COMMON_SHARED_H

#ifdef HTH_GLSL
#define u32 uint
#define f32 float
#else
#include <stdint.h>
typedef uint32_t u32;
typedef float f32;
#endif

/* A place in device memory: chunk << 24 | offset / 256 (vk_ref). */
#define ref_t u32

#define REF_NONE 0xffffffffu

#endif
