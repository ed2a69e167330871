/*
 * rows_part.h — made models, of which the rows of all architectures are listed.
 *
 * Private to the rows_*.c files of this folder. Owns nothing that outlives a call. One thread.
 */
#ifndef ENGINE_ROWS_PART_H
#define ENGINE_ROWS_PART_H

#include "base/log.h"
#include "base/str.h"
#include "model/arch.h"

/* The file of a made model of an architecture appended to `out`: zeroed weights, Q4_0 matrices, no
 * vocabulary. `moe`: with experts, if it can. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK rows_model(struct strbuf *out, const struct arch *arch, bool moe, int head_dim,
                          const struct log *log);

/* Does an architecture come without experts (or with them)? */
bool rows_arch_has(const struct arch *arch, bool moe);

#endif
