#include "engine/kernels.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/kept.h"

enum {
    KERNELS_VERSION = 2,
    MOST_VALUE = 1 << 20,
    MOST_GAIN = 1000,
    MOST_TRIED = 64,
    MOST_BEGUN = 64
};

/* {"of": "…", "classes": {"class of ops": {"row", "knobs": {"name": value}, "gain", "done",
 * "tried", "begun", "whole"}}} */
static const char CLASSES[] = "classes", ROW[] = "row", KNOBS[] = "knobs", GAIN[] = "gain",
                  DONE[] = "done", TRIED[] = "tried", BEGUN[] = "begun", WHOLE[] = "whole";

/* --- reading ---------------------------------------------------------------------------------- */

static bool read_text(const json_t *value, char *out, size_t size)
{
    bool fits = json_is_string(value) && json_string_length(value) < size;
    if (fits)
        snprintf(out, size, "%s", json_string_value(value));
    return fits;
}

static bool read_knobs(json_t *knobs, struct table_entry *out)
{
    const char *name;
    json_t *value;
    if (!json_is_object(knobs) || json_object_size(knobs) > ROW_MAX_KNOBS)
        return false;
    json_object_foreach(knobs, name, value)
    {
        struct table_knob *knob = &out->knobs[out->n_knobs++];
        json_int_t number = json_integer_value(value);
        if (strlen(name) >= sizeof knob->name || !json_is_integer(value) || number < 1 ||
            number > MOST_VALUE)
            return false;
        snprintf(knob->name, sizeof knob->name, "%s", name);
        knob->value = (uint32_t)number;
    }
    return true;
}

static bool read_count(const json_t *value, int most, int *out)
{
    json_int_t n = json_integer_value(value);
    bool sound = json_is_integer(value) && n >= 0 && n <= most;
    *out = sound ? (int)n : 0;
    return sound;
}

static bool read_entry(const json_t *json, struct table_entry *out)
{
    const json_t *gain = json_object_get(json, GAIN), *whole = json_object_get(json, WHOLE);
    out->gain = json_number_value(gain);
    out->whole = json_is_true(whole);
    return read_text(json_object_get(json, ROW), out->row, sizeof out->row) &&
           read_knobs(json_object_get(json, KNOBS), out) && json_is_number(gain) &&
           out->gain >= 0 && out->gain <= MOST_GAIN && json_is_boolean(whole) &&
           read_count(json_object_get(json, DONE), ROW_MAX_KNOBS + 1, &out->n_done) &&
           read_count(json_object_get(json, TRIED), MOST_TRIED, &out->n_tried) &&
           read_count(json_object_get(json, BEGUN), MOST_BEGUN, &out->n_begun);
}

/* *sound is false for what hearth does not write. */
static enum hth_status read_classes(json_t *classes, struct table *table, bool *sound,
                                    const struct log *log)
{
    const char *name;
    json_t *value;
    *sound = json_is_object(classes) && json_object_size(classes) <= TABLE_MOST;
    if (!*sound)
        return HTH_OK;
    json_object_foreach(classes, name, value)
    {
        struct table_entry read = {0};
        *sound = strlen(name) < sizeof read.class && read_entry(value, &read);
        if (!*sound)
            return HTH_OK;
        snprintf(read.class, sizeof read.class, "%s", name);
        struct table_entry *entry = table_add(table, name);
        if (!entry)
            return log_fail_memory(log, "what was measured of kernels", sizeof *entry);
        *entry = read;
    }
    return HTH_OK;
}

/* --- writing ---------------------------------------------------------------------------------- */

static json_t *entry_json(const struct table_entry *entry)
{
    json_t *knobs = json_object();
    for (int k = 0; k < entry->n_knobs; k++)
        if (json_object_set_new(knobs, entry->knobs[k].name, json_integer(entry->knobs[k].value))) {
            json_decref(knobs);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:f, s:i, s:i, s:i, s:b}", ROW, entry->row, KNOBS, knobs, GAIN,
                     entry->gain, DONE, entry->n_done, TRIED, entry->n_tried, BEGUN, entry->n_begun,
                     WHOLE, entry->whole);
}

static enum hth_status write_classes(const struct kernels *kernels, const struct log *log)
{
    json_t *classes = json_object();
    for (size_t i = 0; classes && i < kernels->table.n; i++) {
        const struct table_entry *entry = &kernels->table.items[i];
        if (json_object_set_new(classes, entry->class, entry_json(entry))) {
            json_decref(classes);
            classes = NULL;
        }
    }
    json_t *root =
        classes ? json_pack("{s:s, s:o}", "of", kernels->of.ptr, CLASSES, classes) : NULL;
    return kept_store(&kernels->path, root, "what was measured of kernels is lost", log);
}

/* Into `table` what is whole in `other` alone. */
static enum hth_status take_whole(struct table *table, const struct table *other)
{
    for (size_t i = 0; i < other->n && table->n < TABLE_MOST; i++) {
        const struct table_entry *theirs = &other->items[i];
        const struct table_entry *own = table_find(table, theirs->class);
        if (!theirs->whole || (own && own->whole))
            continue;
        struct table_entry *entry = table_add(table, theirs->class);
        if (!entry)
            return HTH_ERROR_MEMORY;
        *entry = *theirs;
    }
    return HTH_OK;
}

/* Whatever is wrong with the file that is there: it is about to be replaced. */
static enum hth_status take_over(struct kernels *kernels, const struct log *log)
{
    static const struct log silent = {0};
    struct table theirs = {0};
    bool sound = true;
    json_t *root;
    enum hth_status status = kept_load(&kernels->path, &kernels->of, &root, NULL, &silent);
    if (status == HTH_OK && root)
        status = read_classes(json_object_get(root, CLASSES), &theirs, &sound, &silent);
    if (status == HTH_OK && sound)
        status = take_whole(&kernels->table, &theirs);
    json_decref(root);
    table_free(&theirs);
    return status ? log_fail_memory(log, "what was measured of kernels", 0) : HTH_OK;
}

enum hth_status kernels_store(struct kernels *kernels, const struct log *log)
{
    if (!kernels->path.ptr)
        return HTH_OK;
    enum hth_status status = take_over(kernels, log);
    return status ? status : write_classes(kernels, log);
}

/* --- the whole -------------------------------------------------------------------------------- */

enum hth_status kernels_load(struct kernels *out, const struct vk_caps *caps, const struct log *log)
{
    json_t *root;
    bool sound = true, begins_anew;
    strbuf_printf(&out->of, "%d; ", KERNELS_VERSION);
    kept_of(caps, &out->of);
    if (!kept_path("kernels", caps, &out->path) && !out->path.failed)
        strbuf_free(&out->path);
    enum hth_status status = kept_load(&out->path, &out->of, &root, &begins_anew, log);
    if (status == HTH_OK && root)
        status = read_classes(json_object_get(root, CLASSES), &out->table, &sound, log);
    json_decref(root);
    if (!sound) {
        kept_ignore(&out->path, "something in it is nothing that hearth writes", log);
        table_free(&out->table);
        begins_anew = true;
    }
    return status == HTH_OK && begins_anew ? kernels_store(out, log) : status;
}

void kernels_free(struct kernels *kernels)
{
    table_free(&kernels->table);
    strbuf_free(&kernels->path);
    strbuf_free(&kernels->of);
}

int kernels_count(const struct kernels *kernels)
{
    int n = 0;
    for (size_t i = 0; i < kernels->table.n; i++)
        n += kernels->table.items[i].row[0] != '\0';
    return n;
}
