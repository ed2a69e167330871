#include "gguf_mutator.h"

#include "base/mem.h"
#include "base/rng.h"
#include "gguf/gguf_write.h"

enum { MAX_NAME = 128, MAX_VALUE = 4096, FILL_BYTES = 1 << 16, MAX_ALIGNMENT = 4096 };

enum change {
    CHANGE_VALUE,  /* of a key: its bytes */
    CHANGE_NUMBER, /* of a key: one that is likely to matter */
    CHANGE_TYPE,   /* of a key or a tensor */
    CHANGE_NAME,
    CHANGE_SHAPE, /* of a tensor */
    DROP,
    REPEAT, /* under a name that differs */
    SWAP,   /* with the bytes of another tensor */
    N_CHANGES,
};

struct mutation {
    const struct gguf *gguf;
    struct gguf_writer *writer;
    struct rng rng;
    enum change change;
    size_t target; /* keys first, then tensors */
};

static const struct gguf_tensor *some_tensor(struct mutation *m)
{
    return gguf_tensor_at(m->gguf, rng_below(&m->rng, (uint32_t)gguf_n_tensors(m->gguf)));
}

/* --- names and numbers ------------------------------------------------------------------------ */

/* The name with a few bytes changed, without the zeros that no name may have; or another's. */
static struct str change_name(struct mutation *m, struct str name, char *buf)
{
    size_t n = name.len < MAX_NAME ? name.len : MAX_NAME;
    memcpy(buf, name.ptr, n);
    if (rng_below(&m->rng, 3) == 0 && n >= 6 && memcmp(buf, "blk.", 4) == 0) {
        buf[4] = (char)('0' + rng_below(&m->rng, 4));
        return (struct str){buf, n};
    }
    n = LLVMFuzzerMutate((uint8_t *)buf, n, MAX_NAME);
    for (size_t i = 0; i < n; i++)
        buf[i] = buf[i] ? buf[i] : '0';
    return (struct str){buf, n};
}

static uint64_t telling_number(struct mutation *m)
{
    static const uint64_t values[] = {0,          1,          2,          3,          4,
                                      7,          16,         32,         33,         255,
                                      1024,       4096,       1u << 22,   1u << 30,   0x7fffffff,
                                      0x80000000, 0xffffffff, 1ull << 32, 1ull << 61, UINT64_MAX};
    return values[rng_below(&m->rng, ARRAY_LEN(values))] - (rng_below(&m->rng, 4) == 0);
}

static double telling_float(struct mutation *m)
{
    static const double values[] = {0, -0.0, 1, -1, 0.5, 1e-45, 1e-6, 1e6, 1e30, 3.4e38, 1e39};
    uint32_t at = rng_below(&m->rng, ARRAY_LEN(values) + 2);
    return at < ARRAY_LEN(values) ? values[at] : at == ARRAY_LEN(values) ? 0.0 / 0.0 : 1.0 / 0.0;
}

/* --- keys ------------------------------------------------------------------------------------- */

static void put_number(struct mutation *m, struct gguf_key *key, uint8_t *bytes)
{
    uint64_t number = telling_number(m);
    float single = (float)telling_float(m);
    double wide = telling_float(m);
    size_t width = (size_t)key->size_bytes < 8 ? (size_t)key->size_bytes : 8;
    if (key->elem == GGUF_F32)
        memcpy(bytes, &single, width < 4 ? width : 4);
    else if (key->elem == GGUF_F64)
        memcpy(bytes, &wide, width);
    else if (key->elem == GGUF_BOOL)
        bytes[0] = number & 1;
    else if (key->type != GGUF_STRING && key->elem != GGUF_STRING)
        memcpy(bytes, &number, width);
}

