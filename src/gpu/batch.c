#include "gpu/batch.h"

#include <string.h>

#include "common/batch_args.h"
#include "op/rope.h"

/* Tiles of query tokens for attention: of one sequence each. */
static uint32_t fill_tiles(const struct batch *batch, uint32_t tile_tokens, uint32_t *out)
{
    uint32_t n = 0;
    for (int i = 0; i < batch->n_tokens; n++) {
        int count = 1;
        while (count < (int)tile_tokens && i + count < batch->n_tokens &&
               batch->seq[i + count] == batch->seq[i])
            count++;
        out[2 * n] = (uint32_t)i;
        out[2 * n + 1] = (uint32_t)count;
        i += count;
    }
    return n;
}

void batch_fill(const struct batch_layout *layout, const struct batch *batch,
                const uint32_t *page_refs, uint32_t n_pages, uint32_t *words)
{
    words[BATCH_N_TOKENS] = (uint32_t)batch->n_tokens;
    words[BATCH_N_OUTPUTS] = (uint32_t)batch->n_outputs;
    words[BATCH_TABLE_STRIDE] = layout->table_stride;
    words[BATCH_IDS] = layout->ids;
    words[BATCH_POS] = layout->pos;
    words[BATCH_SEQ] = layout->seq;
    words[BATCH_OUTPUTS] = layout->outputs;
    words[BATCH_TILES] = layout->tiles;
    words[BATCH_PAGES] = layout->pages;
    words[BATCH_COUNTERS] = layout->counters;
    memset(words + layout->counters, 0, 4ull * layout->n_counters);
    size_t bytes = (size_t)batch->n_tokens * 4;
    memcpy(words + layout->ids, batch->ids, bytes);
    memcpy(words + layout->pos, batch->pos, bytes);
    memcpy(words + layout->seq, batch->seq, bytes);
    if (batch->n_outputs)
        memcpy(words + layout->outputs, batch->outputs, (size_t)batch->n_outputs * 4);
    words[BATCH_N_TILES] = fill_tiles(batch, layout->tile_tokens, words + layout->tiles);
    uint32_t n_entries = (uint32_t)(batch->n_seqs * batch->table_stride);
    for (uint32_t i = 0; i < n_entries && n_pages; i++) {
        uint32_t page = batch->page_table[i];
        words[layout->pages + i] = page_refs[page < n_pages ? page : 0];
    }
    for (int i = 0; i < layout->n_ropes; i++)
        rope_fill(&layout->ropes[i].params, layout->ropes[i].factors, batch,
                  (float *)words + layout->ropes[i].at);
}
