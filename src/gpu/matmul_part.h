/*
 * matmul_part.h — what the files of one family share: the matmuls inside an op, and what its rows
 * are made of. matmul.c has the table of rows, matvec.c those for few columns, tile.c those for
 * many.
 *
 * Private to these files. Owns nothing. One thread.
 */
#ifndef GPU_MATMUL_PART_H
#define GPU_MATMUL_PART_H

#include "gpu/compile.h"

/* The matmuls inside an op, whatever its kind: up to three weights that share x. */
struct matmul_parts {
    const struct tensor *x, *ids, *residual;
    const struct tensor *w[3], *bias[3], *y[3];
    int n;
    uint32_t glu;              /* 0, or 1 + enum glu_kind: w[0] is gate, w[1] up, y[0] the result */
    const struct tensor *norm; /* x is normed first; its weight */
    float eps;
    const struct tensor *shares; /* of the experts of a token, which are summed up */
};

/* Of an op of the family, whatever its kind. */
struct matmul_parts matmul_parts(const struct op *op);

/* Columns of y at the bucket's size: tokens, or slots (token, expert). */
int64_t matmul_columns(const struct matmul_parts *p);

/* All kernels take units of 32 columns, of whole blocks or of floats in 16-byte loads. */
bool matmul_shapes_fit(const struct matmul_parts *p);

/* Slots instead of columns, where experts are chosen: does x have a row for each? */
bool matmul_x_per_slot(const struct matmul_parts *p);

/* A dispatch that reads and writes what the op does. */
struct dispatch matmul_begin(const struct compile *c, const struct row_choice *choice,
                             const struct matmul_parts *p);

/* --- matvec.c --- */

bool matvec_fits(const struct row_env *env, const struct op *op);
void matvec_shape(const struct row_env *env, const struct op *op, struct row_choice *choice);
enum hth_status matvec_emit(struct compile *c, const struct op *op,
                            const struct row_choice *choice);

/* What can be turned of both kinds. */
enum { MATVEC_KNOBS = 4 };
extern const struct row_knob matvec_knobs[MATVEC_KNOBS];
bool matvec_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                 struct row_choice *choice);

/* Rows of its own for each lane. */
bool matvec_lanes_prefers(const struct row_env *env, const struct op *op);
void matvec_lanes_shape(const struct row_env *env, const struct op *op, struct row_choice *choice);

/* --- tile.c --- */

bool tile_fits(const struct row_env *env, const struct op *op);
void tile_shape(const struct row_env *env, const struct op *op, struct row_choice *choice);
enum hth_status tile_emit(struct compile *c, const struct op *op, const struct row_choice *choice);

/* What can be turned, whatever they multiply. */
enum { TILE_KNOBS = 7 };
extern const struct row_knob tile_knobs[TILE_KNOBS];
bool tile_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
               struct row_choice *choice);
bool tile_half_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                    struct row_choice *choice);
bool tile_int_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                   struct row_choice *choice);

/* Of integers or halves, which need more registers. */
void tile_narrow_shape(const struct row_env *env, const struct op *op, struct row_choice *choice);

/* Rows of its own for each lane, as matvec_lanes. */
bool tile_lanes_prefers(const struct row_env *env, const struct op *op);
void tile_lanes_shape(const struct row_env *env, const struct op *op, struct row_choice *choice);
enum { TILE_LANES_KNOBS = 4 };
extern const struct row_knob tile_lanes_knobs[TILE_LANES_KNOBS];
bool tile_lanes_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                     struct row_choice *choice);

bool tile_int_fits(const struct row_env *env, const struct op *op);
bool tile_int_prefers(const struct row_env *env, const struct op *op);
/* Of cooperative matrices of integers, too. */
enum hth_status tile_int_emit(struct compile *c, const struct op *op,
                              const struct row_choice *choice);

bool tile_half_fits(const struct row_env *env, const struct op *op);
bool tile_half_prefers(const struct row_env *env, const struct op *op);
/* Of cooperative matrices of halves, too. */
enum hth_status tile_half_emit(struct compile *c, const struct op *op,
                               const struct row_choice *choice);

enum { TILE_COOP_KNOBS = 5 };
extern const struct row_knob tile_coop_knobs[TILE_COOP_KNOBS];

bool tile_coop_f16_fits(const struct row_env *env, const struct op *op);
bool tile_coop_f16_prefers(const struct row_env *env, const struct op *op);
void tile_coop_f16_shape(const struct row_env *env, const struct op *op, struct row_choice *choice);
bool tile_coop_f16_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                        struct row_choice *choice);

bool tile_coop_bf16_fits(const struct row_env *env, const struct op *op);
bool tile_coop_bf16_prefers(const struct row_env *env, const struct op *op);
void tile_coop_bf16_shape(const struct row_env *env, const struct op *op,
                          struct row_choice *choice);
bool tile_coop_bf16_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                         struct row_choice *choice);
enum hth_status tile_coop_bf16_emit(struct compile *c, const struct op *op,
                                    const struct row_choice *choice);

bool tile_coop_s8_fits(const struct row_env *env, const struct op *op);
bool tile_coop_s8_prefers(const struct row_env *env, const struct op *op);
void tile_coop_s8_shape(const struct row_env *env, const struct op *op, struct row_choice *choice);
bool tile_coop_s8_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                       struct row_choice *choice);

#endif
