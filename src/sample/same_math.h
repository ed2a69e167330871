/*
 * same_math.h — exp and log with the same bits on every system.
 *
 * The C library's differ in the last bit from system to system, which now and then would pick
 * another token for the same seed. These use IEEE additions, multiplications and divisions in a
 * fixed order, within 1e-15 of the true value. Pure functions: any thread.
 */
#ifndef SAMPLE_SAME_MATH_H
#define SAMPLE_SAME_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Below it exp counts as 0. */
#define SAME_EXP_LEAST (-700.0)

/* exp(x) for −700 ≤ x ≤ 0, without a branch, so that compilers can do several at once. x = n ln 2 +
 * r with ln 2 in two parts (Cody and Waite 1980, "Software Manual for the Elementary Functions",
 * chapter 6), then the series of exp(r). Adding 1.5 × 2^52 rounds to an integer, which the low bits
 * of the sum then are. */
static inline double same_exp_near(double x)
{
    double shifted = x * 1.4426950408889634 + 0x1.8p52, n = shifted - 0x1.8p52;
    double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33, r2 = r * r, scale;
    double even = 1.0 / 479001600, odd = 1.0 / 39916800; /* two chains half as long */
    even = even * r2 + 1.0 / 3628800;
    odd = odd * r2 + 1.0 / 362880;
    even = even * r2 + 1.0 / 40320;
    odd = odd * r2 + 1.0 / 5040;
    even = even * r2 + 1.0 / 720;
    odd = odd * r2 + 1.0 / 120;
    even = even * r2 + 1.0 / 24;
    odd = odd * r2 + 1.0 / 6;
    even = even * r2 + 0.5;
    odd = odd * r2 + 1.0;
    double sum = 1.0 + (odd * r + even * r2);
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52; /* 2^n */
    memcpy(&scale, &bits, sizeof scale);
    return sum * scale;
}

/* exp(x) for x ≤ 0; 0 below −700. */
static inline double same_exp(double x)
{
    return x >= SAME_EXP_LEAST ? same_exp_near(x) : 0.0;
}

/* log(x) for finite x > 0. x = m 2^e with m in [√½, √2), log m = 2 artanh((m − 1) / (m + 1)). */
static inline double same_log(double x)
{
    int e;
    double m = frexp(x, &e), s, s2, sum = 0.0; /* exact, unlike log */
    if (m < 0.7071067811865476) {
        m *= 2.0;
        e--;
    }
    s = (m - 1.0) / (m + 1.0);
    s2 = s * s;
    for (int k = 23; k >= 1; k -= 2) /* |s| ≤ 0.172: what is left out is below 1e-20 */
        sum = sum * s2 + 1.0 / k;
    return e * 0x1.62e42feep-1 + (e * 0x1.a39ef35793c76p-33 + 2.0 * s * sum);
}

#endif
