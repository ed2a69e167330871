#include "gguf/part.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

/* The smallest a key (name of 1 byte, value of 1 byte) and a tensor (name of 1 byte, 1 dimension)
 * can be: what bounds their counts by the size of the file. */
enum { KEY_MIN_BYTES = 8 + 1 + 4 + 1, TENSOR_MIN_BYTES = 8 + 1 + 4 + 8 + 4 + 8 };

/* A place in the file, and what is being read there, for messages. */
struct cursor {
    struct gguf_part *part;
    const struct log *log;
    uint64_t pos;
    const char *kind; /* "header", "key" or "tensor" */
    uint64_t index;   /* which of them */
    struct str name;  /* its name, once known */
};

enum hth_status gguf_damaged(const struct gguf_part *part, uint64_t offset, const struct log *log,
                             const char *fmt, ...)
{
    char what[512] = "";
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return log_fail(log, HTH_ERROR_FORMAT,
                    "%s: damaged at byte %" PRIu64 ": %s; download the file again", part->path,
                    offset, what);
}

uint64_t gguf_offset_of(const struct gguf_part *part, const void *data)
{
    return (uint64_t)((const unsigned char *)data - part->data);
}

static enum hth_status damaged(const struct cursor *cur, uint64_t offset, const char *fmt, ...)
    ATTR_PRINTF(3, 4);

static enum hth_status damaged(const struct cursor *cur, uint64_t offset, const char *fmt, ...)
{
    char what[300] = "", number[32] = "";
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    if (cur->name.len)
        return gguf_damaged(cur->part, offset, cur->log, "%s %.*s: %s", cur->kind, SHOW(cur->name),
                            what);
    if (strcmp(cur->kind, "header") != 0)
        snprintf(number, sizeof number, " number %" PRIu64, cur->index);
    return gguf_damaged(cur->part, offset, cur->log, "%s%s: %s", cur->kind, number, what);
}

static enum hth_status take(struct cursor *cur, uint64_t size_bytes, const char *field,
                            const unsigned char **out)
{
    uint64_t left = cur->part->size_bytes - cur->pos;
    if (size_bytes > left)
        return damaged(cur, cur->pos,
                       "%s needs %" PRIu64 " bytes, and the file ends after %" PRIu64, field,
                       size_bytes, left);
    *out = cur->part->data + cur->pos;
    cur->pos += size_bytes;
    return HTH_OK;
}

static enum hth_status take_u32(struct cursor *cur, const char *field, uint32_t *out)
{
    const unsigned char *at = NULL;
    enum hth_status status = take(cur, sizeof *out, field, &at);
    if (status == HTH_OK)
        memcpy(out, at, sizeof *out);
    return status;
}

static enum hth_status take_u64(struct cursor *cur, const char *field, uint64_t *out)
{
    const unsigned char *at = NULL;
    enum hth_status status = take(cur, sizeof *out, field, &at);
    if (status == HTH_OK)
        memcpy(out, at, sizeof *out);
    return status;
}

/* The name that begins a key or a tensor. */
static enum hth_status take_name(struct cursor *cur, struct str *out)
{
    uint64_t at = cur->pos, len;
    const unsigned char *bytes = NULL;
    cur->name = (struct str){0};
    enum hth_status status = take_u64(cur, "the length of its name", &len);
    if (status != HTH_OK)
        return status;
    if (len == 0 || len > GGUF_NAME_MAX)
        return damaged(cur, at, "its name has %" PRIu64 " bytes, and must have 1 to %d", len,
                       GGUF_NAME_MAX);
    status = take(cur, len, "its name", &bytes);
    if (status != HTH_OK)
        return status;
    if (memchr(bytes, 0, (size_t)len))
        return damaged(cur, at, "its name contains a zero byte");
    *out = cur->name = (struct str){(const char *)bytes, (size_t)len};
    return HTH_OK;
}

