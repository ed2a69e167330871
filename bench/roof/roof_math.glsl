// roof_math.glsl: chains of one instruction that do not wait for each other, 16 in a lane. With F16 each
// is of two halves, with DOT a product of four signed bytes by four.
#include "common/prelude.glsl"
#include "roof/roof_args.h"

layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Args { roof_args a; };

#define CHAINS 16u
#if defined(DOT)
#define NUMBER int
#define STEP(x, i) x += dotPacked4x8EXT(x, int(a.seed))
#elif defined(F16)
#define NUMBER f16vec2
#define STEP(x, i) x = fma(x, half_of_it, seed)
#else
#define NUMBER float
#define STEP(x, i) x = fma(x, half_of_it, seed)
#endif

// What fma(x, 1/2, s) comes to is 2 s, whatever the chain began with.
void main()
{
    NUMBER x[CHAINS];
#ifndef DOT
    NUMBER seed = NUMBER(float(a.seed)), half_of_it = NUMBER(1.0 / float(a.stride));
#endif
    [[unroll]] for (uint i = 0u; i < CHAINS; i++)
        x[i] = NUMBER(i);
    for (uint k = 0u; k < a.per_lane; k++)
        [[unroll]] for (uint i = 0u; i < CHAINS; i++)
            STEP(x[i], i);
    NUMBER sum = x[0];
    [[unroll]] for (uint i = 1u; i < CHAINS; i++)
        sum += x[i];
#if defined(DOT)
    STORE_U32(a.y, gl_GlobalInvocationID.x, uint(sum));
#elif defined(F16)
    STORE_F32(a.y, gl_GlobalInvocationID.x, float(sum.x));
#else
    STORE_F32(a.y, gl_GlobalInvocationID.x, sum);
#endif
}
