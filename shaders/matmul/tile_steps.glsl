// tile_steps.glsl: one step of matmul.glsl in each arithmetic: fill shared memory, multiply.
//
// Shared arrays are [unit][k][row or column], so that neighbouring invocations touch neighbouring words. A step's units
// begin at `at`.

#if defined(TILE_F32) || defined(TILE_F16)
// Stores columns 4 i … 4 i + 3 of unit `step` for row (column) `n` of the tile.
#ifdef TILE_F32
#define STORE_FOUR(tile, width, step, i, n, v)                                                      \
    [[unroll]] for (uint part = 0u; part < 4u; part++)                                                       \
        tile[((step) * 32u + 4u * (i) + part) * (width) + (n)] = (v)[part]
#else
#define STORE_FOUR(tile, width, step, i, n, v)                                                      \
    tile[((step) * 16u + 2u * (i)) * (width) + (n)] = f16vec2((v).xy);                             \
    tile[((step) * 16u + 2u * (i) + 1u) * (width) + (n)] = f16vec2((v).zw)
#endif

// Row of the tile and unit that this invocation decodes; the tail of W is clamped, its results dropped.
void load_weights(uint w, uint row, uint u, uint at, uint tid)
{
    uint m = tid % BM, step = tid / BM;
    if (tid >= UNITS * BM)
        return;
    bool inside = u + step < a.k + 31u >> 5;
    Unit unit = quant_load(w, min(row + m, a.n - 1u) * (a.k / QUANT_ELEMS), inside ? u + step : u);
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
        vec4 q = inside ? unit_weights(unit, i >> 2, i & 3u) : vec4(0.0);
        q = BEFORE_END(q, 32u * (u + step) + 4u * i);
        STORE_FOUR(sw, BM, at + step, i, m, q);
    }
}

// Columns `column` … `column` + 3 of a row of x.
#ifdef TILE_F32
#define X_FOUR vec4
vec4 four_of_x(uint x_row, uint column)
{
    vec4 x = LOAD_F32X4(a.x, (x_row * a.x_stride + column) >> 2);
    return BEFORE_END(x, column);
}
#else
#define X_FOUR f16vec4
f16vec4 four_of_x(uint x_row, uint column)
{
    uvec2 x = LOAD_U32X2(a.x, (x_row * a.x_stride + column) >> 2); // 0 behind the end
    return f16vec4(unpackFloat2x16(x.x), unpackFloat2x16(x.y));
}
#endif

void load_columns(Columns columns, uint u, uint at, uint tid)
{
    for (uint e = tid; e < UNITS * 8u * BN; e += GROUP) {
        uint j = e % BN, i = e / BN & 7u, step = e / (8u * BN);
        X_FOUR x = X_FOUR(0.0);
        if (u + step < a.k + 31u >> 5)
            x = four_of_x(x_row_of(slot_of(columns, j)), quant_columns(u + step)[i >> 2] + 4u * (i & 3u));
        STORE_FOUR(sx, BN, at + step, i, j, x);
    }
}
#endif

#ifdef TILE_F32
void multiply(uint at, uint tm, uint tn, inout float acc[4u * MAX_TN])
{
    [[dont_unroll]] for (uint first = 0u; first < UNITS * 32u; first += K_STEP) {
        [[unroll]] for (uint i = 0u; i < K_STEP; i++) {
            uint k = at * 32u + first + i;
            float w[4];
            [[unroll]] for (uint r = 0u; r < 4u; r++)
                w[r] = sw[k * BM + 4u * tm + r];
            [[unroll]] for (uint c = 0u; c < TN; c++) {
                float x = sx[k * BN + tn * TN + c];
                [[unroll]] for (uint r = 0u; r < 4u; r++)
                    acc[4u * c + r] = fma(w[r], x, acc[4u * c + r]);
            }
        }
    }
}
#endif

