// coop_steps.glsl: one step of matmul_coop.glsl in each arithmetic: fill shared memory, multiply.
//
// Shared arrays are [row or column][k], as rows of W and columns of x lie in memory, with 16 bytes more for each
// than there are, so that neighbours lie in different banks. Of two buffers one lies behind the other.

#ifndef COOP_S8
const uint STRIDE = UNITS * 8u + 2u; // in fours of numbers

shared uvec2 sw[BUFFERS * BM * STRIDE];
shared uvec2 sx[BUFFERS * BN * STRIDE];

#ifdef COOP_F16
#define NUMBER float16_t
shared float x_scale[BN];

void find_scale(uint j, uint x_row)
{
    x_scale[j] = LOAD_F32(a.x_scales, x_row);
}

float scaled(float y, uint j)
{
    return y * x_scale[j];
}

uvec2 four_weights(vec4 w)
{
    return uvec2(packFloat2x16(f16vec2(w.xy)), packFloat2x16(f16vec2(w.zw)));
}
#else
#define NUMBER bfloat16_t

void find_scale(uint j, uint x_row)
{
}

float scaled(float y, uint j)
{
    return y;
}

// Of weights that are upper halves of floats.
uvec2 four_weights(vec4 w)
{
    uvec4 bits = floatBitsToUint(w);
    return bits.xz >> 16 | bits.yw & 0xffff0000u;
}
#endif

// Rows and units that this invocation decodes; the tail of W is clamped, its results dropped.
void load_weights(uint w, uint row, uint u, uint buf, uint tid)
{
    for (uint e = tid; e < UNITS * BM; e += GROUP) {
        uint m = e / UNITS, step = e % UNITS;
        bool inside = u + step < a.k + 31u >> 5;
        Unit unit = quant_load(w, min(row + m, a.n - 1u) * (a.k / QUANT_ELEMS), inside ? u + step : u);
        [[unroll]] for (uint i = 0u; i < 8u; i++) {
            vec4 q = inside ? unit_weights(unit, i >> 2, i & 3u) : vec4(0.0);
            q = BEFORE_END(q, 32u * (u + step) + 4u * i);
            sw[(buf * BM + m) * STRIDE + 8u * step + i] = four_weights(q);
        }
    }
}

// Activations in the order in which units have the weights.
void load_columns(uint u, uint buf, uint tid)
{
    for (uint e = tid; e < UNITS * 4u * BN; e += GROUP) {
        uint eight = e & 3u, step = (e >> 2) % UNITS, j = e / (4u * UNITS);
        uvec4 x = uvec4(0u);
        if (u + step < a.k + 31u >> 5) {
            uint column = quant_columns(u + step)[eight >> 1] + 8u * (eight & 1u);
            x = LOAD_U32X4(a.x, (x_first[j] + column) >> 3);
        }
        uint at = (buf * BN + j) * STRIDE + 8u * step + 2u * eight;
        sx[at] = x.xy;
        sx[at + 1u] = x.zw;
    }
}

void multiply(uint buf, uint m_first, uint n_first)
{
    [[unroll]] for (uint k = 0u; k < UNITS * 32u; k += K) {
        coopmat<NUMBER, gl_ScopeSubgroup, K, N, gl_MatrixUseB> x[FN];
        [[unroll]] for (uint c = 0u; c < FN; c++)
            coopMatLoad(x[c], sx, (buf * BN + n_first + c * N) * STRIDE + (k >> 2), STRIDE, gl_CooperativeMatrixLayoutColumnMajor);
        [[unroll]] for (uint r = 0u; r < FM; r++) {
            coopmat<NUMBER, gl_ScopeSubgroup, M, K, gl_MatrixUseA> w;
            coopMatLoad(w, sw, (buf * BM + m_first + r * M) * STRIDE + (k >> 2), STRIDE, gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint c = 0u; c < FN; c++)
                sums[r * FN + c] = coopMatMulAdd(w, x[c], sums[r * FN + c]);
        }
    }
}
#endif

#ifdef COOP_S8
// 32 columns that follow each other share a scale of x, and of most formats one of W: both runs of a unit, or
// the same run of a unit and its neighbour. So units go in pairs, and matrices take their four runs in an order
// where such are neighbours.
const uint STRIDE = UNITS * 4u + 2u; // in eights of bytes
const uint SCALES = UNITS * 32u / RUN;

shared ivec2 sw[BUFFERS * BM * STRIDE];
shared ivec2 sx[BUFFERS * BN * STRIDE];
shared float sw_d[BUFFERS * SCALES * BM], sx_d[BUFFERS * SCALES * BN];
#if QUANT_HAS_MIN
shared float sw_m[BUFFERS * SCALES * BM], sx_s[BUFFERS * SCALES * BN];
#endif

void find_scale(uint j, uint x_row)
{
}

float scaled(float y, uint j)
{
    return y;
}

