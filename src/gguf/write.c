#include "gguf/gguf_write.h"

#include <inttypes.h>

#include "base/arena.h"
#include "base/mem.h"
#include "gguf/part.h"

enum { VERSION = 3 };

/* A tensor begins with its description, whose first member is the name. */
struct out_tensor {
    struct gguf_tensor tensor;
    gguf_source_fn *source;
    void *user;
};

struct gguf_writer {
    const struct log *log;
    enum hth_status status; /* the first failure of a gguf_put_…; it stays */
    struct arena names;
    struct strbuf keys; /* as they will stand in the file */
    struct str *key_names;
    size_t n_keys, key_names_capacity;
    struct out_tensor *tensors;
    size_t n_tensors, tensors_capacity;
    uint32_t alignment;
    /* while saving, one of both */
    struct file_writer *file;
    struct strbuf *memory;
    uint64_t written; /* bytes so far */
};

enum hth_status gguf_writer_create(struct gguf_writer **out, const struct log *log)
{
    *out = mem_calloc(1, sizeof **out);
    if (!*out)
        return log_fail_memory(log, "a GGUF writer", sizeof **out);
    (*out)->log = log;
    (*out)->alignment = GGUF_ALIGNMENT_DEFAULT;
    return HTH_OK;
}

void gguf_writer_destroy(struct gguf_writer *writer)
{
    if (!writer)
        return;
    arena_free(&writer->names);
    strbuf_free(&writer->keys);
    mem_free(writer->key_names);
    mem_free(writer->tensors);
    mem_free(writer);
}

static void remember_no_memory(struct gguf_writer *writer, const char *what, uint64_t bytes)
{
    if (writer->status == HTH_OK)
        writer->status = log_fail_memory(writer->log, what, bytes);
}

static void remember_bad(struct gguf_writer *writer, const char *what, struct str name,
                         const char *problem)
{
    if (writer->status == HTH_OK)
        writer->status = log_fail(writer->log, HTH_ERROR_ARGUMENT, "cannot write %s %.*s: %s", what,
                                  SHOW(name), problem);
}

/* A copy of a name that can stand in a file; `ptr` NULL after a failure, which is remembered. */
static struct str copy_name(struct gguf_writer *writer, const char *what, struct str name)
{
    struct str copy = {0};
    if (writer->status != HTH_OK)
        return copy;
    if (name.len == 0 || name.len > GGUF_NAME_MAX || memchr(name.ptr, 0, name.len)) {
        remember_bad(writer, what, name, "its name must have 1 to 65535 bytes and no zero byte");
        return copy;
    }
    copy.ptr = arena_strndup(&writer->names, name.ptr, name.len);
    copy.len = name.len;
    if (!copy.ptr)
        remember_no_memory(writer, "a name", name.len);
    return copy;
}

static void append_u32(struct strbuf *out, uint32_t value)
{
    strbuf_append(out, (struct str){(const char *)&value, sizeof value});
}

static void append_u64(struct strbuf *out, uint64_t value)
{
    strbuf_append(out, (struct str){(const char *)&value, sizeof value});
}

static void append_str(struct strbuf *out, struct str value)
{
    append_u64(out, value.len);
    strbuf_append(out, value);
}

/* The alignment is a key as any other, and the writer must follow it. */
static bool follow_alignment(struct gguf_writer *writer, const struct gguf_key *key)
{
    uint64_t value;
    if (!str_equal(key->name, STR("general.alignment")))
        return true;
    if (!gguf_get_u64(key, 0, &value) || value < GGUF_ALIGNMENT_MIN || value > UINT32_MAX ||
        value & (value - 1)) {
        remember_bad(writer, "key", key->name, "it must be a power of two of at least 8");
        return false;
    }
    writer->alignment = (uint32_t)value;
    return true;
}

void gguf_put_key(struct gguf_writer *writer, const struct gguf_key *key)
{
    struct str name = copy_name(writer, "key", key->name);
    if (!name.ptr || !follow_alignment(writer, key))
        return;
    struct str *grown = mem_grow(writer->key_names, &writer->key_names_capacity, writer->n_keys + 1,
                                 sizeof *writer->key_names);
    if (!grown) {
        remember_no_memory(writer, "a list of keys", writer->n_keys * sizeof *grown);
        return;
    }
    writer->key_names = grown;
    writer->key_names[writer->n_keys++] = name;
    append_str(&writer->keys, name);
    append_u32(&writer->keys, (uint32_t)key->type);
    if (key->type == GGUF_ARRAY) {
        append_u32(&writer->keys, (uint32_t)key->elem);
        append_u64(&writer->keys, key->count);
    } else if (key->type == GGUF_STRING) {
        append_u64(&writer->keys, key->size_bytes);
    }
    strbuf_append(&writer->keys, (struct str){key->data, (size_t)key->size_bytes});
    if (writer->keys.failed)
        remember_no_memory(writer, "the keys of a GGUF file", writer->keys.len + key->size_bytes);
}