static enum hth_status take_header(struct cursor *cur, uint64_t *n_tensors, uint64_t *n_keys)
{
    struct gguf_part *part = cur->part;
    if (part->size_bytes == 0 ||
        memcmp(part->data, "GGUF", (size_t)(part->size_bytes < 4 ? part->size_bytes : 4)) != 0)
        return gguf_fail_other_format(part, cur->log);
    const unsigned char *magic;
    enum hth_status status = take(cur, 4, "the magic", &magic);
    if (status == HTH_OK)
        status = take_u32(cur, "the version", &part->version);
    if (status != HTH_OK)
        return status;
    uint32_t version = part->version, swapped = __builtin_bswap32(version);
    if (version > 0xffff && swapped >= 1 && swapped <= 0xffff)
        return log_fail(cur->log, HTH_ERROR_UNSUPPORTED,
                        "%s: is a big-endian GGUF file; use the little-endian one", part->path);
    if (version < 2 || version > 3)
        return log_fail(cur->log, HTH_ERROR_UNSUPPORTED,
                        "%s: is GGUF version %" PRIu32 ", and this build reads 2 and 3; %s",
                        part->path, version,
                        version < 2 ? "download a newer file" : "update hearth");
    status = take_u64(cur, "the number of tensors", n_tensors);
    if (status == HTH_OK)
        status = take_u64(cur, "the number of keys", n_keys);
    if (status != HTH_OK)
        return status;
    uint64_t left = part->size_bytes - cur->pos;
    if (*n_keys > left / KEY_MIN_BYTES)
        return damaged(cur, 16, "%" PRIu64 " keys do not fit into the file's %" PRIu64 " bytes",
                       *n_keys, part->size_bytes);
    if (*n_tensors > left / TENSOR_MIN_BYTES)
        return damaged(cur, 8, "%" PRIu64 " tensors do not fit into the file's %" PRIu64 " bytes",
                       *n_tensors, part->size_bytes);
    return HTH_OK;
}

/* Walks the strings of an array, so that gguf_next_str can trust their lengths. */
static enum hth_status take_strings(struct cursor *cur, uint64_t count)
{
    const uint64_t size_bytes = cur->part->size_bytes;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = cur->pos, len;
        if (size_bytes - at < sizeof len)
            return damaged(cur, at, "the file ends at string %" PRIu64 " of %" PRIu64, i, count);
        memcpy(&len, cur->part->data + at, sizeof len);
        if (len > size_bytes - at - sizeof len)
            return damaged(cur, at,
                           "string %" PRIu64 " of %" PRIu64 " needs %" PRIu64
                           " bytes, and the file ends after %" PRIu64,
                           i, count, len, size_bytes - at - sizeof len);
        cur->pos += sizeof len + len;
    }
    return HTH_OK;
}

static enum hth_status take_array(struct cursor *cur, struct gguf_key *key)
{
    uint64_t at = cur->pos;
    uint32_t elem;
    enum hth_status status = take_u32(cur, "the type of its elements", &elem);
    if (status == HTH_OK)
        status = take_u64(cur, "the number of its elements", &key->count);
    if (status != HTH_OK)
        return status;
    if (elem == GGUF_ARRAY)
        return damaged(cur, at, "is an array of arrays, which the format's readers do not allow");
    if (elem >= GGUF_TYPE_COUNT)
        return damaged(cur, at, "is an array of type %" PRIu32 ", which does not exist", elem);
    key->elem = (enum gguf_type)elem;
    key->data = cur->part->data + cur->pos;
    uint64_t start = cur->pos, left = cur->part->size_bytes - cur->pos;
    uint64_t bytes = elem == GGUF_STRING ? sizeof(uint64_t) : gguf_type_bytes(elem);
    if (key->count > left / bytes)
        return damaged(cur, at + 4,
                       "its %" PRIu64 " elements do not fit into the %" PRIu64
                       " bytes left of the file",
                       key->count, left);
    if (elem == GGUF_STRING)
        status = take_strings(cur, key->count);
    else
        cur->pos += key->count * bytes;
    key->size_bytes = cur->pos - start;
    return status;
}

