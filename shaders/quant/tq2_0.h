/* tq2_0.h — 256 weights in 66 bytes: 64 bytes of 2-bit quants (two_bits.glsl), d (binary16); weight =
 * d × (q − 1). */
#define QUANT_ELEMS 256
#define QUANT_BYTES 66
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 1
#define QUANT_HAS_INT 1

#include "quant/even_words.glsl"
#include "quant/two_bits.glsl"

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint byte = (block + (u >> 3)) * 66u;
    r.d = vec2(even_half(ref, byte + 64u));
    r.m = -r.d;
    uvec4 w = even_words(ref, byte + 8u * (u & 4u) + 16u * (u & 1u)) >> 2u * (u & 2u);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = int(w[i] & 0x03030303u);
        r.q[4u + i] = int(w[i] >> 2 & 0x03030303u);
    }
    return r;
}

void quant_load_step(uint ref, uint block, uint s, out Unit units[2])
{
    uint byte = (block + (s >> 2)) * 66u;
    float d = even_half(ref, byte + 64u);
    uvec4 w = even_words(ref, byte + 16u * (s & 3u));
    [[unroll]] for (uint i = 0u; i < 2u; i++) {
        units[i].d = vec2(d);
        units[i].m = vec2(-d);
        [[unroll]] for (uint j = 0u; j < 4u; j++) {
            units[i].q[j] = unsigned_bytes(w[j] >> 4u * i & 0x03030303u);
            units[i].q[4u + j] = unsigned_bytes(w[j] >> 4u * i + 2u & 0x03030303u);
        }
    }
}

Unit quant_load(uint ref, uint block, uint u)
{
    IntUnit packed = quant_load_int(ref, block, u);
    Unit r;
    r.d = packed.d;
    r.m = packed.m;
    [[unroll]] for (uint i = 0u; i < 8u; i++)
        r.q[i] = unsigned_bytes(uint(packed.q[i]));
    return r;
}
