// not-in: matmul_int matmul_coop_s8
/* f16.h — IEEE binary16. */
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
        uvec4 w = LOAD_U32X4(ref, at + i);
        r.q[2u * i] = vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
        r.q[2u * i + 1u] = vec4(unpackHalf2x16(w.z), unpackHalf2x16(w.w));
    }
    return r;
}
