/*
 * batch.h — the words that tell kernels about a batch (shaders/common/batch_args.h).
 *
 * Owns nothing. Any thread.
 */
#ifndef GPU_BATCH_H
#define GPU_BATCH_H

#include "gpu/compile.h"

/* Writes layout->n_words words: header, tokens, query tiles, the places of pages (page_refs by page
 * number; what stands in entries of the table that no sequence uses does not matter), counters,
 * rotary tables. */
void batch_fill(const struct batch_layout *layout, const struct batch *batch,
                const uint32_t *page_refs, uint32_t n_pages, uint32_t *words);

#endif
