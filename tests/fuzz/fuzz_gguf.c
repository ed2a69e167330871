/* The GGUF reader on any bytes: what it opens can be read to the end. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "fuzz_log.h"
#include "gguf/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sink;

static void read_key(const struct gguf_key *key)
{
    struct gguf_strings cursor = {0};
    struct str text = {0};
    uint64_t u = 0, last = key->count - 1;
    int64_t i = 0;
    double f = 0;
    bool b = false;
    for (uint64_t at = 0; at < key->count; at = at < last ? last : at + 1) {
        sink += gguf_get_u64(key, at, &u) + gguf_get_i64(key, at, &i);
        sink += gguf_get_f64(key, at, &f) + gguf_get_bool(key, at, &b);
    }
    if (gguf_get_u64(key, key->count, &u) || key->name.len == 0)
        abort();
    if (gguf_get_str(key, &text) && text.len)
        sink += (unsigned char)text.ptr[text.len - 1];
    uint64_t n = 0;
    for (; gguf_next_str(key, &cursor, &text); n++)
        sink += text.len ? (unsigned char)text.ptr[text.len - 1] : 0;
    if (key->type == GGUF_ARRAY && key->elem == GGUF_STRING && n != key->count)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *gguf;
    if (fuzz_log_check(gguf_open_memory(&gguf, data, size, "fuzz", fuzz_log())) != HTH_OK)
        return 0;
    for (size_t k = 0; k < gguf_n_keys(gguf); k++)
        read_key(gguf_key_at(gguf, k));
    for (size_t t = 0; t < gguf_n_tensors(gguf); t++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(gguf, t);
        const unsigned char *bytes = tensor->data;
        sink += (unsigned)bytes[0] + bytes[tensor->size_bytes - 1];
    }
    gguf_close(gguf);
    return 0;
}