uint place_of(uint unit, uint run)
{
    bool together = quant_columns(0u).y == 16u; // the runs of a unit
    return 4u * (unit >> 1) + (together ? 2u * (unit & 1u) + run : 2u * run + (unit & 1u));
}

void load_weights(uint w, uint row, uint u, uint buf, uint tid)
{
    for (uint e = tid; e < UNITS * BM; e += GROUP) {
        uint m = e / UNITS, step = e % UNITS;
        bool inside = u + step < a.k >> 5;
        IntUnit unit = quant_load_int(w, min(row + m, a.n - 1u) * (a.k / QUANT_ELEMS), inside ? u + step : u);
        [[unroll]] for (uint run = 0u; run < 2u; run++) {
            uint place = place_of(step, run), at = (buf * SCALES + place / (RUN >> 4)) * BM + m;
            [[unroll]] for (uint i = 0u; i < 2u; i++)
                sw[(buf * BM + m) * STRIDE + 2u * place + i] = ivec2(unit.q[4u * run + 2u * i], unit.q[4u * run + 2u * i + 1u]);
            if (place % (RUN >> 4) != 0u)
                continue;
            sw_d[at] = inside ? unit.d[run] : 0.0;
#if QUANT_HAS_MIN
            sw_m[at] = inside ? unit.m[run] : 0.0;
#endif
        }
    }
}

void load_columns(uint u, uint buf, uint tid)
{
    for (uint e = tid; e < UNITS * 2u * BN; e += GROUP) {
        uint run = e & 1u, step = (e >> 1) % UNITS, j = e / (2u * UNITS), place = place_of(step, run);
        uint column = x_first[j] + quant_columns(min(u + step, (a.k >> 5) - 1u))[run];
        uvec4 q = LOAD_U32X4(a.x, column >> 4);
        sx[(buf * BN + j) * STRIDE + 2u * place] = ivec2(q.xy);
        sx[(buf * BN + j) * STRIDE + 2u * place + 1u] = ivec2(q.zw);
        if (place % (RUN >> 4) != 0u)
            continue;
        vec4 scales = LOAD_F32X4(a.x_scales, column >> 5);
        uint at = (buf * SCALES + place / (RUN >> 4)) * BN + j;
        sx_d[at] = scales.x;
#if QUANT_HAS_MIN
        sx_s[at] = RUN == 32u ? scales.y + scales.z : (column & 16u) == 0u ? scales.y : scales.z;
#endif
    }
}

// Scales and minima as matrices: of a row of W they are the same in all columns, of a column of x in all rows.
void multiply(uint buf, uint m_first, uint n_first)
{
    [[dont_unroll]] for (uint s = 0u; s < SCALES; s++) {
        coopmat<int8_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB> x[FN * (RUN / K)];
        FLOATS x_d[FN];
#if QUANT_HAS_MIN
        FLOATS x_s[FN];
#endif
        [[unroll]] for (uint c = 0u; c < FN; c++) {
            uint n = n_first + c * N;
            [[unroll]] for (uint k = 0u; k < RUN / K; k++)
                coopMatLoad(x[c * (RUN / K) + k], sx, (buf * BN + n) * STRIDE + (s * RUN + k * K >> 3), STRIDE,
                            gl_CooperativeMatrixLayoutColumnMajor);
            coopMatLoad(x_d[c], sx_d, (buf * SCALES + s) * BN + n, 0u, gl_CooperativeMatrixLayoutRowMajor);
#if QUANT_HAS_MIN
            coopMatLoad(x_s[c], sx_s, (buf * SCALES + s) * BN + n, 0u, gl_CooperativeMatrixLayoutRowMajor);
#endif
        }
        [[unroll]] for (uint r = 0u; r < FM; r++) {
            uint m = m_first + r * M;
            coopmat<int8_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA> w[RUN / K];
            [[unroll]] for (uint k = 0u; k < RUN / K; k++)
                coopMatLoad(w[k], sw, (buf * BM + m) * STRIDE + (s * RUN + k * K >> 3), STRIDE, gl_CooperativeMatrixLayoutRowMajor);
            FLOATS w_d;
            coopMatLoad(w_d, sw_d, (buf * SCALES + s) * BM + m, 0u, gl_CooperativeMatrixLayoutColumnMajor);
#if QUANT_HAS_MIN
            FLOATS w_m;
            coopMatLoad(w_m, sw_m, (buf * SCALES + s) * BM + m, 0u, gl_CooperativeMatrixLayoutColumnMajor);
#endif
            [[unroll]] for (uint c = 0u; c < FN; c++) {
                coopmat<int, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator> products =
                    coopmat<int, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(0);
                [[unroll]] for (uint k = 0u; k < RUN / K; k++)
                    products = coopMatMulAdd(w[k], x[c * (RUN / K) + k], products);
                sums[r * FN + c] += FLOATS(products) * (w_d * x_d[c]);
#if QUANT_HAS_MIN
                sums[r * FN + c] += w_m * x_s[c];
#endif
            }
        }
    }
}
#endif
