#include "plan/memmap.h"

#include <stdlib.h>

#include "base/mem.h"

/* A base activation and the ops between which its bytes must stay: made by op `first`, last read by
 * op `last`, both ends included. */
struct life {
    uint64_t size_bytes, offset;
    int id;
    size_t first, last;
};

static void touch(struct life *lives, const struct tensor *tensor, size_t op, bool made)
{
    if (!tensor)
        return;
    const struct tensor *base = tensor_base(tensor, NULL);
    if (base->kind != TENSOR_ACTIVATION)
        return;
    struct life *life = &lives[base->id];
    if (life->size_bytes == 0) { /* seen for the first time; an input is there from the beginning */
        life->size_bytes = dtype_row_bytes(base->dtype, (uint64_t)tensor_elems(base));
        life->first = made ? op : 0;
        life->last = op;
    }
    if (op > life->last)
        life->last = op;
}

/* Lives of the tensors that are used, packed to the front; returns how many. */
static size_t find_lives(const struct graph *graph, struct life *lives, bool keep_all)
{
    for (size_t i = 0; i < graph->n_tensors; i++)
        lives[i].id = graph->tensors[i]->id;
    for (size_t i = 0; i < graph->n_ops; i++) {
        for (int k = 0; k < OP_MAX_IN; k++)
            touch(lives, graph->ops[i]->in[k], i, false);
        for (int k = 0; k < OP_MAX_OUT; k++)
            touch(lives, graph->ops[i]->out[k], i, true);
    }
    touch(lives, graph_result(graph), graph->n_ops, false);
    size_t n = 0;
    for (size_t i = 0; i < graph->n_tensors; i++) {
        if (lives[i].size_bytes == 0)
            continue;
        if (keep_all) {
            lives[i].first = 0;
            lives[i].last = graph->n_ops;
        }
        lives[n++] = lives[i];
    }
    return n;
}

static int larger_first(const void *a, const void *b)
{
    const struct life *x = a, *y = b;
    if (x->size_bytes != y->size_bytes)
        return x->size_bytes < y->size_bytes ? 1 : -1;
    return x->id < y->id ? -1 : 1;
}

/* The smallest gap that holds `life` among those of `placed` (sorted by offset) that live at the
 * same time; else the end of them. */
static uint64_t best_fit(const struct life *life, const struct life *const *placed, size_t n,
                         uint64_t align)
{
    uint64_t end = 0, best = UINT64_MAX, best_gap = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        const struct life *other = placed[i];
        if (other->last < life->first || life->last < other->first)
            continue;
        if (other->offset > end) {
            uint64_t gap = other->offset - end;
            if (gap >= life->size_bytes && gap < best_gap) {
                best = end;
                best_gap = gap;
            }
        }
        uint64_t other_end = align_up(other->offset + other->size_bytes, align);
        if (other_end > end)
            end = other_end;
    }
    return best == UINT64_MAX ? end : best;
}

static void place_all(struct life *lives, size_t n, const struct life **placed, uint64_t align)
{
    qsort(lives, n, sizeof *lives, larger_first);
    for (size_t i = 0; i < n; i++) {
        lives[i].offset = best_fit(&lives[i], placed, i, align);
        size_t at = i;
        for (; at > 0 && placed[at - 1]->offset > lives[i].offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = &lives[i];
    }
}

enum hth_status memmap_create(struct memmap *out, const struct graph *graph, uint64_t align,
                              bool keep_all, const struct log *log)
{
    *out = (struct memmap){.n_tensors = graph->n_tensors};
    size_t count = graph->n_tensors + 1;
    struct life *lives = mem_calloc(count, sizeof *lives);
    const struct life **placed = mem_calloc(count, sizeof *placed);
    out->offsets = mem_calloc(count, sizeof *out->offsets);
    enum hth_status status = HTH_OK;
    if (!lives || !placed || !out->offsets) {
        memmap_free(out);
        status = log_fail_memory(log, "the map of activations", count * sizeof *lives);
        goto end;
    }
    size_t n = find_lives(graph, lives, keep_all);
    place_all(lives, n, placed, align);
    for (size_t i = 0; i < graph->n_tensors; i++)
        out->offsets[i] = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        uint64_t end = align_up(lives[i].offset + lives[i].size_bytes, align);
        out->offsets[lives[i].id] = lives[i].offset;
        if (end > out->size_bytes)
            out->size_bytes = end;
    }
    for (size_t i = 0; i < graph->n_tensors; i++) {
        int64_t offset;
        const struct tensor *tensor = graph->tensors[i], *base = tensor_base(tensor, &offset);
        if (base != tensor && out->offsets[base->id] != UINT64_MAX)
            out->offsets[i] =
                out->offsets[base->id] + dtype_row_bytes(tensor->dtype, (uint64_t)offset);
    }
end:
    mem_free(lives);
    mem_free(placed);
    return status;
}

void memmap_free(struct memmap *map)
{
    mem_free(map->offsets);
    *map = (struct memmap){0};
}
