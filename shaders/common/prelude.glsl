// prelude.glsl: what every shader begins with: extensions, access to memory, the batch.
//
// Memory is reached only through the macros below. A place is `ref` = chunk << 24 | offset / 256, and an
// index counts elements of the macro's type from there. Two forms: an array of storage buffers, one per
// chunk (default), and 64-bit addresses (HTH_ADDRESSES), whose bases stand in a uniform buffer. A shader that defines
// UNIFORM_ADDRESSES has UNIFORM_F32X4 besides, a read by address in either form, which nothing checks.
// A chunk's number must be the same in a whole workgroup. SHARED_* is what workgroups of one dispatch tell each
// other: both write and read through it, with memoryBarrierBuffer() between. The array is as long as the descriptors that the
// device binds (vk.h fills max_chunks in by its name): most bind MAX_CHUNKS, a few drivers only 32 or 16.
//
// No chunk's number leads outside of the array, REF_NONE and what is no place at all included: for a load
// that no invocation executes (behind the last round of a loop, in a branch not taken) lavapipe (Mesa 26.1.6)
// fetches the descriptor all the same. The last descriptor is always bound.
#define HTH_GLSL 1
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_int16 : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#include "common/shared.h"
#include "common/batch_args.h"

#define MAX_CHUNKS 64
#define REF_BASE(ref, bytes) (((ref)&0xffffffu) * (256u / (bytes)))

#ifdef HTH_ADDRESSES
#define REF_CHUNK(ref) min((ref) >> 24, MAX_CHUNKS - 1u)
#else
layout(constant_id = 31) const uint max_chunks = MAX_CHUNKS;
#define REF_CHUNK(ref) min((ref) >> 24, max_chunks - 1u)
#endif

#if defined(HTH_ADDRESSES) || defined(UNIFORM_ADDRESSES)
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
layout(set = 0, binding = 1, std140) uniform Chunks { uvec4 address[MAX_CHUNKS / 2]; } chunks;
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer PtrF32x4 { vec4 d[]; };

uint64_t chunk_address(uint ref)
{
    uvec4 pair = chunks.address[REF_CHUNK(ref) >> 1];
    return packUint2x32((REF_CHUNK(ref) & 1u) == 0u ? pair.xy : pair.zw) +
           uint64_t(ref & 0xffffffu) * 256ul;
}
#define UNIFORM_F32X4(ref, i) PtrF32x4(chunk_address(ref)).d[i]
#endif

