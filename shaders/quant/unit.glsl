// unit.glsl: what a block format's header hands to the kernels: 32 weights in two runs of 16.
//
// Column c of run r is weight d[r] × q + m[r]. A header (quant/<format>.h) defines QUANT_ELEMS,
// QUANT_BYTES (of a block), QUANT_HAS_SCALE (0: d is 1), QUANT_HAS_MIN (0: m is 0), QUANT_HAS_INT and
//   uvec2 quant_columns(uint u)                      first columns of both runs of unit u of a row
//   Unit quant_load(uint ref, uint block, uint u)    unit u of the row whose first block is `block`
//   IntUnit quant_load_int(same)                     q as signed bytes, four to a word, run 0 first
// A format whose neighbouring units share scales may define QUANT_STEP 2, QUANT_STEP_UNIT(s, i) (unit i
// of step s) and quant_load_step(ref, block, s, out units), which loads both with fewer reads.
// A kernel may say that its units are on no registers anyway (UNITS_IN_REGISTERS false).
#include "common/bytes.glsl"

#ifndef UNITS_IN_REGISTERS
#define UNITS_IN_REGISTERS true
#endif

struct Unit {
    vec4 q[8]; // run 0 in 0–3, run 1 in 4–7
    vec2 d, m; // .x of run 0, .y of run 1
};

struct IntUnit {
    int q[8];
    vec2 d, m;
};

// The header that is being compiled; the build says which.
#include "quant_format.h"

#ifndef QUANT_STEP
#define QUANT_STEP 1
#define QUANT_STEP_UNIT(s, i) (s)
void quant_load_step(uint ref, uint block, uint s, out Unit units[1])
{
    units[0] = quant_load(ref, block, s);
}
#endif

// Weights of columns 4 i … 4 i + 3 of a run.
vec4 unit_weights(Unit unit, uint run, uint i)
{
    vec4 w = unit.q[4u * run + i];
#if QUANT_HAS_SCALE
    w *= unit.d[run];
#endif
#if QUANT_HAS_MIN
    w += unit.m[run];
#endif
    return w;
}

// Plain floats may have rows that are no multiple of 32: what lies past the end is 0.
#if QUANT_ELEMS == 1
#define BEFORE_END(v, column) ((column) < a.k ? (v) : vec4(0.0))
#else
#define BEFORE_END(v, column) (v)
#endif
