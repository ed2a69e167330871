#include "text/tokenizer_charsmap.h"

static uint32_t read_u32(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* Every text must end, and none be long. */
static bool check_texts(struct str texts)
{
    size_t begin = 0;
    for (size_t at = 0; at < texts.len; at++) {
        if (texts.ptr[at] != '\0' && at - begin >= CHARSMAP_MAX_TEXT)
            return false;
        if (texts.ptr[at] == '\0')
            begin = at + 1;
    }
    return begin == texts.len;
}

enum hth_status charsmap_load(struct charsmap *map, const struct gguf *gguf, const struct log *log)
{
    static const char name[] = "tokenizer.ggml.precompiled_charsmap";
    *map = (struct charsmap){0};
    const struct gguf_key *key = gguf_key_find(gguf, name);
    if (!key)
        return HTH_OK;
    if (key->type != GGUF_ARRAY || (key->elem != GGUF_U8 && key->elem != GGUF_I8))
        return log_fail(log, HTH_ERROR_FORMAT,
                        "%s: %s must be an array of bytes; convert or download the model again",
                        gguf_path(gguf), name);
    if (key->count == 0)
        return HTH_OK;
    const uint8_t *bytes = key->data;
    uint32_t size = key->count < 4 ? 0 : read_u32(bytes);
    if (key->count < 4 || size > key->count - 4 || size % 4 != 0)
        return log_fail(
            log, HTH_ERROR_FORMAT,
            "%s: %s has %llu bytes and says that its trie takes %lu of them; convert or "
            "download the model again",
            gguf_path(gguf), name, (unsigned long long)key->count, (unsigned long)size);
    struct str texts = {(const char *)bytes + 4 + size, (size_t)key->count - 4 - size};
    if (!check_texts(texts))
        return log_fail(log, HTH_ERROR_FORMAT,
                        "%s: %s holds a text of more than %d bytes or without an end; convert or "
                        "download the model again",
                        gguf_path(gguf), name, (int)CHARSMAP_MAX_TEXT);
    *map = (struct charsmap){bytes + 4, size / 4, texts};
    return HTH_OK;
}

/* A unit of the array: bits 0–7 the label that leads to it (with bit 31, which labels of children
 * never have), bit 8 whether a text ends here, bit 9 whether the offset counts in units of 256,
 * bits 10–30 the offset, by exclusive or, to its children. A leaf holds the place of what is
 * written in bits 0–30. */
static uint32_t label_of(uint32_t unit)
{
    return unit & 0x800000ffu;
}

static bool ends_text(uint32_t unit)
{
    return unit >> 8 & 1;
}

static uint32_t offset_of(uint32_t unit)
{
    return (unit >> 10) << ((unit & 0x200u) >> 6);
}

static bool unit_at(const struct charsmap *map, uint32_t index, uint32_t *unit)
{
    if (index >= map->n_units)
        return false;
    *unit = read_u32(map->units + (size_t)index * 4);
    return true;
}

size_t charsmap_match(const struct charsmap *map, struct str text, struct str *written)
{
    uint32_t unit, leaf, index = 0;
    size_t best = 0;
    if (!unit_at(map, 0, &unit))
        return 0;
    index ^= offset_of(unit);
    for (size_t at = 0; at < text.len && at < CHARSMAP_MAX_TEXT; at++) {
        uint8_t byte = (uint8_t)text.ptr[at];
        index ^= byte;
        if (byte == 0 || !unit_at(map, index, &unit) || label_of(unit) != byte)
            break;
        index ^= offset_of(unit);
        if (!ends_text(unit) || !unit_at(map, index, &leaf))
            continue;
        leaf &= 0x7fffffffu;
        if (leaf >= map->texts.len)
            continue; /* damaged: nothing is written there */
        *written = str_of(map->texts.ptr + leaf);
        best = at + 1;
    }
    return best;
}
