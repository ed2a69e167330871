// matvec.comp: y = W·x for 1 to 8 columns, W in any block format of the file, fp32 math.
// variants: quant
// args: matvec_args matmul/matvec_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "quant/unit.glsl"
#include "matmul/matvec_args.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint GROUP = 32u; // invocations, all on the same rows
layout(constant_id = 1) const uint ROWS = 2u;   // rows of W per workgroup
layout(constant_id = 2) const uint COLS = 1u;   // columns of x per workgroup
layout(constant_id = 3) const uint GLU = 0u;    // 1: silu, 2: gelu (tanh), 3: gelu (erf)
layout(constant_id = 4) const uint BY_ROW = 0u; // 1: steps row by row, x kept: where registers are memory
#define MAX_ROWS 8u
#define MAX_COLS 8u
#define MAX_ACC 16u // of ROWS × COLS
layout(push_constant, std430) uniform Args { matvec_args a; };

#include "common/reduce.glsl"
#include "common/activation.glsl"

// One unit of all rows against all columns.
//
// One column: Σ d·q·x + m·Σx, so that scales are applied once per run. Several: weights are made first
// (d·q + m) and used for all columns.
void add_unit(Unit unit[MAX_ROWS], uint u, uint x_row[MAX_COLS], inout float acc[MAX_ACC])
{
    uvec2 column = quant_columns(u) >> 2;
    [[unroll]] for (uint run = 0u; run < 2u; run++) {
        float s[MAX_ROWS], x_sum = 0.0;
        [[unroll]] for (uint r = 0u; r < ROWS; r++)
            s[r] = 0.0;
        [[unroll]] for (uint i = 0u; i < 4u; i++) {
            vec4 q[MAX_ROWS];
            [[unroll]] for (uint r = 0u; r < ROWS; r++)
                q[r] = BEFORE_END(COLS == 1u ? unit[r].q[4u * run + i] : unit_weights(unit[r], run, i),
                                  4u * (column[run] + i));
            [[unroll]] for (uint c = 0u; c < COLS; c++) {
                vec4 x = LOAD_F32X4(a.x, x_row[c] + column[run] + i);
                x = BEFORE_END(x, 4u * (column[run] + i));
#if QUANT_HAS_MIN
                x_sum += x.x + x.y + x.z + x.w;
#endif
                [[unroll]] for (uint r = 0u; r < ROWS; r++) {
                    float product = dot(q[r], x);
                    if (COLS == 1u)
                        s[r] += product;
                    else
                        acc[r * COLS + c] += product;
                }
            }
        }
        [[unroll]] for (uint r = 0u; r < ROWS && COLS == 1u; r++) {
#if QUANT_HAS_SCALE
            s[r] *= unit[r].d[run];
#endif
#if QUANT_HAS_MIN
            s[r] += unit[r].m[run] * x_sum;
#endif
            acc[r] += s[r];
        }
    }
}

// One column of x where one unit's columns are: loaded once, for all rows.
struct Span {
    vec4 x[8];
    float sum[2]; // of each run
};

Span load_span(uint u, uint x_row)
{
    Span span;
    uvec2 column = quant_columns(u) >> 2;
    [[unroll]] for (uint i = 0u; i < 8u; i++)
        span.x[i] = LOAD_F32X4(a.x, x_row + column[i >> 2] + (i & 3u));
    [[unroll]] for (uint run = 0u; run < 2u; run++) {
        vec4 sum = span.x[4u * run] + span.x[4u * run + 1u] + span.x[4u * run + 2u] + span.x[4u * run + 3u];
        span.sum[run] = sum.x + sum.y + sum.z + sum.w;
    }
    return span;
}

float dot_unit(Unit unit, Span span)
{
    float sum = 0.0;
    [[unroll]] for (uint run = 0u; run < 2u; run++) {
        float s = 0.0;
        [[unroll]] for (uint i = 4u * run; i < 4u * run + 4u; i++)
            s += dot(unit.q[i], span.x[i]);
#if QUANT_HAS_SCALE
        s *= unit.d[run];
#endif
#if QUANT_HAS_MIN
        s += unit.m[run] * span.sum[run];
#endif
        sum += s;
    }
    return sum;
}

// A step of all rows, row by row: x is kept, weights are not. The least reads, but too many values for the
// registers of a narrow subgroup.
void add_step_by_row(uint w, uint row, uint n, uint s, uint x_row, inout float acc[MAX_ACC])
{
    Span span[QUANT_STEP];
    [[unroll]] for (uint i = 0u; i < QUANT_STEP; i++)
        span[i] = load_span(QUANT_STEP_UNIT(s, i), x_row);
    [[unroll]] for (uint r = 0u; r < ROWS; r++) {
        Unit units[QUANT_STEP];
        quant_load_step(w, min(row + r, n - 1u) * (a.k / QUANT_ELEMS), s, units);
        [[unroll]] for (uint i = 0u; i < QUANT_STEP; i++)
            acc[r] += dot_unit(units[i], span[i]);
    }
}

