/* q2_k.h — 256 weights in 84 bytes: 16 bytes of scale (low nibble) and min (high), one per 16 weights, 64
 * bytes of 2-bit quants (two_bits.glsl), d, dmin (binary16); weight = d × scale × q − dmin × min. */
#define QUANT_ELEMS 256
#define QUANT_BYTES 84
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 1
#define QUANT_HAS_INT 1

#include "quant/two_bits.glsl"

// What the two units of a step share: 16 bytes of quants, d and m of their four runs.
struct Q2Step {
    uvec4 quants;
    vec4 d, m;
};

Q2Step q2_k_step(uint ref, uint at, uint half_block, uint h)
{
    Q2Step r;
    // bytes 0 and 2 of each word, moved by 8 h: runs 0 to 3
    uint scales = at + 2u * half_block;
    uvec2 levels = uvec2(LOAD_U32(ref, scales), LOAD_U32(ref, scales + 1u)) >> 8u * h;
    uvec4 pair = uvec4(levels.x, levels.x >> 16, levels.y, levels.y >> 16);
    vec2 dm = unpackHalf2x16(LOAD_U32(ref, at + 20u));
    r.d = dm.x * vec4(pair & 15u);
    r.m = -dm.y * vec4(pair >> 4 & 15u);
    uint first = at + 4u + 8u * half_block + 4u * h;
    r.quants = uvec4(LOAD_U32(ref, first), LOAD_U32(ref, first + 1u), LOAD_U32(ref, first + 2u),
                     LOAD_U32(ref, first + 3u));
    return r;
}

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    Q2Step step = q2_k_step(ref, (block + (u >> 3)) * 21u, u >> 2 & 1u, u & 1u);
    bool upper = (u & 2u) != 0u;
    r.d = upper ? step.d.zw : step.d.xy;
    r.m = upper ? step.m.zw : step.m.xy;
    uvec4 w = step.quants >> 2u * (u & 2u);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = int(w[i] & 0x03030303u);
        r.q[4u + i] = int(w[i] >> 2 & 0x03030303u);
    }
    return r;
}

void quant_load_step(uint ref, uint block, uint s, out Unit units[2])
{
    Q2Step step = q2_k_step(ref, (block + (s >> 2)) * 21u, s >> 1 & 1u, s & 1u);
    [[unroll]] for (uint i = 0u; i < 2u; i++) {
        units[i].d = i == 0u ? step.d.xy : step.d.zw;
        units[i].m = i == 0u ? step.m.xy : step.m.zw;
        [[unroll]] for (uint j = 0u; j < 4u; j++) {
            units[i].q[j] = unsigned_bytes(step.quants[j] >> 4u * i & 0x03030303u);
            units[i].q[4u + j] = unsigned_bytes(step.quants[j] >> 4u * i + 2u & 0x03030303u);
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