/* The specification allows 0 and 1 only. */
static enum hth_status check_bools(const struct cursor *cur, const struct gguf_key *key)
{
    const unsigned char *at = key->data;
    for (uint64_t i = 0; i < key->count; i++)
        if (at[i] > 1)
            return damaged(cur, gguf_offset_of(cur->part, at + i), "a bool is %d, neither 0 nor 1",
                           at[i]);
    return HTH_OK;
}

static enum hth_status take_key(struct cursor *cur, struct gguf_key *key)
{
    enum hth_status status = take_name(cur, &key->name);
    uint64_t at = cur->pos;
    uint32_t type;
    if (status == HTH_OK)
        status = take_u32(cur, "its type", &type);
    if (status != HTH_OK)
        return status;
    if (type >= GGUF_TYPE_COUNT)
        return damaged(cur, at, "has a value of type %" PRIu32 ", which does not exist", type);
    key->type = key->elem = (enum gguf_type)type;
    key->count = 1;
    const unsigned char *data = NULL;
    if (type == GGUF_ARRAY)
        status = take_array(cur, key);
    else if (type == GGUF_STRING)
        status = take_u64(cur, "the length of its text", &key->size_bytes);
    else
        key->size_bytes = gguf_type_bytes(type);
    if (status == HTH_OK && type != GGUF_ARRAY) {
        status = take(cur, key->size_bytes, "its value", &data);
        key->data = data;
    }
    if (status == HTH_OK && key->elem == GGUF_BOOL)
        status = check_bools(cur, key);
    return status;
}

static enum hth_status take_keys(struct cursor *cur, uint64_t n_keys)
{
    struct gguf_part *part = cur->part;
    if (n_keys == 0)
        return HTH_OK;
    part->keys = mem_calloc((size_t)n_keys, sizeof *part->keys);
    part->key_index = mem_calloc((size_t)n_keys, sizeof *part->key_index);
    if (!part->keys || !part->key_index)
        return log_fail_memory(cur->log, part->path, n_keys * sizeof *part->keys);
    cur->kind = "key";
    for (uint64_t i = 0; i < n_keys; i++) {
        cur->index = i;
        enum hth_status status = take_key(cur, &part->keys[i]);
        if (status != HTH_OK)
            return status;
    }
    part->n_keys = (size_t)n_keys;
    const struct str *twice =
        gguf_index_names(part->key_index, part->keys, part->n_keys, sizeof *part->keys);
    if (twice)
        return gguf_damaged(part, gguf_offset_of(part, twice->ptr), cur->log,
                            "key %.*s appears twice", SHOW(*twice));
    return HTH_OK;
}

const struct gguf_key *gguf_part_key(const struct gguf_part *part, const char *name)
{
    /* the name is the first member of a key */
    return (const struct gguf_key *)(const void *)gguf_index_find(part->key_index, part->n_keys,
                                                                  name);
}

static enum hth_status read_alignment(struct gguf_part *part, const struct log *log)
{
    const struct gguf_key *key = gguf_part_key(part, "general.alignment");
    uint64_t alignment = GGUF_ALIGNMENT_DEFAULT;
    if (key && !gguf_get_u64(key, 0, &alignment))
        return gguf_damaged(part, gguf_offset_of(part, key->data), log,
                            "key general.alignment: is %s, and must be an unsigned integer",
                            gguf_type_name(key->type));
    if (alignment < GGUF_ALIGNMENT_MIN || alignment > UINT32_MAX || alignment & (alignment - 1))
        return gguf_damaged(part, gguf_offset_of(part, key->data), log,
                            "key general.alignment: is %" PRIu64
                            ", and must be a power of two of at least %d",
                            alignment, GGUF_ALIGNMENT_MIN);
    part->alignment = (uint32_t)alignment;
    return HTH_OK;
}