/* Another type of number that the same bytes, cut or filled with zeros, can stand for. */
static void retype(struct mutation *m, struct gguf_key *key)
{
    static const struct {
        enum gguf_type type;
        unsigned bytes;
    } plain[] = {{GGUF_U8, 1},  {GGUF_I8, 1},  {GGUF_U16, 2}, {GGUF_I16, 2},
                 {GGUF_U32, 4}, {GGUF_I32, 4}, {GGUF_F32, 4}, {GGUF_U64, 8},
                 {GGUF_I64, 8}, {GGUF_F64, 8}, {GGUF_BOOL, 1}};
    size_t at = rng_below(&m->rng, ARRAY_LEN(plain));
    key->type = rng_below(&m->rng, 4) ? plain[at].type : GGUF_ARRAY;
    key->elem = plain[at].type;
    key->count = key->type == GGUF_ARRAY ? key->size_bytes / plain[at].bytes : 1;
    key->size_bytes = key->count * plain[at].bytes;
}

/* A file padded to the next gigabyte teaches nothing. */
static bool pads_much(const struct gguf_key *key)
{
    uint64_t alignment = 0;
    return str_equal(key->name, STR("general.alignment")) && gguf_get_u64(key, 0, &alignment) &&
           alignment > MAX_ALIGNMENT;
}

static void change_key(struct mutation *m, const struct gguf_key *original)
{
    static uint8_t bytes[MAX_VALUE + 8];
    static char name[MAX_NAME];
    struct gguf_key key = *original;
    if (key.size_bytes <= MAX_VALUE) {
        memset(bytes, 0, sizeof bytes);
        memcpy(bytes, key.data, (size_t)key.size_bytes);
        key.data = bytes;
        if (m->change == CHANGE_NUMBER)
            put_number(m, &key, bytes);
        else if (m->change == CHANGE_TYPE)
            retype(m, &key);
        else if (m->change == CHANGE_VALUE && key.type == GGUF_STRING)
            key.size_bytes = LLVMFuzzerMutate(bytes, (size_t)key.size_bytes, MAX_VALUE);
        else if (m->change == CHANGE_VALUE && key.elem != GGUF_STRING && key.size_bytes > 0)
            LLVMFuzzerMutate(bytes, (size_t)key.size_bytes, (size_t)key.size_bytes);
    }
    if (m->change == REPEAT)
        gguf_put_key(m->writer, original);
    if (m->change == CHANGE_NAME || m->change == REPEAT)
        key.name = change_name(m, key.name, name);
    if (m->change != DROP && !pads_much(&key))
        gguf_put_key(m->writer, &key);
}

/* --- tensors ---------------------------------------------------------------------------------- */

/* The tensor's old bytes again and again, changed somewhere. */
static enum hth_status emit(void *user, const struct gguf_tensor *tensor,
                            struct gguf_writer *writer)
{
    const struct gguf_tensor *old = user;
    static uint8_t fill[FILL_BYTES];
    size_t n = old->size_bytes < sizeof fill ? (size_t)old->size_bytes : sizeof fill;
    memcpy(fill, old->data, n);
    n = LLVMFuzzerMutate(fill, n, n);
    n = n ? n : 1;
    for (uint64_t left = tensor->size_bytes, piece; left > 0; left -= piece) {
        piece = left < n ? left : n;
        gguf_emit(writer, fill, (size_t)piece);
    }
    return HTH_OK;
}

static void change_shape(struct mutation *m, struct gguf_tensor *tensor)
{
    uint32_t d = rng_below(&m->rng, tensor->n_dims);
    switch (rng_below(&m->rng, 4)) {
    case 0: tensor->ne[d] = (int64_t)(telling_number(m) & INT64_MAX); break;
    case 1: tensor->ne[d] += (int64_t)rng_below(&m->rng, 3) - 1; break;
    case 2: { /* the same number of elements */
        int64_t first = tensor->ne[0];
        tensor->ne[0] = tensor->ne[d];
        tensor->ne[d] = first;
        break;
    }
    default: tensor->n_dims = 1 + rng_below(&m->rng, GGUF_MAX_DIMS);
    }
}

