#include "text/jinja_value.h"

#include <math.h>

/* Dictionaries in insertion order, hashed as Python does: equal keys (1, 1.0, True) are one. */

enum { INDEX_FROM = 8 };

static bool hash_value(struct jinja *j, struct value v, uint64_t *out)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    switch ((enum value_kind)v.kind) {
    case VALUE_BOOL:
    case VALUE_INT: hash ^= (uint64_t)value_to_int(v); break;
    case VALUE_FLOAT:
        if (v.real == floor(v.real) && fabs(v.real) < 0x1p62)
            hash ^= (uint64_t)(int64_t)v.real;
        else
            memcpy(&hash, &v.real, sizeof hash);
        break;
    case VALUE_STRING:
        for (size_t i = 0; i < v.text->len; i++)
            hash = (hash ^ (unsigned char)v.text->ptr[i]) * 1099511628211u;
        if (!jinja_charge(j, v.text->len))
            return false;
        break;
    case VALUE_TUPLE:
        if (!jinja_enter(j))
            return false;
        for (size_t i = 0; i < v.list->count; i++) {
            uint64_t item;
            if (!hash_value(j, v.list->items[i], &item))
                return false;
            hash = (hash ^ item) * 1099511628211u;
        }
        jinja_leave(j);
        break;
    case VALUE_LIST:
    case VALUE_DICT:
    case VALUE_VIEW: return jinja_fail(j, "unhashable type: '%s'", value_type_name(v));
    case VALUE_ABSENT:
    case VALUE_UNDEFINED:
    case VALUE_NONE: hash ^= v.kind; break;
    case VALUE_RANGE: hash ^= (uint64_t)v.range->count; break;
    default: hash ^= (uint64_t)(uintptr_t)v.identity; break;
    }
    hash ^= hash >> 32;
    *out = hash * 0x9e3779b97f4a7c15u;
    return true;
}

bool value_hashable(struct value v, int depth)
{
    enum { DEEPEST = 100 };
    if (v.kind == VALUE_LIST || v.kind == VALUE_DICT || v.kind == VALUE_VIEW || depth > DEEPEST)
        return false;
    for (size_t i = 0; v.kind == VALUE_TUPLE && i < v.list->count; i++)
        if (!value_hashable(v.list->items[i], depth + 1))
            return false;
    return true;
}

struct dict *jinja_dict_new(struct jinja *j)
{
    return jinja_alloc(j, 1, sizeof(struct dict));
}

static size_t slot_of(const struct dict *dict, uint64_t hash)
{
    return (size_t)(hash >> 20) & (dict->n_slots - 1);
}

static bool matches(struct jinja *j, struct dict_entry *entry, struct value key, uint64_t hash,
                    bool *same)
{
    *same = false;
    if (!jinja_step(j))
        return false;
    return entry->hash != hash || jinja_equal(j, entry->key, key, same);
}

static bool find_hashed(struct jinja *j, const struct dict *dict, struct value key, uint64_t hash,
                        struct dict_entry **out)
{
    bool same = false;
    *out = NULL;
    if (dict->n_slots == 0) {
        for (size_t i = 0; i < dict->count && !same; i++) {
            if (!matches(j, &dict->entries[i], key, hash, &same))
                return false;
            if (same)
                *out = &dict->entries[i];
        }
        return true;
    }
    for (size_t at = slot_of(dict, hash); dict->slots[at] && !same;
         at = (at + 1) & (dict->n_slots - 1)) {
        struct dict_entry *entry = &dict->entries[dict->slots[at] - 1];
        if (!matches(j, entry, key, hash, &same))
            return false;
        if (same)
            *out = entry;
    }
    return true;
}

bool jinja_dict_find(struct jinja *j, const struct dict *dict, struct value key,
                     struct dict_entry **out)
{
    uint64_t hash = 0;
    *out = NULL;
    return hash_value(j, key, &hash) && find_hashed(j, dict, key, hash, out);
}

bool jinja_dict_find_str(struct jinja *j, const struct dict *dict, struct str key,
                         struct dict_entry **out)
{
    struct text text = {key.ptr, key.len, SIZE_MAX};
    return jinja_dict_find(j, dict, (struct value){.kind = VALUE_STRING, .text = &text}, out);
}

static bool index_all(struct jinja *j, struct dict *dict)
{
    if (dict->count < INDEX_FROM) {
        dict->n_slots = 0;
        return true;
    }
    size_t wanted = 4 * INDEX_FROM;
    while (wanted < dict->count * 2 + 2)
        wanted *= 2;
    if (wanted > dict->n_slots) {
        dict->slots = jinja_alloc(j, wanted, sizeof *dict->slots);
        if (!dict->slots)
            return false;
        dict->n_slots = wanted;
    } else {
        memset(dict->slots, 0, dict->n_slots * sizeof *dict->slots);
    }
    for (size_t i = 0; i < dict->count; i++) {
        size_t at = slot_of(dict, dict->entries[i].hash);
        while (dict->slots[at])
            at = (at + 1) & (dict->n_slots - 1);
        dict->slots[at] = (uint32_t)i + 1;
    }
    return jinja_charge(j, dict->n_slots);
}

bool jinja_dict_set(struct jinja *j, struct dict *dict, struct value key, struct value v)
{
    uint64_t hash = 0;
    struct dict_entry *entry;
    if (!hash_value(j, key, &hash) || !find_hashed(j, dict, key, hash, &entry))
        return false;
    if (entry) {
        entry->value = v;
        return true;
    }
    if (dict->count == dict->capacity) {
        size_t capacity = dict->capacity ? dict->capacity * 2 : 4;
        struct dict_entry *entries = jinja_alloc(j, capacity, sizeof *entries);
        if (!entries)
            return false;
        if (dict->count)
            memcpy(entries, dict->entries, dict->count * sizeof *entries);
        dict->entries = entries;
        dict->capacity = capacity;
    }
    dict->entries[dict->count++] = (struct dict_entry){key, v, hash};
    if (dict->n_slots == 0 || dict->count * 2 >= dict->n_slots)
        return index_all(j, dict);
    size_t at = slot_of(dict, hash);
    while (dict->slots[at])
        at = (at + 1) & (dict->n_slots - 1);
    dict->slots[at] = (uint32_t)dict->count;
    return true;
}

bool jinja_dict_remove(struct jinja *j, struct dict *dict, struct dict_entry *entry)
{
    size_t at = (size_t)(entry - dict->entries);
    dict->count--;
    memmove(entry, entry + 1, (dict->count - at) * sizeof *entry);
    return jinja_charge(j, (dict->count - at) * sizeof *entry) &&
           (dict->n_slots == 0 || index_all(j, dict));
}
