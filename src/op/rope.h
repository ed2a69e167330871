/*
 * rope.h — the angles of rotary positions, for whoever turns vectors: reference, CPU, arguments of
 * GPU kernels.
 *
 * Owns nothing. Formulas: rotary embedding, Su et al. 2021 (arXiv:2104.09864); YaRN, Peng et al.
 * 2023 (arXiv:2309.00071), with the bounds rounded outwards to whole dimensions as GGUF models
 * expect. Any thread.
 */
#ifndef OP_ROPE_H
#define OP_ROPE_H

#include "op/batch.h"
#include "op/op.h"

/* The YaRN ramp over pairs: pairs up to `low` keep their angle, pairs from `high` on are scaled. */
void rope_ramp(const struct rope_params *params, float *low, float *high);

/* What multiplies cos and sin: attn_factor, with YaRN's 1 + 0.1·ln(1 / freq_scale). */
double rope_magnitude(const struct rope_params *params);

/* The angle of pair `i` in [0, n_rot / 2) at position 1; angles are proportional to the position.
 * `factor` divides the frequency (1: none); low and high from `rope_ramp`. */
double rope_frequency(const struct rope_params *params, int i, double factor, float low,
                      float high);

/* The rotary table of a batch: cos and sin, times the magnitude, of each token's angles,
 * [n_tokens][n_rot / 2][2]. `factors` [n_rot / 2] may be NULL. In double: a table serves every
 * layer and head. */
void rope_fill(const struct rope_params *params, const float *factors, const struct batch *batch,
               float *cos_sin);

#endif
