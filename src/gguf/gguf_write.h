/*
 * gguf_write.h — writing GGUF version 3 files, for tests and tools.
 *
 * Owns the list of keys and tensors until the file is written. Tensor bytes are asked for one
 * tensor at a time, so that a model larger than memory can be written. The file appears under its
 * name only when it is whole. One thread at a time.
 */
#ifndef GGUF_GGUF_WRITE_H
#define GGUF_GGUF_WRITE_H

#include "base/file.h"
#include "gguf/gguf.h"

struct gguf_writer;

/* A writer with alignment 32 and no keys. */
HTH_MUST_CHECK gguf_writer_create(struct gguf_writer **out, const struct log *log);
void gguf_writer_destroy(struct gguf_writer *writer);

/* Keys, in the order of the calls; names must be new. When memory runs out, or what is
 * put could not be read again, the writer says so, remembers it, and `gguf_writer_save` fails.
 * "general.alignment" sets the writer's own alignment. Strings and arrays are copied. */
void gguf_put_u32(struct gguf_writer *writer, const char *name, uint32_t value);
void gguf_put_u64(struct gguf_writer *writer, const char *name, uint64_t value);
void gguf_put_i32(struct gguf_writer *writer, const char *name, int32_t value);
void gguf_put_f32(struct gguf_writer *writer, const char *name, float value);
void gguf_put_bool(struct gguf_writer *writer, const char *name, bool value);
void gguf_put_str(struct gguf_writer *writer, const char *name, struct str value);
void gguf_put_array(struct gguf_writer *writer, const char *name, enum gguf_type elem,
                    const void *items, uint64_t count); /* plain types, native byte order */
void gguf_put_strs(struct gguf_writer *writer, const char *name, const struct str *items,
                   uint64_t count);
/* Copies a key of an open file as it is. */
void gguf_put_key(struct gguf_writer *writer, const struct gguf_key *key);

/* Appends the tensor's bytes to `out` piece by piece with `gguf_emit`. */
typedef enum hth_status gguf_source_fn(void *user, const struct gguf_tensor *tensor,
                                       struct gguf_writer *writer);

/* Adds a tensor; `data` may be NULL if `source` makes the bytes when the file is written. `data`
 * and `user` are borrowed until then. */
void gguf_put_tensor(struct gguf_writer *writer, const char *name, const struct dtype *dtype,
                     uint32_t n_dims, const int64_t *ne, const void *data, gguf_source_fn *source,
                     void *user);

/* Called by a source: the next bytes of its tensor. */
void gguf_emit(struct gguf_writer *writer, const void *data, size_t size_bytes);

/* Writes everything to `path`. Errors: HTH_ERROR_IO (disk full …), HTH_ERROR_MEMORY,
 * HTH_ERROR_ARGUMENT (something that was put is wrong), a source's. */
HTH_MUST_CHECK gguf_writer_save(struct gguf_writer *writer, const char *path);

/* The same into memory (tests, models made on the fly): appends to `out`. */
HTH_MUST_CHECK gguf_writer_save_memory(struct gguf_writer *writer, struct strbuf *out);

/* Everything but the tensors' bytes, for gguf_open_directory: no source is asked. */
HTH_MUST_CHECK gguf_writer_save_directory(struct gguf_writer *writer, struct strbuf *out);

#endif
