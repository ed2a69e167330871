/*
 * gguf.h — GGUF files (versions 2 and 3): reading without copies, and writing.
 *
 * Owns the mapping of the file or of all its parts ("-00001-of-0000N.gguf") and two sorted
 * directories: keys and tensors. Strings, arrays and tensor bytes point into the mapping and live
 * as long as the `struct gguf`. Every offset, length and count is checked when the file is opened,
 * so that what the structs say can be trusted; nothing larger than the file justifies is allocated.
 * Reading is thread-safe once opened.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 *
 * Does not own: what keys mean (model/), what formats mean (quant/).
 */
#ifndef GGUF_GGUF_H
#define GGUF_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/str.h"
#include "quant/dtype.h"

/* Numbers as in the file. */
enum gguf_type {
    GGUF_U8 = 0,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT,
};

/* One key with its value. For an array, `type` is GGUF_ARRAY, `elem` the type of its elements and
 * `data` its first element; an array of arrays is refused when the file is opened. For a string,
 * `data` is its text and `size_bytes` its length. */
struct gguf_key {
    struct str name;
    enum gguf_type type, elem;
    uint64_t count;   /* elements of an array; 1 otherwise */
    const void *data; /* little-endian bytes in the mapping, unaligned */
    uint64_t size_bytes;
};

enum { GGUF_MAX_DIMS = 4 };

struct gguf_tensor {
    struct str name;
    const struct dtype *dtype;
    uint32_t n_dims;
    int64_t ne[GGUF_MAX_DIMS]; /* ne[0] is the row length; 1 beyond n_dims */
    const void *data;          /* rows, one after the other, in the mapping */
    uint64_t size_bytes;
    uint32_t part; /* which file of a split model */
};

struct gguf;

/* Opens a file, and with it the other parts of a split model (any part may be named). Errors, each
 * logged with file, offset and field: HTH_ERROR_IO (no such file, a folder, unreadable),
 * HTH_ERROR_FORMAT (not GGUF: safetensors, pickle and zip are named as such; any damage),
 * HTH_ERROR_UNSUPPORTED (big-endian, version 1 or above 3, a tensor type this build does not
 * know), HTH_ERROR_MEMORY. */
HTH_MUST_CHECK gguf_open(struct gguf **out, const char *path, const struct log *log);

/* The same from bytes in memory, which must outlive the result; `name` is used in messages. */
HTH_MUST_CHECK gguf_open_memory(struct gguf **out, const void *data, uint64_t size_bytes,
                                const char *name, const struct log *log);

/* The same where only keys and the directory of tensors are there: `data` of every tensor is NULL,
 * all else is known. For what asks how large a model is, not what is in it. */
HTH_MUST_CHECK gguf_open_directory(struct gguf **out, struct str bytes, const char *name,
                                   const struct log *log);
void gguf_close(struct gguf *gguf);

const char *gguf_path(const struct gguf *gguf);
uint32_t gguf_version(const struct gguf *gguf);
uint64_t gguf_file_bytes(const struct gguf *gguf); /* all parts together */
uint32_t gguf_alignment(const struct gguf *gguf);

/* Keys and tensors in the order of the file. */
size_t gguf_n_keys(const struct gguf *gguf);
const struct gguf_key *gguf_key_at(const struct gguf *gguf, size_t index);
size_t gguf_n_tensors(const struct gguf *gguf);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *gguf, size_t index);

/* By exact name; NULL if there is none. O(log n). */
const struct gguf_key *gguf_key_find(const struct gguf *gguf, const char *name);
const struct gguf_tensor *gguf_tensor_find(const struct gguf *gguf, const char *name);

/* Values. Each returns false, leaving *out alone, when the key is absent (NULL) or of a type that
 * does not convert without loss (any integer type converts to a wider integer if the value fits;
 * integers and F64 convert to double). `index` addresses arrays; 0 for plain values. */
bool gguf_get_u64(const struct gguf_key *key, uint64_t index, uint64_t *out);
bool gguf_get_i64(const struct gguf_key *key, uint64_t index, int64_t *out);
bool gguf_get_f64(const struct gguf_key *key, uint64_t index, double *out);
bool gguf_get_bool(const struct gguf_key *key, uint64_t index, bool *out);
bool gguf_get_str(const struct gguf_key *key, struct str *out);

/* Walks the strings of an array in order: O(1) per step. Start with a zeroed cursor. */
struct gguf_strings {
    uint64_t index;
    uint64_t offset;
};
bool gguf_next_str(const struct gguf_key *key, struct gguf_strings *cursor, struct str *out);

/* "u32", "array of string" …, for people. */
const char *gguf_type_name(enum gguf_type type);

#endif