static void put_plain(struct gguf_writer *writer, const char *name, enum gguf_type type,
                      const void *data)
{
    struct gguf_key key = {.name = str_of(name), .type = type, .elem = type, .count = 1};
    key.data = data;
    key.size_bytes = gguf_type_bytes((uint32_t)type);
    gguf_put_key(writer, &key);
}

void gguf_put_u32(struct gguf_writer *writer, const char *name, uint32_t value)
{
    put_plain(writer, name, GGUF_U32, &value);
}

void gguf_put_u64(struct gguf_writer *writer, const char *name, uint64_t value)
{
    put_plain(writer, name, GGUF_U64, &value);
}

void gguf_put_i32(struct gguf_writer *writer, const char *name, int32_t value)
{
    put_plain(writer, name, GGUF_I32, &value);
}

void gguf_put_f32(struct gguf_writer *writer, const char *name, float value)
{
    put_plain(writer, name, GGUF_F32, &value);
}

void gguf_put_bool(struct gguf_writer *writer, const char *name, bool value)
{
    uint8_t byte = value;
    put_plain(writer, name, GGUF_BOOL, &byte);
}

void gguf_put_str(struct gguf_writer *writer, const char *name, struct str value)
{
    gguf_put_key(writer, &(struct gguf_key){.name = str_of(name),
                                            .type = GGUF_STRING,
                                            .elem = GGUF_STRING,
                                            .count = 1,
                                            .data = value.ptr,
                                            .size_bytes = value.len});
}

void gguf_put_array(struct gguf_writer *writer, const char *name, enum gguf_type elem,
                    const void *items, uint64_t count)
{
    uint64_t bytes = gguf_type_bytes((uint32_t)elem);
    if (bytes == 0 || !mul_u64(bytes, count, &bytes) || bytes > SIZE_MAX / 2) {
        remember_bad(writer, "key", str_of(name), "it is no array of a plain type");
        return;
    }
    gguf_put_key(writer, &(struct gguf_key){.name = str_of(name),
                                            .type = GGUF_ARRAY,
                                            .elem = elem,
                                            .count = count,
                                            .data = items,
                                            .size_bytes = bytes});
}

void gguf_put_strs(struct gguf_writer *writer, const char *name, const struct str *items,
                   uint64_t count)
{
    struct strbuf bytes = {0};
    for (uint64_t i = 0; i < count; i++)
        append_str(&bytes, items[i]);
    if (bytes.failed)
        remember_no_memory(writer, "an array of strings", bytes.len);
    else
        gguf_put_key(writer, &(struct gguf_key){.name = str_of(name),
                                                .type = GGUF_ARRAY,
                                                .elem = GGUF_STRING,
                                                .count = count,
                                                .data = bytes.ptr,
                                                .size_bytes = bytes.len});
    strbuf_free(&bytes);
}

void gguf_put_tensor(struct gguf_writer *writer, const char *name, const struct dtype *dtype,
                     uint32_t n_dims, const int64_t *ne, const void *data, gguf_source_fn *source,
                     void *user)
{
    struct out_tensor out = {.source = source, .user = user};
    out.tensor = (struct gguf_tensor){.dtype = dtype, .n_dims = n_dims, .data = data};
    out.tensor.name = copy_name(writer, "tensor", str_of(name));
    if (!out.tensor.name.ptr)
        return;
    if (n_dims < 1 || n_dims > GGUF_MAX_DIMS || (!data && !source)) {
        remember_bad(writer, "tensor", out.tensor.name,
                     "it must have 1 to 4 dimensions, and data or a source");
        return;
    }
    for (uint32_t i = 0; i < GGUF_MAX_DIMS; i++)
        out.tensor.ne[i] = i < n_dims ? ne[i] : 1;
    char problem[200];
    if (!gguf_shape_bytes(&out.tensor, problem, sizeof problem)) {
        remember_bad(writer, "tensor", out.tensor.name, problem);
        return;
    }
    struct out_tensor *grown = mem_grow(writer->tensors, &writer->tensors_capacity,
                                        writer->n_tensors + 1, sizeof *writer->tensors);
    if (!grown) {
        remember_no_memory(writer, "a list of tensors", writer->n_tensors * sizeof *grown);
        return;
    }
    writer->tensors = grown;
    writer->tensors[writer->n_tensors++] = out;
}

void gguf_emit(struct gguf_writer *writer, const void *data, size_t size_bytes)
{
    writer->written += size_bytes;
    if (writer->file)
        file_put(writer->file, data, size_bytes);
    else
        strbuf_append(writer->memory, (struct str){data, size_bytes});
}

static bool sink_failed(const struct gguf_writer *writer)
{
    return writer->file ? writer->file->failed : writer->memory->failed;
}

static void emit_zeros(struct gguf_writer *writer, uint64_t count)
{
    static const char zeros[256];
    for (; count > 0 && !sink_failed(writer); count -= count < sizeof zeros ? count : sizeof zeros)
        gguf_emit(writer, zeros, (size_t)(count < sizeof zeros ? count : sizeof zeros));
}

