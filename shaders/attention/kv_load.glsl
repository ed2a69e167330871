// kv_load.glsl: rows of the cache as floats. `row` counts rows of one layer's K (or V) in a page, each of
// `width` values; d is a multiple of 8.
#include "common/bytes.glsl"

#define load_k(place, row, d, k0, k1) load_eight(place, row, HEAD_K, d, k0, k1)
#define load_v8(place, row, d, v0, v1) load_eight(place, row, HEAD_V, d, v0, v1)

#ifdef KV_F32
void load_eight(uint place, uint row, uint width, uint d, out vec4 k0, out vec4 k1)
{
    uint at = (row * width + d) >> 2;
    k0 = LOAD_F32X4(place, at);
    k1 = LOAD_F32X4(place, at + 1u);
}

float load_v(uint place, uint row, uint d)
{
    return LOAD_F32(place, row * HEAD_V + d);
}
#endif

#ifdef KV_F16
void load_eight(uint place, uint row, uint width, uint d, out vec4 k0, out vec4 k1)
{
    uvec4 w = LOAD_U32X4(place, (row * width + d) >> 3);
    k0 = vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
    k1 = vec4(unpackHalf2x16(w.z), unpackHalf2x16(w.w));
}

float load_v(uint place, uint row, uint d)
{
    return half_to_float(LOAD_U16(place, row * HEAD_V + d));
}
#endif

#ifdef KV_Q8_0
// blocks of 34 bytes: d, 32 signed bytes
void load_eight(uint place, uint row, uint width, uint d, out vec4 k0, out vec4 k1)
{
    uint at = (row * (width >> 5) + (d >> 5)) * 17u;
    float scale = half_to_float(LOAD_U16(place, at));
    uint q = at + 1u + ((d & 31u) >> 1);
    uint low = LOAD_U32_ALIGN2(place, q), high = LOAD_U32_ALIGN2(place, q + 2u);
    k0 = scale * signed_bytes(low);
    k1 = scale * signed_bytes(high);
}

float load_v(uint place, uint row, uint d)
{
    uint at = (row * (HEAD_V >> 5) + (d >> 5)) * 17u;
    uint pair = LOAD_U16(place, at + 1u + ((d & 31u) >> 1));
    int q = int(pair << ((d & 1u) == 0u ? 24u : 16u)) >> 24;
    return half_to_float(LOAD_U16(place, at)) * float(q);
}
#endif

#ifdef KV_Q4_0
// blocks of 18 bytes: d, then 16 bytes: value i in the low half of byte i, value i + 16 in its high half
void load_eight(uint place, uint row, uint width, uint d, out vec4 k0, out vec4 k1)
{
    uint at = (row * (width >> 5) + (d >> 5)) * 9u;
    float scale = half_to_float(LOAD_U16(place, at));
    uint q = at + 1u + ((d & 15u) >> 1), shift = (d & 16u) >> 2;
    k0 = scale * (nibbles_low(LOAD_U32_ALIGN2(place, q) >> shift) - 8.0);
    k1 = scale * (nibbles_low(LOAD_U32_ALIGN2(place, q + 2u) >> shift) - 8.0);
}

float load_v(uint place, uint row, uint d)
{
    uint at = (row * (HEAD_V >> 5) + (d >> 5)) * 9u;
    uint pair = LOAD_U16(place, at + 1u + ((d & 15u) >> 1));
    uint q = pair >> (((d & 1u) << 3) + ((d & 16u) >> 2)) & 15u;
    return half_to_float(LOAD_U16(place, at)) * (float(q) - 8.0);
}
#endif
