// matvec.comp: y = W·x for 1 to 8 columns, W in any block format of the file, fp32 math.
// variants: quant
// args: matvec_args matmul/matvec_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "quant/unit.glsl"
#include "matmul/matvec_args.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint GROUP = 32u; // invocations
layout(constant_id = 1) const uint ROWS = 2u;   // rows of W that all of them share
layout(constant_id = 2) const uint COLS = 1u;   // columns of x per workgroup
layout(constant_id = 3) const uint GLU = 0u;    // 1: silu, 2: gelu (tanh), 3: gelu (erf)
layout(constant_id = 4) const uint LANE_ROWS = 0u; // 1: ROWS that each has to itself
#define MAX_ROWS 4u
#define ROW_STEP (LANE_ROWS == 0u ? 1u : GROUP) // from a lane's row to its next
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

void add_step(uint w, uint row, uint n, uint s, uint x_row[MAX_COLS], inout float acc[MAX_ACC])
{
    Unit unit[QUANT_STEP][MAX_ROWS];
    [[unroll]] for (uint r = 0u; r < ROWS; r++) {
        Unit units[QUANT_STEP];
        quant_load_step(w, min(row + r * ROW_STEP, n - 1u) * (a.k / QUANT_ELEMS), s, units);
        [[unroll]] for (uint i = 0u; i < QUANT_STEP; i++)
            unit[i][r] = units[i];
    }
    [[unroll]] for (uint i = 0u; i < QUANT_STEP; i++)
        add_unit(unit[i], QUANT_STEP_UNIT(s, i), x_row, acc);
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
void accumulate(uint w, uint row, uint n, uint x_row[MAX_COLS], inout float acc[MAX_ACC])
{
    uint blocks = a.k / QUANT_ELEMS, units = (a.k + 31u) >> 5;
    if (LANE_ROWS != 0u) {
        uint found = touch_rows(w, row, n);
        acc[0] = a.k == 0u ? float(found) : 0.0;
    }
    uint first = LANE_ROWS == 0u ? gl_LocalInvocationIndex : 0u, lanes = LANE_ROWS == 0u ? GROUP : 1u;
    if (QUANT_STEP == 1 || COLS > 1u) {
        for (uint u = first; u < units; u += lanes) {
            Unit unit[MAX_ROWS];
            [[unroll]] for (uint r = 0u; r < ROWS; r++)
                unit[r] = quant_load(w, min(row + r * ROW_STEP, n - 1u) * blocks, u);
            add_unit(unit, u, x_row, acc);
        }
        return;
    }
    for (uint s = first; s < units / QUANT_STEP; s += lanes)
        add_step(w, row, n, s, x_row, acc);
}

float lanes_add(float value)
{
    return LANE_ROWS == 0u ? group_add(value) : value;
}

void main()
{
    // which weight, and which of its rows
    uint part = 0u, rows = LANE_ROWS == 0u ? ROWS : ROWS * GROUP;
    uint row = (gl_WorkGroupID.x + gl_NumWorkGroups.x * gl_WorkGroupID.z) * rows;
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
    uint there = BATCH(a.batch, a.rows_field) * a.n_used, first = gl_WorkGroupID.y * COLS;
    if (first >= there)
        return;
    uint bias_first = 0u; // biases of experts lie one after the other
    bool here = true;     // an expert that is not gives zeros
    if (a.ids != REF_NONE) {
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

    float acc[MAX_ACC], acc_up[MAX_ACC];
    [[unroll]] for (uint i = 0u; i < MAX_ACC; i++)
        acc[i] = acc_up[i] = 0.0;
    if (here)
        accumulate(w, row, n, x_row, acc);
    if (GLU != 0u && here)
        accumulate(w_up, row, n, x_row, acc_up);

    [[unroll]] for (uint r = 0u; r < ROWS; r++) {
        [[unroll]] for (uint c = 0u; c < COLS; c++) {
            uint y_row = a.y_first[part] + row + r * ROW_STEP, y = (first + c) * a.y_stride[part] + y_row;
            float value = lanes_add(acc[r * COLS + c]);
            if (GLU != 0u)
                value = glu(value + (a.bias[0] != REF_NONE ? LOAD_F32(a.bias[0], bias_first + y_row) : 0.0),
                            lanes_add(acc_up[r * COLS + c]) +
                                (a.bias[1] != REF_NONE ? LOAD_F32(a.bias[1], bias_first + y_row) : 0.0));
            if ((LANE_ROWS == 0u && gl_LocalInvocationIndex != 0u) || row + r * ROW_STEP >= n || first + c >= there)
                continue;
            if (GLU == 0u && a.bias[part] != REF_NONE)
                value += LOAD_F32(a.bias[part], bias_first + y_row);
            if (part == 0u && a.residual != REF_NONE)
                value += LOAD_F32(a.residual, y);
            STORE_F32(a.y[part], y, here ? value : 0.0);
        }
    }
}