void add_step(uint w, uint row, uint n, uint s, uint x_row[MAX_COLS], inout float acc[MAX_ACC])
{
    Unit unit[QUANT_STEP][MAX_ROWS];
    [[unroll]] for (uint r = 0u; r < ROWS; r++) {
        Unit units[QUANT_STEP];
        quant_load_step(w, min(row + r, n - 1u) * (a.k / QUANT_ELEMS), s, units);
        [[unroll]] for (uint i = 0u; i < QUANT_STEP; i++)
            unit[i][r] = units[i];
    }
    [[unroll]] for (uint i = 0u; i < QUANT_STEP; i++)
        add_unit(unit[i], QUANT_STEP_UNIT(s, i), x_row, acc);
}

// Each lane takes every GROUP-th step (one unit of 32 columns, or two that share scales); with several
// columns there are no registers for two units at once.
void accumulate(uint w, uint row, uint n, uint x_row[MAX_COLS], inout float acc[MAX_ACC])
{
    uint blocks = a.k / QUANT_ELEMS, units = (a.k + 31u) >> 5, lane = gl_LocalInvocationIndex;
    if (QUANT_STEP == 1 || COLS > 1u) {
        for (uint u = lane; u < units; u += GROUP) {
            Unit unit[MAX_ROWS];
            [[unroll]] for (uint r = 0u; r < ROWS; r++)
                unit[r] = quant_load(w, min(row + r, n - 1u) * blocks, u);
            add_unit(unit, u, x_row, acc);
        }
        return;
    }
    for (uint s = lane; s < units / QUANT_STEP; s += GROUP) {
        if (BY_ROW != 0u)
            add_step_by_row(w, row, n, s, x_row[0], acc);
        else
            add_step(w, row, n, s, x_row, acc);
    }
}

void main()
{
    // which weight, and which of its rows
    uint part = 0u, row = (gl_WorkGroupID.x + gl_NumWorkGroups.x * gl_WorkGroupID.z) * ROWS;
    if (GLU == 0u) {
        uint padded = (a.n[0] + ROWS - 1u) / ROWS * ROWS;
        if (row >= padded) {
            row -= padded;
            part = 1u;
            padded = (a.n[1] + ROWS - 1u) / ROWS * ROWS;
            if (row >= padded) {
                row -= padded;
                part = 2u;
            }
        }
    }
    uint n = a.n[part], w = a.w[part], w_up = a.w[1];
    if (row >= n)
        return;

    // which columns
    uint there = BATCH(a.batch, a.rows_field) * a.n_used, first = gl_WorkGroupID.y * COLS;
    if (first >= there)
        return;
    uint bias_first = 0u; // biases of experts lie one after the other
    if (a.ids != REF_NONE) {
        uint expert = LOAD_U32(a.ids, first);
        bias_first = expert * n;
        w = LOAD_U32(a.table[0], expert);
        if (GLU != 0u)
            w_up = LOAD_U32(a.table[1], expert);
    }
    uint x_row[MAX_COLS];
    [[unroll]] for (uint c = 0u; c < COLS; c++) {
        uint column = min(first + c, there - 1u);
        x_row[c] =
            (a.x_per_slot != 0u ? column : column / a.n_used) * (a.x_stride >> 2);
    }

    float acc[MAX_ACC], acc_up[MAX_ACC];
    [[unroll]] for (uint i = 0u; i < MAX_ACC; i++)
        acc[i] = acc_up[i] = 0.0;
    accumulate(w, row, n, x_row, acc);
    if (GLU != 0u)
        accumulate(w_up, row, n, x_row, acc_up);

    [[unroll]] for (uint r = 0u; r < ROWS; r++) {
        [[unroll]] for (uint c = 0u; c < COLS; c++) {
            uint y_row = a.y_first[part] + row + r, y = (first + c) * a.y_stride[part] + y_row;
            float value = group_add(acc[r * COLS + c]);
            if (GLU != 0u)
                value = glu(value + (a.bias[0] != REF_NONE ? LOAD_F32(a.bias[0], bias_first + y_row) : 0.0),
                            group_add(acc_up[r * COLS + c]) +
                                (a.bias[1] != REF_NONE ? LOAD_F32(a.bias[1], bias_first + y_row) : 0.0));
            if (gl_LocalInvocationIndex != 0u || row + r >= n || first + c >= there)
                continue;
            if (GLU == 0u && a.bias[part] != REF_NONE)
                value += LOAD_F32(a.bias[part], bias_first + y_row);
            if (part == 0u && a.residual != REF_NONE)
                value += LOAD_F32(a.residual, y);
            STORE_F32(a.y[part], y, value);
        }
    }
}
