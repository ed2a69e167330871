// roof_math.glsl: CHAINS multiply-adds of a lane that do not wait for each other: each number takes a share of the next one on, a
// round adds it and the next takes it away. With F16 each is of two halves, with DOT a product of four signed bytes by four.
//
// All lanes have numbers of their own (what is the same in all, compilers compute once, apart from them), all are in the result, and
// rounds are written out, so that what counts them costs nothing. Shares are arguments, of which compilers know nothing.
#include "common/prelude.glsl"
#include "roof/roof_args.h"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint CHAINS = 16u; // at most MOST
layout(push_constant, std430) uniform Args { roof_args a; };

#define MOST 16u
#define WRITTEN_OUT 16u // rounds
#if defined(DOT)
#define NUMBER int
#define SHARE(bits) int(bits)
#define START(n) int(n)
#define STEP(x, next, share) x += dotPacked4x8EXT(next, share)
#define RESULT(v) v
#elif defined(F16)
#define NUMBER f16vec2
#define SHARE(bits) f16vec2(uintBitsToFloat(bits))
#define START(n) f16vec2(float(n), float(n) + 0.5)
#define STEP(x, next, share) x = fma(next, share, x)
#define RESULT(v) (float((v).x) + float((v).y))
#else
#define NUMBER float
#define SHARE(bits) uintBitsToFloat(bits)
#define START(n) float(n)
#define STEP(x, next, share) x = fma(next, share, x)
#define RESULT(v) v
#endif

void main()
{
    NUMBER x[MOST], plus = SHARE(a.plus), minus = SHARE(a.minus);
    uint lane = gl_LocalInvocationIndex & 7u;
    [[unroll]] for (uint i = 0u; i < MOST; i++)
        x[i] = START(1u + ((i + lane) & 7u));
    for (uint k = 0u; k < a.per_lane; k += WRITTEN_OUT)
        [[unroll]] for (uint round = 0u; round < WRITTEN_OUT; round++)
            [[unroll]] for (uint i = 0u; i < MOST; i++)
                if (i < CHAINS) {
                    NUMBER next = CHAINS == i + 1u ? x[0] : x[(i + 1u) % MOST];
                    STEP(x[i], next, (round % 2u == 0u ? plus : minus));
                }
#ifdef DOT
    int sum = 0;
#else
    float sum = 0.0;
#endif
    [[unroll]] for (uint i = 0u; i < MOST; i++)
        if (i < CHAINS)
            sum += RESULT(x[i]);
#ifdef DOT
    STORE_U32(a.y, gl_GlobalInvocationID.x, uint(sum));
#else
    STORE_F32(a.y, gl_GlobalInvocationID.x, sum);
#endif
}
