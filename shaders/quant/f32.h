// not-in: matmul_int matmul_coop_s8 matmul_f16 matmul_coop_f16
/* f32.h — plain floats. Not multiplied in fp16: what a file keeps in F32 is a router above all, and
 * rounding would choose other experts for a prompt than token by token. */
#define QUANT_ELEMS 1
#define QUANT_BYTES 4
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
    uint at = (block >> 2) + 8u * u;
    [[unroll]] for (uint i = 0u; i < 8u; i++)
        r.q[i] = LOAD_F32X4(ref, at + i);
    return r;
}
