// not-in: matmul_int matmul_coop_s8
/* bf16.h — bfloat16: the upper half of a float. */
#define QUANT_ELEMS 1
#define QUANT_BYTES 2
#define QUANT_HAS_SCALE 0
#define QUANT_HAS_MIN 0
#define QUANT_HAS_INT 0

uvec2 quant_columns(uint u)
{
    return uvec2(32u * u, 32u * u + 16u);
}

Unit quant_load(uint ref, uint block, uint u)
{
    Unit r;
    uint at = (block >> 3) + 4u * u;
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        uvec4 w = LOAD_U32X4(ref, at + i), lo = w << 16, hi = w & 0xffff0000u;
        r.q[2u * i] = uintBitsToFloat(uvec4(lo.x, hi.x, lo.y, hi.y));
        r.q[2u * i + 1u] = uintBitsToFloat(uvec4(lo.z, hi.z, lo.w, hi.w));
    }
    return r;
}
