// matvec.comp: y = W·x for 1 to 8 columns, W in any block format of the file, fp32 math.
// variants: quant
// args: matvec_args matmul/matvec_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "matmul/matvec_args.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint GROUP = 32u; // invocations
layout(constant_id = 1) const uint ROWS = 2u;   // rows of W that all of them share
layout(constant_id = 2) const uint COLS = 1u;   // columns of x per workgroup
layout(constant_id = 3) const uint GLU = 0u;    // 1: silu, 2: gelu (tanh), 3: gelu (erf)
layout(constant_id = 4) const uint LANE_ROWS = 0u; // 1: ROWS that each lane has to itself
layout(constant_id = 5) const uint NORM = 0u; // 1: columns are normed first
layout(constant_id = 6) const uint SUM = 0u;  // 1: a column's experts are summed up by their shares
#define MAX_ROWS 4u
#define ROW_STEP (LANE_ROWS == 0u ? 1u : GROUP) // from a lane's row to its next
#define MAX_COLS 8u
#define MAX_ACC 16u // of ROWS × COLS
layout(push_constant, std430) uniform Args { matvec_args a; };

#define UNITS_IN_REGISTERS (LANE_ROWS == 0u) // rows of a lane's own are for where there are none
#include "quant/unit.glsl"
#include "common/reduce.glsl"
#include "common/activation.glsl"

// What a lane has of its rows' products, and of its columns' squares.
struct Sums {
    float acc[MAX_ACC];
    float squares[MAX_COLS];
};

Sums no_sums()
{
    Sums sums;
    [[unroll]] for (uint i = 0u; i < MAX_ACC; i++)
        sums.acc[i] = 0.0;
    [[unroll]] for (uint c = 0u; c < MAX_COLS; c++)
        sums.squares[c] = 0.0;
    return sums;
}

// One unit of all rows against all columns.
//
// One column: Σ d·q·x + m·Σx, so that scales are applied once per run. Several: weights are made first
// (d·q + m) and used for all columns.
//
// NORM: y = Σ w·(n·x) / rms(x), so that the sum of squares grows beside the products, of the x that is at
// hand, and nobody waits for a norm.
void add_unit(Unit unit[MAX_ROWS], uint u, uint x_row[MAX_COLS], inout Sums sums)
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
            vec4 norm = NORM != 0u ? LOAD_F32X4(a.norm, column[run] + i) : vec4(1.0);
            [[unroll]] for (uint c = 0u; c < COLS; c++) {
                vec4 x = LOAD_F32X4(a.x, x_row[c] + column[run] + i);
                x = BEFORE_END(x, 4u * (column[run] + i));
                if (NORM != 0u) {
                    sums.squares[c] += dot(x, x);
                    x = BEFORE_END(x * norm, 4u * (column[run] + i));
                }
#if QUANT_HAS_MIN
                x_sum += x.x + x.y + x.z + x.w;
#endif
                [[unroll]] for (uint r = 0u; r < ROWS; r++) {
                    float product = dot(q[r], x);
                    if (COLS == 1u)
                        s[r] += product;
                    else
                        sums.acc[r * COLS + c] += product;
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
            sums.acc[r] += s[r];
        }
    }
}

void add_step(uint w, uint row, uint n, uint s, uint x_row[MAX_COLS], inout Sums sums)
{
    Unit unit[QUANT_STEP][MAX_ROWS];
    [[unroll]] for (uint r = 0u; r < ROWS; r++) {
        Unit units[QUANT_STEP];
        quant_load_step(w, min(row + r * ROW_STEP, n - 1u) * (a.k / QUANT_ELEMS), s, units);
        [[unroll]] for (uint i = 0u; i < QUANT_STEP; i++)
            unit[i][r] = units[i];
    }
    [[unroll]] for (uint i = 0u; i < QUANT_STEP; i++)
        add_unit(unit[i], QUANT_STEP_UNIT(s, i), x_row, sums);
}

// Reads one word of each cache line of the workgroup's rows, in order. Lanes with rows of their own read from
// many lines at once and then from the same ones for a while: without this they wait for each anew, as what
// fetches ahead sees no order. The result must go into something that looks needed.
uint touch_rows(uint w, uint row, uint n)
{
    uint row_bytes = a.k / QUANT_ELEMS * QUANT_BYTES, first = row - gl_LocalInvocationIndex, found = 0u;
    uint lines = (min(ROWS * GROUP, n - first) * row_bytes) >> 6;
    for (uint i = gl_LocalInvocationIndex; i < lines; i += GROUP)
        found |= LOAD_U32(w, (first * row_bytes >> 2) + 16u * i);
    return found;
}

// Each lane takes every GROUP-th step (one unit of 32 columns, or two that share scales) or, with rows of its
// own, all; with several columns there are no registers for two units at once.
Sums accumulate(uint w, uint row, uint n, uint x_row[MAX_COLS])
{
    uint blocks = a.k / QUANT_ELEMS, units = (a.k + 31u) >> 5;
    Sums sums = no_sums();
    if (LANE_ROWS != 0u) {
        uint found = touch_rows(w, row, n);
        sums.acc[0] = a.k == 0u ? float(found) : 0.0;
    }
    uint first = LANE_ROWS == 0u ? gl_LocalInvocationIndex : 0u, lanes = LANE_ROWS == 0u ? GROUP : 1u;
    if (QUANT_STEP == 1 || COLS > 1u) {
        for (uint u = first; u < units; u += lanes) {
            Unit unit[MAX_ROWS];
            [[unroll]] for (uint r = 0u; r < ROWS; r++)
                unit[r] = quant_load(w, min(row + r * ROW_STEP, n - 1u) * blocks, u);
            add_unit(unit, u, x_row, sums);
        }
        return sums;
    }
    for (uint s = first; s < units / QUANT_STEP; s += lanes)
        add_step(w, row, n, s, x_row, sums);
    return sums;
}