#ifdef HTH_ADDRESSES
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer PtrU32 { uint d[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer PtrU32x2 { uvec2 d[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer PtrU32x4 { uvec4 d[]; };
layout(buffer_reference, std430, buffer_reference_align = 2) readonly buffer PtrU16 { uint16_t d[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer PtrF32 { float d[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) writeonly buffer PtrOutU32 { uint d[]; };
layout(buffer_reference, std430, buffer_reference_align = 2) writeonly buffer PtrOutU16 { uint16_t d[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) writeonly buffer PtrOutF32 { float d[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer PtrSharedU32 { uint d[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer PtrSharedF32 { float d[]; };
#define LOAD_U32(ref, i) PtrU32(chunk_address(ref)).d[i]
#define LOAD_U32X2(ref, i) PtrU32x2(chunk_address(ref)).d[i]
#define LOAD_U32X4(ref, i) PtrU32x4(chunk_address(ref)).d[i]
#define LOAD_U16(ref, i) uint(PtrU16(chunk_address(ref)).d[i])
#define LOAD_F32(ref, i) PtrF32(chunk_address(ref)).d[i]
#define LOAD_F32X4(ref, i) PtrF32x4(chunk_address(ref)).d[i]
#define STORE_U32(ref, i, v) PtrOutU32(chunk_address(ref)).d[i] = (v)
#define STORE_U16(ref, i, v) PtrOutU16(chunk_address(ref)).d[i] = uint16_t(v)
#define STORE_F32(ref, i, v) PtrOutF32(chunk_address(ref)).d[i] = (v)
#define SHARED_U32(ref, i) PtrSharedU32(chunk_address(ref)).d[i]
#define SHARED_F32(ref, i) PtrSharedF32(chunk_address(ref)).d[i]
#else
layout(set = 0, binding = 0, std430) readonly buffer MemU32 { uint d[]; } mem_u32[max_chunks];
layout(set = 0, binding = 0, std430) readonly buffer MemU32x2 { uvec2 d[]; } mem_u32x2[max_chunks];
layout(set = 0, binding = 0, std430) readonly buffer MemU32x4 { uvec4 d[]; } mem_u32x4[max_chunks];
layout(set = 0, binding = 0, std430) readonly buffer MemU16 { uint16_t d[]; } mem_u16[max_chunks];
layout(set = 0, binding = 0, std430) readonly buffer MemF32 { float d[]; } mem_f32[max_chunks];
layout(set = 0, binding = 0, std430) readonly buffer MemF32x4 { vec4 d[]; } mem_f32x4[max_chunks];
layout(set = 0, binding = 0, std430) writeonly buffer OutU32 { uint d[]; } out_u32[max_chunks];
layout(set = 0, binding = 0, std430) writeonly buffer OutU16 { uint16_t d[]; } out_u16[max_chunks];
layout(set = 0, binding = 0, std430) writeonly buffer OutF32 { float d[]; } out_f32[max_chunks];
layout(set = 0, binding = 0, std430) coherent buffer SharedU32 { uint d[]; } shared_u32[max_chunks];
layout(set = 0, binding = 0, std430) coherent buffer SharedF32 { float d[]; } shared_f32[max_chunks];
#define LOAD_U32(ref, i) mem_u32[REF_CHUNK(ref)].d[REF_BASE(ref, 4u) + (i)]
#define LOAD_U32X2(ref, i) mem_u32x2[REF_CHUNK(ref)].d[REF_BASE(ref, 8u) + (i)]
#define LOAD_U32X4(ref, i) mem_u32x4[REF_CHUNK(ref)].d[REF_BASE(ref, 16u) + (i)]
#define LOAD_U16(ref, i) uint(mem_u16[REF_CHUNK(ref)].d[REF_BASE(ref, 2u) + (i)])
#define LOAD_F32(ref, i) mem_f32[REF_CHUNK(ref)].d[REF_BASE(ref, 4u) + (i)]
#define LOAD_F32X4(ref, i) mem_f32x4[REF_CHUNK(ref)].d[REF_BASE(ref, 16u) + (i)]
#define STORE_U32(ref, i, v) out_u32[REF_CHUNK(ref)].d[REF_BASE(ref, 4u) + (i)] = (v)
#define STORE_U16(ref, i, v) out_u16[REF_CHUNK(ref)].d[REF_BASE(ref, 2u) + (i)] = uint16_t(v)
#define STORE_F32(ref, i, v) out_f32[REF_CHUNK(ref)].d[REF_BASE(ref, 4u) + (i)] = (v)
#define SHARED_U32(ref, i) shared_u32[REF_CHUNK(ref)].d[REF_BASE(ref, 4u) + (i)]
#define SHARED_F32(ref, i) shared_f32[REF_CHUNK(ref)].d[REF_BASE(ref, 4u) + (i)]
#endif

#define BATCH(batch, field) LOAD_U32(batch, field)
#define BATCH_AT(batch, field, i) LOAD_U32(batch, LOAD_U32(batch, field) + (i))

// How many rows are really there: `count` for each token (BATCH_N_TOKENS) or output.
#define ROWS_THERE(batch, field, count) (LOAD_U32(batch, field) * (count))

// A 32-bit word from 16-bit storage, for blocks that are only 2-byte aligned.
#define LOAD_U32_ALIGN2(ref, half_index) \
    (LOAD_U16(ref, half_index) | LOAD_U16(ref, (half_index) + 1u) << 16)

float half_to_float(uint bits)
{
    return unpackHalf2x16(bits).x;
}
