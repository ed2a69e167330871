/*
 * kv.h — the cache of keys and values: pages of KV_PAGE positions, shared between sequences.
 *
 * Owns which page belongs to which sequence and how often it is shared; not the bytes, which live
 * with a device (a page's number means an address there). A page holds its positions for all
 * layers. Sequences that begin alike share whole pages; a shared page is never written. One thread.
 *
 *   layout of a page: for each layer K [n_head_kv][KV_PAGE][k_dim], then V
 * [n_head_kv][KV_PAGE][v_dim], each part aligned to 256 bytes
 */
#ifndef KV_KV_H
#define KV_KV_H

#include "base/log.h"
#include "op/op.h"

/* Fills k_offset and v_offset of each layer's geometry (types and shapes given) and returns the
 * bytes of a page. A row that a block type does not divide (q8_0 with a width that is no multiple
 * of 32) falls back to F16, said once. 0, having said why, if a page would exceed 4 GiB. */
uint64_t kv_layout(struct kv_geom *layers, int n_layers, const struct log *log);

struct kv_cache;

/* A cache for `n_seqs` sequences of at most `n_ctx` positions each, over `n_pages` pages in all
 * (0: enough for every sequence at full length). */
HTH_MUST_CHECK kv_create(struct kv_cache **out, int n_seqs, int n_ctx, int n_pages,
                         const struct log *log);
void kv_destroy(struct kv_cache *cache);

int kv_n_pages(const struct kv_cache *cache); /* in all */
int kv_pages_used(const struct kv_cache *cache);
bool kv_page_used(const struct kv_cache *cache, int page); /* does a sequence hold it? */

/* Positions of a sequence, [0, length). */
int kv_length(const struct kv_cache *cache, int seq);

/* Makes room for positions [length, length + n) and extends the sequence; the pages they fall into
 * are the sequence's own. Errors: HTH_ERROR_LIMIT when n_ctx or the pages are used up (nothing has
 * changed then). */
HTH_MUST_CHECK kv_extend(struct kv_cache *cache, int seq, int n, const struct log *log);

/* Forgets positions from `length` on. A page that is shared and would be written next is left to
 * the others: then the sequence is cut at that page's beginning. Returns the length it now has. */
int kv_truncate(struct kv_cache *cache, int seq, int length);

/* Makes `to` (emptied first) begin like `from`: shares the whole pages below `length`; returns the
 * positions shared, a multiple of KV_PAGE or the whole of `length` if it is one. */
int kv_share(struct kv_cache *cache, int to, int from, int length);

/* The table for batches: page numbers, `*stride` per sequence. */
const uint32_t *kv_table(const struct kv_cache *cache, int *stride);

#endif
