/*
 * batch_args.h — the buffer that tells all kernels about the batch at hand.
 *
 * Words of 32 bits: this header, then arrays at the stated word offsets. Written by the host once
 * per batch (gpu/exec.c), read through the argument `batch` of every kernel.
 */
#ifndef SHADERS_COMMON_BATCH_ARGS_H
#define SHADERS_COMMON_BATCH_ARGS_H

#include "common/shared.h"

#define BATCH_N_TOKENS     0 /* rows that are really there */
#define BATCH_N_OUTPUTS    1
#define BATCH_N_TILES      2  /* of queries, see BATCH_TILES */
#define BATCH_TABLE_STRIDE 3  /* pages per sequence */
#define BATCH_IDS          4  /* word offset of: token ids, one per row */
#define BATCH_POS          5  /* positions */
#define BATCH_SEQ          6  /* rows of the page table */
#define BATCH_OUTPUTS      7  /* rows whose logits are wanted */
#define BATCH_TILES        8  /* pairs: first row, number of rows; one sequence each */
#define BATCH_PAGES        9  /* places of pages, [seq][table stride] */
#define BATCH_COUNTERS     10 /* zeros that kernels may count in, and make zero again */
#define BATCH_HEADER_WORDS 16

#define BATCH_KV_PAGE 64 /* positions per page, = KV_PAGE */

#endif
