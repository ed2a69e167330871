#include "gguf/part.h"

static const struct {
    const char *name;
    uint8_t bytes;
} types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

const char *gguf_type_name(enum gguf_type type)
{
    return (unsigned)type < GGUF_TYPE_COUNT ? types[type].name : "unknown type";
}

uint64_t gguf_type_bytes(uint32_t type)
{
    return type < GGUF_TYPE_COUNT ? types[type].bytes : 0;
}

/* Element `index` of an array, or the plain value for index 0; NULL if there is none. */
static const unsigned char *element(const struct gguf_key *key, uint64_t index,
                                    enum gguf_type *type)
{
    if (!key || index >= key->count)
        return NULL;
    *type = key->type == GGUF_ARRAY ? key->elem : key->type;
    uint64_t bytes = gguf_type_bytes(*type);
    return bytes ? (const unsigned char *)key->data + index * bytes : NULL;
}

/* An integer as sign and 64 bits: `bits` is the value, or for negative ones its two's complement.
 */
static bool integer(const struct gguf_key *key, uint64_t index, uint64_t *bits, bool *negative)
{
    enum gguf_type type;
    const unsigned char *at = element(key, index, &type);
    if (!at || type == GGUF_F32 || type == GGUF_F64 || type == GGUF_BOOL)
        return false;
    size_t bytes = (size_t)gguf_type_bytes(type);
    bool is_signed = type == GGUF_I8 || type == GGUF_I16 || type == GGUF_I32 || type == GGUF_I64;
    *negative = is_signed && at[bytes - 1] & 0x80;
    *bits = *negative ? UINT64_MAX : 0;
    memcpy(bits, at, bytes);
    return true;
}

bool gguf_get_u64(const struct gguf_key *key, uint64_t index, uint64_t *out)
{
    uint64_t bits;
    bool negative;
    if (!integer(key, index, &bits, &negative) || negative)
        return false;
    *out = bits;
    return true;
}

bool gguf_get_i64(const struct gguf_key *key, uint64_t index, int64_t *out)
{
    uint64_t bits;
    bool negative;
    if (!integer(key, index, &bits, &negative) || (!negative && bits > INT64_MAX))
        return false;
    memcpy(out, &bits, sizeof *out);
    return true;
}

/* True when a magnitude has at most 53 bits between its first and its last one. */
static bool fits_double(uint64_t magnitude)
{
    return magnitude == 0 || magnitude >> __builtin_ctzll(magnitude) < UINT64_C(1) << 53;
}

bool gguf_get_f64(const struct gguf_key *key, uint64_t index, double *out)
{
    enum gguf_type type;
    const unsigned char *at = element(key, index, &type);
    if (at && type == GGUF_F64) {
        memcpy(out, at, sizeof *out);
        return true;
    }
    if (at && type == GGUF_F32) {
        float value;
        memcpy(&value, at, sizeof value);
        *out = value;
        return true;
    }
    uint64_t bits;
    bool negative;
    if (!integer(key, index, &bits, &negative))
        return false;
    uint64_t magnitude = negative ? 0 - bits : bits;
    if (!fits_double(magnitude))
        return false;
    *out = negative ? -(double)magnitude : (double)magnitude;
    return true;
}

bool gguf_get_bool(const struct gguf_key *key, uint64_t index, bool *out)
{
    enum gguf_type type;
    const unsigned char *at = element(key, index, &type);
    if (!at || type != GGUF_BOOL)
        return false;
    *out = *at != 0;
    return true;
}

bool gguf_get_str(const struct gguf_key *key, struct str *out)
{
    if (!key || key->type != GGUF_STRING)
        return false;
    *out = (struct str){key->data, (size_t)key->size_bytes};
    return true;
}

bool gguf_next_str(const struct gguf_key *key, struct gguf_strings *cursor, struct str *out)
{
    if (!key || key->type != GGUF_ARRAY || key->elem != GGUF_STRING || cursor->index >= key->count)
        return false;
    const char *at = (const char *)key->data + cursor->offset;
    uint64_t len;
    memcpy(&len, at, sizeof len);
    *out = (struct str){at + sizeof len, (size_t)len};
    cursor->offset += sizeof len + len;
    cursor->index++;
    return true;
}