#ifdef TILE_F16
void multiply(uint at, uint tm, uint tn, inout float acc[4u * MAX_TN])
{
    [[dont_unroll]] for (uint run = 0u; run < UNITS * 2u; run++) {
        f16vec2 part[4u * MAX_TN];
        [[unroll]] for (uint i = 0u; i < 4u * TN; i++)
            part[i] = f16vec2(0.0);
        [[unroll]] for (uint k = 0u; k < 8u; k++) { // unrolled, narrow subgroups spill
            f16vec2 w[4];
            [[unroll]] for (uint r = 0u; r < 4u; r++)
                w[r] = sw[(at * 16u + run * 8u + k) * BM + 4u * tm + r];
            [[unroll]] for (uint c = 0u; c < TN; c++) {
                f16vec2 x = sx[(at * 16u + run * 8u + k) * BN + tn * TN + c];
                [[unroll]] for (uint r = 0u; r < 4u; r++)
                    part[4u * c + r] = fma(w[r], x, part[4u * c + r]);
            }
        }
        [[unroll]] for (uint i = 0u; i < 4u * TN; i++)
            acc[i] += float(part[i].x) + float(part[i].y);
    }
}
#endif

#ifdef TILE_INT
void load_weights(uint w, uint row, uint u, uint at, uint tid)
{
    uint m = tid % BM, step = tid / BM;
    if (tid >= UNITS * BM)
        return;
    bool inside = u + step < a.k >> 5;
    IntUnit unit = quant_load_int(w, min(row + m, a.n - 1u) * (a.k / QUANT_ELEMS),
                                  inside ? u + step : u);
    [[unroll]] for (uint i = 0u; i < 8u; i++)
        sw[((at + step) * 8u + i) * BM + m] = unit.q[i];
    [[unroll]] for (uint run = 0u; run < 2u; run++) {
        sw_d[((at + step) * 2u + run) * BM + m] = inside ? unit.d[run] : 0.0;
#if QUANT_HAS_MIN
        sw_m[((at + step) * 2u + run) * BM + m] = inside ? unit.m[run] : 0.0;
#endif
    }
}

void load_columns(Columns columns, uint u, uint at, uint tid)
{
    for (uint e = tid; e < UNITS * 2u * BN; e += GROUP) {
        uint j = e % BN, run = e / BN & 1u, step = e / (2u * BN);
        uint column = quant_columns(min(u + step, (a.k >> 5) - 1u))[run];
        uint x_row = x_row_of(slot_of(columns, j));
        uvec4 q = LOAD_U32X4(a.x, (x_row * a.x_stride + column) >> 4);
        [[unroll]] for (uint i = 0u; i < 4u; i++)
            sx[((at + step) * 8u + run * 4u + i) * BN + j] = int(q[i]);
        vec4 scales = LOAD_F32X4(a.x_scales, (x_row * a.x_stride + column) >> 5);
        sx_d[((at + step) * 2u + run) * BN + j] = scales.x;
#if QUANT_HAS_MIN
        sx_s[((at + step) * 2u + run) * BN + j] = (column & 16u) == 0u ? scales.y : scales.z;
#endif
    }
}

void multiply(uint at, uint tm, uint tn, inout float acc[4u * MAX_TN])
{
    [[dont_unroll]] for (uint run = 0u; run < UNITS * 2u; run++) {
        int part[4u * MAX_TN];
        [[unroll]] for (uint i = 0u; i < 4u * TN; i++)
            part[i] = 0;
        [[unroll]] for (uint k = 0u; k < 4u; k++) {
            int w[4];
            [[unroll]] for (uint r = 0u; r < 4u; r++)
                w[r] = sw[(at * 8u + run * 4u + k) * BM + 4u * tm + r];
            [[unroll]] for (uint c = 0u; c < TN; c++) {
                int x = sx[(at * 8u + run * 4u + k) * BN + tn * TN + c];
                [[unroll]] for (uint r = 0u; r < 4u; r++)
                    part[4u * c + r] += dotPacked4x8EXT(w[r], x);
            }
        }
        [[unroll]] for (uint c = 0u; c < TN; c++) {
            float x_d = sx_d[(at * 2u + run) * BN + tn * TN + c];
            [[unroll]] for (uint r = 0u; r < 4u; r++)
                acc[4u * c + r] += sw_d[(at * 2u + run) * BM + 4u * tm + r] * x_d * float(part[4u * c + r]);
#if QUANT_HAS_MIN
            float x_s = sx_s[(at * 2u + run) * BN + tn * TN + c];
            [[unroll]] for (uint r = 0u; r < 4u; r++)
                acc[4u * c + r] += sw_m[(at * 2u + run) * BM + 4u * tm + r] * x_s;
#endif
        }
    }
}
#endif