bool gguf_shape_bytes(struct gguf_tensor *tensor, char *problem, size_t problem_bytes)
{
    for (uint32_t i = 0; i < tensor->n_dims; i++)
        if (tensor->ne[i] <= 0) {
            snprintf(problem, problem_bytes, "dimension %" PRIu32 " of %" PRIu32 " is %" PRId64,
                     i + 1, tensor->n_dims, tensor->ne[i]);
            return false;
        }
    const struct dtype *dtype = tensor->dtype;
    if (tensor->ne[0] % dtype->block_elems != 0) {
        snprintf(problem, problem_bytes,
                 "row length %" PRId64 " is no multiple of the %" PRIu32 " elements of a %s block",
                 tensor->ne[0], dtype->block_elems, dtype->name);
        return false;
    }
    uint64_t elements = (uint64_t)tensor->ne[0];
    uint64_t bytes = elements / dtype->block_elems;
    bool fits = mul_u64(bytes, dtype->block_bytes, &bytes);
    for (uint32_t i = 1; i < GGUF_MAX_DIMS; i++)
        fits = fits && mul_u64(bytes, (uint64_t)tensor->ne[i], &bytes) &&
               mul_u64(elements, (uint64_t)tensor->ne[i], &elements);
    if (!fits || elements > INT64_MAX || bytes > INT64_MAX) {
        snprintf(problem, problem_bytes, "its dimensions make more than 2^63 elements or bytes");
        return false;
    }
    tensor->size_bytes = bytes;
    return true;
}

/* One entry of the tensor directory; where its bytes are is known only after the last entry, see
 * place_tensor. */
static enum hth_status take_tensor(struct cursor *cur, struct gguf_tensor *tensor)
{
    enum hth_status status = take_name(cur, &tensor->name);
    uint64_t at = cur->pos;
    if (status == HTH_OK)
        status = take_u32(cur, "the number of its dimensions", &tensor->n_dims);
    if (status != HTH_OK)
        return status;
    if (tensor->n_dims < 1 || tensor->n_dims > GGUF_MAX_DIMS)
        return damaged(cur, at, "has %" PRIu32 " dimensions, and must have 1 to %d", tensor->n_dims,
                       GGUF_MAX_DIMS);
    at = cur->pos;
    for (uint32_t i = 0; i < GGUF_MAX_DIMS; i++) {
        uint64_t ne = 1;
        if (i < tensor->n_dims)
            status = take_u64(cur, "one of its dimensions", &ne);
        if (status != HTH_OK)
            return status;
        memcpy(&tensor->ne[i], &ne, sizeof ne);
    }
    uint64_t type_at = cur->pos, offset;
    uint32_t type;
    status = take_u32(cur, "its type", &type);
    if (status == HTH_OK)
        status = take_u64(cur, "its offset", &offset);
    if (status != HTH_OK)
        return status;
    tensor->dtype = dtype_by_id(type);
    if (!tensor->dtype)
        return log_fail(
            cur->log, HTH_ERROR_UNSUPPORTED,
            "%s: tensor %.*s has type number %" PRIu32 " (at byte %" PRIu64
            "), which this build of hearth does not know; use a file in another format, "
            "as Q4_K or Q8_0",
            cur->part->path, SHOW(tensor->name), type, type_at);
    char problem[200];
    if (!gguf_shape_bytes(tensor, problem, sizeof problem))
        return damaged(cur, at, "%s", problem);
    return HTH_OK;
}

/* Reads the offset again, from the end of the tensor's directory entry, and points into the data.
 */
