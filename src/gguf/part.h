/*
 * part.h — one file of a model: its bytes, and the directories read from them. Inside gguf/ only.
 *
 * Owns the mapping, the path and the directories. One thread at a time while parsing.
 */
#ifndef GGUF_PART_H
#define GGUF_PART_H

#include "base/os.h"
#include "gguf/gguf.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "values are read from and written to files as they lie in memory: little-endian only"
#endif

enum { GGUF_ALIGNMENT_DEFAULT = 32, GGUF_ALIGNMENT_MIN = 8, GGUF_NAME_MAX = 65535 };

/* For "%.*s": names may be as long as 64 KiB, a message shows their beginning. */
#define SHOW(name) (int)((name).len < 100 ? (name).len : 100), (name).ptr

struct gguf_part {
    struct os_mapping mapping; /* zero for bytes that someone else owns */
    char *path;
    const unsigned char *data;
    uint64_t size_bytes;
    uint32_t version, alignment;
    bool no_data; /* only the directory is here: tensors have no bytes */
    struct gguf_key *keys;
    const struct str **key_index; /* names of `keys`, sorted */
    size_t n_keys;
    struct gguf_tensor *tensors;
    size_t n_tensors;
};

/* Reads header, keys and tensors of `data`, checking everything; `part` holds path, data and
 * size_bytes. Errors as gguf_open's; the part is to be freed either way. */
HTH_MUST_CHECK gguf_part_parse(struct gguf_part *part, const struct log *log);
void gguf_part_free(struct gguf_part *part);

/* A key of this part by name; NULL if there is none. */
const struct gguf_key *gguf_part_key(const struct gguf_part *part, const char *name);

/* Logs "PATH: damaged at byte OFFSET: …; download the file again". */
HTH_MUST_CHECK gguf_damaged(const struct gguf_part *part, uint64_t offset, const struct log *log,
                            const char *fmt, ...) ATTR_PRINTF(4, 5);

/* Where in the file a pointer into its bytes lies. */
uint64_t gguf_offset_of(const struct gguf_part *part, const void *data);

/* Says what a file that does not begin with "GGUF" is, and what to use instead. */
HTH_MUST_CHECK gguf_fail_other_format(const struct gguf_part *part, const struct log *log);

/* Bytes of one value of a plain type; 0 for strings, arrays and numbers that are no type. */
uint64_t gguf_type_bytes(uint32_t type);

/* Bytes of a tensor; false with `problem` (a sentence's end, as "row length 7 is no multiple of the
 * 32 elements of a Q8_0 block") when its shape is impossible. */
bool gguf_shape_bytes(struct gguf_tensor *tensor, char *problem, size_t problem_bytes);

/* A sorted index over the names of `n` items, each of which begins with `struct str`: fills
 * `index`; returns the later item of the first pair of equal names, NULL if all are different. */
const struct str *gguf_index_names(const struct str **index, const void *items, size_t n,
                                   size_t item_bytes);
const struct str *gguf_index_find(const struct str *const *index, size_t n, const char *name);

#endif