static void change_tensor(struct mutation *m, const struct gguf_tensor *original, size_t room)
{
    static char text[MAX_NAME + 1];
    struct gguf_tensor tensor = *original;
    const struct gguf_tensor *bytes = original;
    struct str name = tensor.name;
    char changed[MAX_NAME];
    if (m->change == CHANGE_SHAPE)
        change_shape(m, &tensor);
    else if (m->change == SWAP)
        bytes = some_tensor(m);
    else if (m->change == CHANGE_TYPE) {
        size_t n = 0;
        while (dtype_at(n))
            n++;
        tensor.dtype = dtype_at(rng_below(&m->rng, (uint32_t)n));
    } else if (m->change == CHANGE_NAME || m->change == REPEAT) {
        name = change_name(m, name, changed);
    }
    uint64_t bytes_now = dtype_row_bytes(tensor.dtype, (uint64_t)tensor.ne[0]);
    for (uint32_t d = 1; d < tensor.n_dims; d++)
        if (!mul_u64(bytes_now, (uint64_t)tensor.ne[d], &bytes_now))
            bytes_now = UINT64_MAX;
    if (bytes_now > room || name.len == 0 || name.len > MAX_NAME)
        return;
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    if (m->change != DROP)
        gguf_put_tensor(m->writer, text, tensor.dtype, tensor.n_dims, tensor.ne, NULL, emit,
                        (void *)(uintptr_t)bytes);
}

/* --- the whole -------------------------------------------------------------------------------- */

static void put_tensor(struct mutation *m, const struct gguf_tensor *tensor)
{
    char name[MAX_NAME + 1];
    size_t n = tensor->name.len < MAX_NAME ? tensor->name.len : MAX_NAME;
    memcpy(name, tensor->name.ptr, n);
    name[n] = '\0';
    gguf_put_tensor(m->writer, name, tensor->dtype, tensor->n_dims, tensor->ne, tensor->data, NULL,
                    NULL);
}

static void put_all(struct mutation *m, size_t room)
{
    size_t n_keys = gguf_n_keys(m->gguf), n_tensors = gguf_n_tensors(m->gguf);
    for (size_t i = 0; i < n_keys; i++) {
        if (i == m->target)
            change_key(m, gguf_key_at(m->gguf, i));
        else
            gguf_put_key(m->writer, gguf_key_at(m->gguf, i));
    }
    for (size_t i = 0; i < n_tensors; i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(m->gguf, i);
        if (n_keys + i != m->target || m->change == REPEAT)
            put_tensor(m, tensor);
        if (n_keys + i == m->target)
            change_tensor(m, tensor, room);
    }
}

/* 0: what came of it is no file, or too large. */
static size_t change_file(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    struct mutation m = {.rng = rng_seed(seed)};
    struct gguf *gguf;
    struct strbuf out = {0};
    size_t written = 0;
    if (gguf_open_memory(&gguf, data, size, "fuzz", NULL) != HTH_OK)
        return 0;
    m.gguf = gguf;
    size_t n_keys = gguf_n_keys(gguf), n_tensors = gguf_n_tensors(gguf);
    m.change = (enum change)rng_below(&m.rng, N_CHANGES);
    bool of_key = m.change == CHANGE_NUMBER || n_tensors == 0 ||
                  (m.change < CHANGE_SHAPE && rng_below(&m.rng, 2));
    if (of_key && n_keys)
        m.target = rng_below(&m.rng, (uint32_t)n_keys);
    else
        m.target = n_keys + (n_tensors ? rng_below(&m.rng, (uint32_t)n_tensors) : 0);
    if (gguf_alignment(gguf) <= MAX_ALIGNMENT && gguf_writer_create(&m.writer, NULL) == HTH_OK) {
        put_all(&m, max_size);
        if (gguf_writer_save_memory(m.writer, &out) == HTH_OK && out.len <= max_size) {
            memcpy(data, out.ptr, out.len);
            written = out.len;
        }
    }
    strbuf_free(&out);
    gguf_writer_destroy(m.writer);
    gguf_close(gguf);
    return written;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size_t changed = seed % 5 ? change_file(data, size, max_size, seed) : 0;
    return changed ? changed : LLVMFuzzerMutate(data, size, max_size);
}
