#include "text/tokenizer_merge.h"

#include "base/mem.h"

void merge_begin(struct merge_work *work, struct str word)
{
    work->word = word;
    work->n_symbols = work->n_pairs = 0;
}

bool merge_add(struct merge_work *work, size_t len, uint32_t id)
{
    struct merge_symbol *symbols =
        mem_grow(work->symbols, &work->symbols_capacity, work->n_symbols + 1, sizeof *symbols);
    if (!symbols)
        return false;
    work->symbols = symbols;
    struct merge_symbol symbol = {0, (uint32_t)len, MERGE_END, MERGE_END, id};
    if (work->n_symbols) {
        struct merge_symbol *last = &symbols[work->n_symbols - 1];
        symbol.start = last->start + last->len;
        symbol.prev = (uint32_t)work->n_symbols - 1;
        last->next = (uint32_t)work->n_symbols;
    }
    symbols[work->n_symbols++] = symbol;
    return true;
}

static bool goes_before(const struct merge_pair *a, const struct merge_pair *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static bool push(struct merge_work *work, struct merge_pair pair)
{
    struct merge_pair *heap =
        mem_grow(work->heap, &work->heap_capacity, work->n_pairs + 1, sizeof *heap);
    if (!heap)
        return false;
    work->heap = heap;
    size_t at = work->n_pairs++;
    while (at > 0 && goes_before(&pair, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = pair;
    return true;
}

static struct merge_pair pop(struct merge_work *work)
{
    struct merge_pair *heap = work->heap, best = heap[0], last = heap[--work->n_pairs];
    size_t n = work->n_pairs, at = 0;
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && goes_before(&heap[child + 1], &heap[child]))
            child++;
        if (!goes_before(&heap[child], &last))
            break;
        heap[at] = heap[child];
    }
    heap[at] = last;
    return best;
}

static bool offer(struct merge_work *work, uint32_t left, uint32_t right, merge_rule_fn *rule,
                  const void *user)
{
    if (left == MERGE_END || right == MERGE_END)
        return true;
    const struct merge_symbol *l = &work->symbols[left], *r = &work->symbols[right];
    uint32_t rank, id;
    if (!rule(user, work, l, r, &rank, &id))
        return true;
    return push(work, (struct merge_pair){rank, left, right, l->len + r->len});
}

bool merge_run(struct merge_work *work, merge_rule_fn *rule, const void *user)
{
    for (uint32_t i = 1; i < work->n_symbols; i++)
        if (!offer(work, i - 1, i, rule, user))
            return false;
    while (work->n_pairs) {
        struct merge_pair pair = pop(work);
        struct merge_symbol *left = &work->symbols[pair.left], *right = &work->symbols[pair.right];
        /* An offer is out of date once either side has grown or gone. */
        uint32_t rank, id;
        if (left->len == 0 || right->len == 0 || left->len + right->len != pair.len ||
            !rule(user, work, left, right, &rank, &id))
            continue;
        left->id = id;
        left->len = pair.len;
        left->next = right->next;
        right->len = 0;
        if (left->next != MERGE_END)
            work->symbols[left->next].prev = pair.left;
        if (!offer(work, left->prev, pair.left, rule, user) ||
            !offer(work, pair.left, left->next, rule, user))
            return false;
    }
    return true;
}

void merge_free(struct merge_work *work)
{
    mem_free(work->symbols);
    mem_free(work->heap);
    *work = (struct merge_work){0};
}