static enum hth_status place_tensor(struct cursor *cur, struct gguf_tensor *tensor, uint64_t start)
{
    const struct gguf_part *part = cur->part;
    const char *entry = tensor->name.ptr + tensor->name.len;
    const void *field = entry + 4 + 8 * (size_t)tensor->n_dims + 4;
    uint64_t offset, from, to, at = gguf_offset_of(part, field);
    memcpy(&offset, field, sizeof offset);
    cur->name = tensor->name;
    if (offset % part->alignment != 0)
        return damaged(cur, at, "its offset %" PRIu64 " is no multiple of the alignment %" PRIu32,
                       offset, part->alignment);
    if (part->no_data)
        return HTH_OK;
    if (!add_u64(start, offset, &from) || !add_u64(from, tensor->size_bytes, &to) ||
        to > part->size_bytes)
        return damaged(cur, at,
                       "its %" PRIu64 " bytes at offset %" PRIu64
                       " reach beyond the end of the file, which has %" PRIu64
                       " bytes (the data begins at %" PRIu64 ")",
                       tensor->size_bytes, offset, part->size_bytes, start);
    tensor->data = part->data + from;
    return HTH_OK;
}

static int by_data(const void *a, const void *b)
{
    const struct gguf_tensor *x = *(const struct gguf_tensor *const *)a;
    const struct gguf_tensor *y = *(const struct gguf_tensor *const *)b;
    return x->data != y->data ? (x->data > y->data) - (x->data < y->data) : (x > y) - (x < y);
}

static enum hth_status check_overlaps(const struct gguf_part *part, const struct log *log)
{
    const struct gguf_tensor **order = mem_calloc(part->n_tensors, sizeof(struct gguf_tensor *));
    if (!order)
        return log_fail_memory(log, part->path, part->n_tensors * sizeof *order);
    for (size_t i = 0; i < part->n_tensors; i++)
        order[i] = &part->tensors[i];
    qsort(order, part->n_tensors, sizeof *order, by_data);
    enum hth_status status = HTH_OK;
    for (size_t i = 1; i < part->n_tensors && status == HTH_OK; i++) {
        const struct gguf_tensor *a = order[i - 1], *b = order[i];
        if ((const char *)a->data + a->size_bytes > (const char *)b->data)
            status = gguf_damaged(part, gguf_offset_of(part, b->name.ptr), log,
                                  "tensors %.*s and %.*s overlap at byte %" PRIu64, SHOW(a->name),
                                  SHOW(b->name), gguf_offset_of(part, b->data));
    }
    mem_free(order);
    return status;
}

static enum hth_status take_tensors(struct cursor *cur, uint64_t n_tensors)
{
    struct gguf_part *part = cur->part;
    if (n_tensors == 0)
        return HTH_OK;
    part->tensors = mem_calloc((size_t)n_tensors, sizeof *part->tensors);
    if (!part->tensors)
        return log_fail_memory(cur->log, part->path, n_tensors * sizeof *part->tensors);
    part->n_tensors = (size_t)n_tensors;
    cur->kind = "tensor";
    for (uint64_t i = 0; i < n_tensors; i++) {
        cur->index = i;
        enum hth_status status = take_tensor(cur, &part->tensors[i]);
        if (status != HTH_OK)
            return status;
    }
    uint64_t start = align_up(cur->pos, part->alignment);
    for (uint64_t i = 0; i < n_tensors; i++) {
        enum hth_status status = place_tensor(cur, &part->tensors[i], start);
        if (status != HTH_OK)
            return status;
    }
    return part->no_data ? HTH_OK : check_overlaps(part, cur->log);
}

enum hth_status gguf_part_parse(struct gguf_part *part, const struct log *log)
{
    struct cursor cur = {.part = part, .log = log, .kind = "header"};
    uint64_t n_tensors = 0, n_keys = 0;
    enum hth_status status = take_header(&cur, &n_tensors, &n_keys);
    if (status == HTH_OK)
        status = take_keys(&cur, n_keys);
    if (status == HTH_OK)
        status = read_alignment(part, log);
    if (status == HTH_OK)
        status = take_tensors(&cur, n_tensors);
    return status;
}

void gguf_part_free(struct gguf_part *part)
{
    os_unmap(&part->mapping);
    mem_free(part->path);
    mem_free(part->keys);
    mem_free(part->key_index);
    mem_free(part->tensors);
    *part = (struct gguf_part){0};
}
