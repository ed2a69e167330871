#include "gpu/batch.h"

#include <math.h>
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

/* cos and sin of every (token, pair), in double on the host: kernels need no angle of their own. */
static void fill_ropes(const struct batch_layout *layout, const struct batch *batch, float *words)
{
    for (int r = 0; r < layout->n_ropes; r++) {
        const struct rope_table *table = &layout->ropes[r];
        int half = table->params.n_rot / 2;
        double magnitude = rope_magnitude(&table->params);
        float low, high;
        rope_ramp(&table->params, &low, &high);
        for (int i = 0; i < half; i++) {
            double factor = table->factors ? (double)table->factors[i] : 1.0;
            double frequency = rope_frequency(&table->params, i, factor, low, high);
            for (int t = 0; t < batch->n_tokens; t++) {
                float *out = words + table->at + 2 * (t * half + i);
                out[0] = (float)(magnitude * cos(frequency * batch->pos[t]));
                out[1] = (float)(magnitude * sin(frequency * batch->pos[t]));
            }
        }
    }
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
    fill_ropes(layout, batch, (float *)words);
}
