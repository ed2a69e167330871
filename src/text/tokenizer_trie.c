#include "text/tokenizer_trie.h"

#include <stdlib.h>

#include "base/mem.h"

bool trie_add(struct trie *trie, struct str text, uint32_t id)
{
    trie->n_too_long += text.len > TRIE_MAX_TEXT;
    if (text.len == 0 || text.len > TRIE_MAX_TEXT)
        return true;
    struct trie_entry *entries =
        mem_grow(trie->entries, &trie->entries_capacity, trie->n_entries + 1, sizeof *entries);
    if (!entries)
        return false;
    trie->entries = entries;
    uint64_t head = 0;
    for (size_t i = 0; i < 8; i++)
        head = head << 8 | (i < text.len ? (uint8_t)text.ptr[i] : 0);
    entries[trie->n_entries++] = (struct trie_entry){head, text, id};
    return true;
}

static int by_text(const void *a, const void *b)
{
    const struct trie_entry *x = a, *y = b;
    if (x->head != y->head)
        return x->head < y->head ? -1 : 1;
    int order = str_compare(x->text, y->text);
    return order ? order : (x->id > y->id) - (x->id < y->id);
}

/* The entries of a node that is not worked out yet: all begin with the bytes that lead to it. */
struct range {
    uint32_t low, high, depth;
};

static bool add_node(struct trie *trie, struct range **ranges, size_t *capacity, struct range range,
                     uint8_t byte)
{
    struct trie_node *nodes =
        mem_grow(trie->nodes, &trie->nodes_capacity, trie->n_nodes + 1, sizeof *nodes);
    if (nodes)
        trie->nodes = nodes;
    struct range *grown = mem_grow(*ranges, capacity, trie->n_nodes + 1, sizeof *grown);
    if (grown)
        *ranges = grown;
    if (!nodes || !grown || trie->n_nodes >= TRIE_NONE)
        return false;
    grown[trie->n_nodes] = range;
    nodes[trie->n_nodes++] = (struct trie_node){.id = TRIE_NONE, .tail = TRIE_NONE, .byte = byte};
    return true;
}

/* Children are appended behind all nodes there are, so that those of a node stand together. */
static bool build_node(struct trie *trie, struct range **ranges, size_t *capacity, size_t index)
{
    struct range range = (*ranges)[index];
    const struct trie_entry *entries = trie->entries;
    while (range.low < range.high && entries[range.low].text.len == range.depth)
        trie->nodes[index].id = entries[range.low++].id;
    if (range.high - range.low == 1) {
        trie->nodes[index].tail = range.low;
        return true;
    }
    trie->nodes[index].first = (uint32_t)trie->n_nodes;
    for (uint32_t low = range.low, high; low < range.high; low = high) {
        char byte = entries[low].text.ptr[range.depth];
        for (high = low + 1; high < range.high && entries[high].text.ptr[range.depth] == byte;)
            high++;
        struct range child = {low, high, range.depth + 1};
        if (!add_node(trie, ranges, capacity, child, (uint8_t)byte))
            return false;
        trie->nodes[index].n_children++;
    }
    return true;
}

bool trie_build(struct trie *trie)
{
    if (trie->n_entries == 0)
        return true;
    if (trie->n_entries >= TRIE_NONE)
        return false;
    qsort(trie->entries, trie->n_entries, sizeof *trie->entries, by_text);
    struct range *ranges = NULL;
    size_t capacity = 0;
    bool ok =
        add_node(trie, &ranges, &capacity, (struct range){0, (uint32_t)trie->n_entries, 0}, 0);
    for (size_t i = 0; ok && i < trie->n_nodes; i++)
        ok = build_node(trie, &ranges, &capacity, i);
    mem_free(ranges);
    return ok;
}

void trie_tell_too_long(size_t n, const char *file, const struct log *log)
{
    if (n)
        log_warning(
            log,
            "%s: %zu token%s of its vocabulary longer than %d bytes: hearth reads such in a "
            "model's answer but does not find them in a text",
            file, n, n == 1 ? "" : "s", TRIE_MAX_TEXT);
}

void trie_free(struct trie *trie)
{
    mem_free(trie->entries);
    mem_free(trie->nodes);
    *trie = (struct trie){0};
}

static uint32_t child_of(const struct trie *trie, const struct trie_node *node, uint8_t byte)
{
    uint32_t low = node->first, high = node->first + node->n_children;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (trie->nodes[middle].byte < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low < node->first + node->n_children && trie->nodes[low].byte == byte ? low : TRIE_NONE;
}

/* A node is reached by as many bytes as it is deep, so walk->len need not be that of a token until
 * this returns one. */
uint32_t trie_next(struct trie_walk *walk)
{
    const struct trie *trie = walk->trie;
    while (walk->node != TRIE_NONE) {
        const struct trie_node *node = &trie->nodes[walk->node];
        if (node->tail != TRIE_NONE) {
            const struct trie_entry *entry = &trie->entries[node->tail];
            walk->node = TRIE_NONE;
            if (!str_starts_with(walk->text, entry->text))
                break;
            walk->len = entry->text.len;
            return entry->id;
        }
        if (walk->len == walk->text.len)
            break;
        walk->node = child_of(trie, node, (uint8_t)walk->text.ptr[walk->len]);
        if (walk->node == TRIE_NONE)
            break;
        walk->len++;
        if (trie->nodes[walk->node].id != TRIE_NONE)
            return trie->nodes[walk->node].id;
    }
    walk->node = TRIE_NONE;
    return TRIE_NONE;
}

uint32_t trie_longest(const struct trie *trie, struct str text, size_t *len)
{
    uint32_t best = TRIE_NONE;
    *len = 0;
    struct trie_walk walk = trie_walk_from(trie, text);
    for (uint32_t id; (id = trie_next(&walk)) != TRIE_NONE;) {
        best = id;
        *len = walk.len;
    }
    return best;
}
