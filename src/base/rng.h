/*
 * rng.h — a small random generator for tests, synthetic models and sampling.
 *
 * PCG-XSH-RR 64/32 (O'Neill 2014, "PCG: A Family of Simple Fast Space-Efficient Statistically Good
 * Algorithms for Random Number Generation"). Same seed, same numbers, on every system. A value that
 * owns nothing; one thread at a time.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <math.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint32_t rng_u32(struct rng *rng)
{
    uint64_t old = rng->state;
    rng->state = old * 6364136223846793005u + 1442695040888963407u;
    uint32_t xorshifted = (uint32_t)((old >> 18 ^ old) >> 27), rot = (uint32_t)(old >> 59);
    return xorshifted >> rot | xorshifted << (-rot & 31);
}

static inline struct rng rng_seed(uint64_t seed)
{
    struct rng rng = {seed + 1442695040888963407u};
    rng_u32(&rng);
    return rng;
}

/* Uniform in [0, 1), 24 bits. */
static inline float rng_float(struct rng *rng)
{
    return (float)(rng_u32(rng) >> 8) * 0x1p-24f;
}

/* Uniform in [0, 1), 53 bits. */
static inline double rng_double(struct rng *rng)
{
    uint64_t high = rng_u32(rng) >> 5, low = rng_u32(rng) >> 6;
    return (double)(high << 26 | low) * 0x1p-53;
}

/* Uniform in [0, n), n > 0; the bias is below n / 2^32. */
static inline uint32_t rng_below(struct rng *rng, uint32_t n)
{
    return (uint32_t)((uint64_t)rng_u32(rng) * n >> 32);
}

/* Normal, mean 0, deviation 1 (Box–Muller). */
static inline float rng_normal(struct rng *rng)
{
    double u = 1.0 - rng_double(rng), v = rng_double(rng);
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

#endif