// The products of W, or with SUM of a token's experts, each by its share; a bias of theirs is one lane's.
Sums products(uint w, uint row, uint n, uint x_row[MAX_COLS], uint token)
{
    Sums sums = no_sums();
    for (uint j = 0u; j < (SUM != 0u ? a.n_used : 1u); j++) {
        uint slot = token * a.n_used + j, expert = 0u;
        if (SUM != 0u) {
            expert = LOAD_U32(a.ids, slot);
            w = LOAD_U32(a.table[0], expert);
            x_row[0] = (a.x_per_slot != 0u ? slot : token) * (a.x_stride >> 2);
        }
        if (w == REF_NONE)
            continue;
        Sums one = accumulate(w, row, n, x_row);
        if (SUM == 0u)
            return one;
        bool adds_bias = a.bias[0] != REF_NONE && (LANE_ROWS != 0u || gl_LocalInvocationIndex == 0u);
        float share = LOAD_F32(a.shares, slot);
        [[unroll]] for (uint r = 0u; r < ROWS; r++) {
            float bias = adds_bias ? LOAD_F32(a.bias[0], expert * n + min(row + r * ROW_STEP, n - 1u)) : 0.0;
            sums.acc[r] += share * (one.acc[r] + bias);
        }
    }
    return sums;
}

float lanes_add(float value)
{
    return LANE_ROWS == 0u ? group_add(value) : value;
}

void main()
{
    // which weight, and which of its rows; workgroups that differ in their columns alone follow each other, so
    // that memory is read for the first of them
    uint part = 0u, rows = LANE_ROWS == 0u ? ROWS : ROWS * GROUP;
    uint row = (gl_WorkGroupID.y + gl_NumWorkGroups.y * gl_WorkGroupID.z) * rows;
    if (GLU == 0u) {
        uint padded = (a.n[0] + rows - 1u) / rows * rows;
        if (row >= padded) {
            row -= padded;
            part = 1u;
            padded = (a.n[1] + rows - 1u) / rows * rows;
            if (row >= padded) {
                row -= padded;
                part = 2u;
            }
        }
    }
    uint n = a.n[part], w = a.w[part], w_up = a.w[1];
    if (LANE_ROWS != 0u)
        row += gl_LocalInvocationIndex;
    if (row >= n)
        return;

    // which columns
    uint there = BATCH(a.batch, a.rows_field) * (SUM == 0u ? a.n_used : 1u), first = gl_WorkGroupID.x * COLS;
    if (first >= there)
        return;
    uint bias_first = 0u; // biases of experts lie one after the other
    bool here = true;     // an expert that is not gives zeros
    if (SUM == 0u && a.ids != REF_NONE) {
        uint expert = LOAD_U32(a.ids, first);
        bias_first = expert * n;
        w = LOAD_U32(a.table[0], expert);
        here = w != REF_NONE;
        if (GLU != 0u)
            w_up = LOAD_U32(a.table[1], expert);
    }
    uint x_row[MAX_COLS];
    [[unroll]] for (uint c = 0u; c < COLS; c++) {
        uint column = min(first + c, there - 1u);
        x_row[c] =
            (a.x_per_slot != 0u ? column : column / a.n_used) * (a.x_stride >> 2);
    }

    Sums sums = products(w, row, n, x_row, first), up = no_sums();
    if (GLU != 0u && here)
        up = accumulate(w_up, row, n, x_row);
    float scale[MAX_COLS];
    [[unroll]] for (uint c = 0u; c < COLS; c++)
        scale[c] = NORM != 0u ? inversesqrt(lanes_add(sums.squares[c]) / float(a.k) + a.eps) : 1.0;

    [[unroll]] for (uint r = 0u; r < ROWS; r++) {
        [[unroll]] for (uint c = 0u; c < COLS; c++) {
            uint y_row = a.y_first[part] + row + r * ROW_STEP, y = (first + c) * a.y_stride[part] + y_row;
            float value = lanes_add(sums.acc[r * COLS + c]) * scale[c];
            if (GLU != 0u)
                value = glu(value + (a.bias[0] != REF_NONE ? LOAD_F32(a.bias[0], bias_first + y_row) : 0.0),
                            lanes_add(up.acc[r * COLS + c]) * scale[c] +
                                (a.bias[1] != REF_NONE ? LOAD_F32(a.bias[1], bias_first + y_row) : 0.0));
            if ((LANE_ROWS == 0u && gl_LocalInvocationIndex != 0u) || row + r * ROW_STEP >= n || first + c >= there)
                continue;
            if (GLU == 0u && SUM == 0u && a.bias[part] != REF_NONE)
                value += LOAD_F32(a.bias[part], bias_first + y_row);
            if (part == 0u && a.residual != REF_NONE)
                value += LOAD_F32(a.residual, y);
            STORE_F32(a.y[part], y, here ? value : 0.0);
        }
    }
}
