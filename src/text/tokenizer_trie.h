/*
 * tokenizer_trie.h — which tokens does a text begin with?
 *
 * Owns an index over texts that others own. Nodes hold a byte each, but where only one token goes
 * on, the rest of it is compared in one piece, so that there are few more nodes than tokens. Built
 * by one thread, then read by any.
 */
#ifndef TEXT_TOKENIZER_TRIE_H
#define TEXT_TOKENIZER_TRIE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/str.h"

#define TRIE_NONE UINT32_MAX

/* Longer texts are not found. It bounds what a place in a text costs; the longest tokens of the
 * field have some 512 bytes, all of them spaces. */
enum { TRIE_MAX_TEXT = 1024 };

struct trie_entry {
    uint64_t head; /* the first bytes, big-endian: sorting mostly needs no more */
    struct str text;
    uint32_t id;
};

struct trie_node {
    uint32_t first; /* its children, in the order of their bytes */
    uint32_t id;    /* of the text that ends here; TRIE_NONE: none does */
    uint32_t tail;  /* the entry that alone goes on from here; TRIE_NONE: none or several do */
    uint16_t n_children;
    uint8_t byte; /* that leads here */
};

/* Zero is an empty trie, ready for trie_add. */
struct trie {
    struct trie_entry *entries;
    size_t n_entries, entries_capacity;
    struct trie_node *nodes;
    size_t n_nodes, nodes_capacity;
    size_t n_too_long; /* texts that were left out */
};

/* Adds a text, which must outlive the trie; empty and too long ones are left out. False when memory
 * runs out. */
ATTR_WARN_UNUSED bool trie_add(struct trie *trie, struct str text, uint32_t id);

/* Sorts what was added; afterwards nothing may be. Of equal texts the highest id counts. False when
 * memory runs out. */
ATTR_WARN_UNUSED bool trie_build(struct trie *trie);

/* Warns of so many tokens, if any, that will not be found because they are too long; `file` is
 * whose they are. */
void trie_tell_too_long(size_t n, const char *file, const struct log *log);
void trie_free(struct trie *trie);

/* Walks along one text from its beginning. */
struct trie_walk {
    const struct trie *trie;
    struct str text;
    uint32_t node;
    size_t len; /* of what was found last */
};

static inline struct trie_walk trie_walk_from(const struct trie *trie, struct str text)
{
    return (struct trie_walk){trie, text, trie->n_nodes ? 0 : TRIE_NONE, 0};
}

/* The next longer token that the text begins with: its id, and its length in walk->len. TRIE_NONE
 * when there is none. */
uint32_t trie_next(struct trie_walk *walk);

/* The longest token that `text` begins with and its length; TRIE_NONE and 0 if there is none. */
uint32_t trie_longest(const struct trie *trie, struct str text, size_t *len);

#endif