/* Names of one kind, each the first member of its item, must differ. */
static enum hth_status check_names(const struct gguf_writer *writer, const char *what,
                                   const void *items, size_t n, size_t item_bytes)
{
    if (n == 0)
        return HTH_OK;
    const struct str **index = mem_calloc(n, sizeof *index);
    if (!index)
        return log_fail_memory(writer->log, "an index of names", n * sizeof *index);
    const struct str *twice = gguf_index_names(index, items, n, item_bytes);
    mem_free(index);
    if (!twice)
        return HTH_OK;
    return log_fail(writer->log, HTH_ERROR_ARGUMENT, "cannot write %s %.*s: it was put twice", what,
                    SHOW(*twice));
}

/* Everything before the data: a few bytes per tensor, so it is made in memory. */
static void make_directory(const struct gguf_writer *writer, struct strbuf *out)
{
    strbuf_append(out, STR("GGUF"));
    append_u32(out, VERSION);
    append_u64(out, writer->n_tensors);
    append_u64(out, writer->n_keys);
    strbuf_append(out, strbuf_str(&writer->keys));
    uint64_t offset = 0;
    for (size_t i = 0; i < writer->n_tensors; i++) {
        const struct gguf_tensor *tensor = &writer->tensors[i].tensor;
        append_str(out, tensor->name);
        append_u32(out, tensor->n_dims);
        for (uint32_t d = 0; d < tensor->n_dims; d++)
            append_u64(out, (uint64_t)tensor->ne[d]);
        append_u32(out, tensor->dtype->gguf_id);
        append_u64(out, offset);
        offset += align_up(tensor->size_bytes, writer->alignment);
    }
}

static enum hth_status emit_tensor(struct gguf_writer *writer, const struct out_tensor *out)
{
    const struct gguf_tensor *tensor = &out->tensor;
    uint64_t start = writer->written;
    enum hth_status status = HTH_OK;
    if (tensor->data)
        gguf_emit(writer, tensor->data, (size_t)tensor->size_bytes);
    else
        status = out->source(out->user, tensor, writer);
    uint64_t given = writer->written - start;
    if (status == HTH_OK && given != tensor->size_bytes)
        status = log_fail(writer->log, HTH_ERROR_ARGUMENT,
                          "cannot write tensor %.*s: its source gave %" PRIu64
                          " bytes, and its shape needs %" PRIu64,
                          SHOW(tensor->name), given, tensor->size_bytes);
    emit_zeros(writer, align_up(given, writer->alignment) - given);
    return status;
}

static enum hth_status check_all_names(const struct gguf_writer *writer)
{
    enum hth_status status = writer->status;
    if (status == HTH_OK)
        status = check_names(writer, "key", writer->key_names, writer->n_keys,
                             sizeof *writer->key_names);
    if (status == HTH_OK)
        status = check_names(writer, "tensor", writer->tensors, writer->n_tensors,
                             sizeof *writer->tensors);
    return status;
}

static enum hth_status emit_all(struct gguf_writer *writer)
{
    enum hth_status status = check_all_names(writer);
    if (status != HTH_OK)
        return status;
    struct strbuf directory = {0};
    make_directory(writer, &directory);
    if (directory.failed) {
        status = log_fail_memory(writer->log, "the directory of a GGUF file", directory.len);
    } else {
        writer->written = 0;
        gguf_emit(writer, directory.ptr, directory.len);
        emit_zeros(writer, align_up(directory.len, writer->alignment) - directory.len);
    }
    strbuf_free(&directory);
    for (size_t i = 0; status == HTH_OK && i < writer->n_tensors && !sink_failed(writer); i++)
        status = emit_tensor(writer, &writer->tensors[i]);
    return status;
}

enum hth_status gguf_writer_save(struct gguf_writer *writer, const char *path)
{
    struct file_writer file = {0};
    if (writer->status != HTH_OK)
        return writer->status;
    enum hth_status status = file_begin(&file, path, writer->log);
    if (status != HTH_OK)
        return status;
    writer->file = &file;
    status = emit_all(writer);
    writer->file = NULL;
    if (status == HTH_OK)
        return file_commit(&file);
    file_abort(&file);
    return status;
}

enum hth_status gguf_writer_save_memory(struct gguf_writer *writer, struct strbuf *out)
{
    size_t start = out->len;
    writer->memory = out;
    enum hth_status status = emit_all(writer);
    writer->memory = NULL;
    if (status == HTH_OK && out->failed)
        status = log_fail_memory(writer->log, "a GGUF file in memory", start + writer->written);
    if (status != HTH_OK) {
        out->len = start;
        if (out->ptr)
            out->ptr[start] = '\0';
    }
    return status;
}

enum hth_status gguf_writer_save_directory(struct gguf_writer *writer, struct strbuf *out)
{
    enum hth_status status = check_all_names(writer);
    if (status == HTH_OK)
        make_directory(writer, out);
    if (status == HTH_OK && out->failed)
        status = log_fail_memory(writer->log, "the directory of a GGUF file", out->len);
    return status;
}
