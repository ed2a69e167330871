#include "gguf/gguf.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "gguf/part.h"

struct gguf {
    char *path; /* as it was given */
    struct gguf_part *parts;
    size_t n_parts, parts_capacity;
    struct gguf_tensor *tensors; /* of all parts, in order */
    const struct str **tensor_index;
    size_t n_tensors;
    uint64_t file_bytes;
};

/* What a file says about the model it is a part of; count 1 for a whole model. */
struct split {
    uint64_t no, count, n_tensors;
    bool has_n_tensors;
};

/* An unsigned key of a split model; absent keys leave *out alone. */
static enum hth_status read_count(const struct gguf_part *part, const char *name, uint64_t *out,
                                  const struct log *log)
{
    const struct gguf_key *key = gguf_part_key(part, name);
    if (key && !gguf_get_u64(key, 0, out))
        return gguf_damaged(part, gguf_offset_of(part, key->data), log,
                            "key %s: is no unsigned integer", name);
    return HTH_OK;
}

static enum hth_status read_split(const struct gguf_part *part, struct split *split,
                                  const struct log *log)
{
    *split = (struct split){.count = 1};
    enum hth_status status = read_count(part, "split.count", &split->count, log);
    if (status == HTH_OK)
        status = read_count(part, "split.no", &split->no, log);
    if (status == HTH_OK)
        status = read_count(part, "split.tensors.count", &split->n_tensors, log);
    if (status != HTH_OK)
        return status;
    split->has_n_tensors = gguf_part_key(part, "split.tensors.count") != NULL;
    if (split->count == 0)
        split->count = 1;
    if (split->no >= split->count || split->count > 99999)
        return gguf_damaged(part, 0, log,
                            "keys split.no and split.count: say part %" PRIu64 " of %" PRIu64
                            ", counted from 0",
                            split->no, split->count);
    return HTH_OK;
}

static enum hth_status part_open(struct gguf_part *part, const char *path, const struct log *log)
{
    *part = (struct gguf_part){.path = mem_strdup(path)};
    if (!part->path)
        return log_fail_memory(log, "the name of a file", strlen(path) + 1);
    if (os_stat(path, NULL, NULL) == OS_FILE_FOLDER)
        return log_fail(log, HTH_ERROR_IO, "%s: is a folder; name the .gguf file inside it", path);
    if (os_stat(path, NULL, NULL) == OS_FILE_OTHER)
        return log_fail(log, HTH_ERROR_IO, "%s: is a device or a pipe; name a .gguf file on a disk",
                        path);
    if (!os_map_file(&part->mapping, path))
        return log_fail(log, HTH_ERROR_IO, "%s: cannot be opened: %s", path, os_error_text());
    part->data = part->mapping.data;
    part->size_bytes = part->mapping.size_bytes;
    return gguf_part_parse(part, log);
}

/* Takes the part over, or frees it. */
static enum hth_status append_part(struct gguf *gguf, struct gguf_part *part, const struct log *log)
{
    struct gguf_part *grown =
        mem_grow(gguf->parts, &gguf->parts_capacity, gguf->n_parts + 1, sizeof *gguf->parts);
    if (!grown) {
        gguf_part_free(part);
        return log_fail_memory(log, "a list of files", (gguf->n_parts + 1) * sizeof *gguf->parts);
    }
    gguf->parts = grown;
    gguf->parts[gguf->n_parts++] = *part;
    gguf->file_bytes += part->size_bytes;
    *part = (struct gguf_part){0};
    return HTH_OK;
}

/* Opens part `no` of the model that `named` is a part of, beside it. */
static enum hth_status open_sibling(struct gguf_part *out, const char *stem, uint64_t no,
                                    const struct split *named, const struct log *log)
{
    struct strbuf path = {0};
    strbuf_printf(&path, "%s-%05" PRIu64 "-of-%05" PRIu64 ".gguf", stem, no + 1, named->count);
    if (path.failed) {
        strbuf_free(&path);
        return log_fail_memory(log, "the name of a file", strlen(stem) + 32);
    }
    enum hth_status status = HTH_OK;
    struct split split = {0};
    if (os_stat(path.ptr, NULL, NULL) == OS_FILE_NONE)
        status = log_fail(log, HTH_ERROR_IO,
                          "%s: part %" PRIu64 " of %" PRIu64
                          " of this model is missing; put it beside the other parts",
                          path.ptr, no + 1, named->count);
    if (status == HTH_OK)
        status = part_open(out, path.ptr, log);
    if (status == HTH_OK)
        status = read_split(out, &split, log);
    if (status == HTH_OK &&
        (split.no != no || split.count != named->count || split.n_tensors != named->n_tensors))
        status = log_fail(log, HTH_ERROR_FORMAT,
                          "%s: says that it is part %" PRIu64 " of %" PRIu64
                          " of a model of %" PRIu64 " tensors, where part %" PRIu64 " of %" PRIu64
                          " of %" PRIu64 " was expected; download the parts again",
                          path.ptr, split.no + 1, split.count, split.n_tensors, no + 1,
                          named->count, named->n_tensors);
    strbuf_free(&path);
    return status;
}

/* The path without "-00002-of-00005.gguf", which must say what the keys say; NULL after an error.
 */
static char *split_stem(const char *path, const struct split *split, const struct log *log,
                        enum hth_status *status)
{
    char suffix[40];
    int len = snprintf(suffix, sizeof suffix, "-%05" PRIu64 "-of-%05" PRIu64 ".gguf", split->no + 1,
                       split->count);
    if (!str_ends_with(str_of(path), (struct str){suffix, (size_t)len})) {
        *status = log_fail(log, HTH_ERROR_FORMAT,
                           "%s: is part %" PRIu64 " of %" PRIu64
                           " of a model, and its name must end in %s so that the other parts can "
                           "be found; rename it",
                           path, split->no + 1, split->count, suffix);
        return NULL;
    }
    char *stem = mem_strdup(path);
    if (stem)
        stem[strlen(path) - (size_t)len] = '\0';
    else
        *status = log_fail_memory(log, "the name of a file", strlen(path) + 1);
    return stem;
}

/* Adds all parts of a split model in order; `named` is the one that was opened. */
static enum hth_status append_split(struct gguf *gguf, struct gguf_part *named,
                                    const struct split *split, const struct log *log)
{
    enum hth_status status = HTH_OK;
    char *stem = split_stem(gguf->path, split, log, &status);
    for (uint64_t no = 0; status == HTH_OK && no < split->count; no++) {
        struct gguf_part sibling = {0}, *part = no == split->no ? named : &sibling;
        if (part == &sibling)
            status = open_sibling(&sibling, stem, no, split, log);
        if (status == HTH_OK)
            status = append_part(gguf, part, log);
        gguf_part_free(&sibling);
    }
    mem_free(stem);
    return status;
}

/* Makes one directory of the tensors of all parts; that of a single part is taken over. */
static enum hth_status join_tensors(struct gguf *gguf, const struct log *log)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < gguf->n_parts; i++)
        n += gguf->parts[i].n_tensors;
    if (n == 0)
        return HTH_OK;
    bool single = gguf->n_parts == 1;
    gguf->tensors = single ? gguf->parts[0].tensors : mem_calloc(n, sizeof *gguf->tensors);
    if (single)
        gguf->parts[0].tensors = NULL;
    gguf->tensor_index = mem_calloc(n, sizeof *gguf->tensor_index);
    if (!gguf->tensors || !gguf->tensor_index)
        return log_fail_memory(log, gguf->path, n * sizeof *gguf->tensors);
    gguf->n_tensors = n;
    for (size_t i = 0; !single && i < gguf->n_parts; i++) {
        struct gguf_part *part = &gguf->parts[i];
        for (size_t k = 0; k < part->n_tensors; k++) {
            gguf->tensors[at] = part->tensors[k];
            gguf->tensors[at++].part = (uint32_t)i;
        }
        mem_free(part->tensors);
        part->tensors = NULL;
    }
    const struct str *twice =
        gguf_index_names(gguf->tensor_index, gguf->tensors, n, sizeof *gguf->tensors);
    if (!twice)
        return HTH_OK;
    const struct gguf_tensor *tensor = (const struct gguf_tensor *)(const void *)twice;
    const struct gguf_part *part = &gguf->parts[tensor->part];
    return gguf_damaged(part, gguf_offset_of(part, twice->ptr), log, "tensor %.*s appears twice",
                        SHOW(*twice));
}

static enum hth_status check_total(const struct gguf *gguf, const struct split *split,
                                   const struct log *log)
{
    if (split->count == 1 || !split->has_n_tensors || split->n_tensors == gguf->n_tensors)
        return HTH_OK;
    return log_fail(log, HTH_ERROR_FORMAT,
                    "%s: the %" PRIu64 " parts of this model hold %zu tensors, and "
                    "split.tensors.count says %" PRIu64 "; download them again",
                    gguf->path, split->count, gguf->n_tensors, split->n_tensors);
}

static enum hth_status gguf_new(struct gguf **out, const char *path, const struct log *log)
{
    *out = NULL;
    struct gguf *gguf = mem_calloc(1, sizeof *gguf);
    if (!gguf || !(gguf->path = mem_strdup(path))) {
        mem_free(gguf);
        return log_fail_memory(log, "the directory of a model", sizeof *gguf);
    }
    *out = gguf;
    return HTH_OK;
}

/* Ends an open: hands the result out, or closes it. */
static enum hth_status finish(struct gguf **out, struct gguf *gguf, enum hth_status status)
{
    if (status != HTH_OK) {
        gguf_close(gguf);
        gguf = NULL;
    }
    *out = gguf;
    return status;
}

enum hth_status gguf_open(struct gguf **out, const char *path, const struct log *log)
{
    struct gguf *gguf;
    struct gguf_part named = {0};
    struct split split = {0};
    *out = NULL;
    enum hth_status status = gguf_new(&gguf, path, log);
    if (status == HTH_OK)
        status = part_open(&named, path, log);
    if (status == HTH_OK)
        status = read_split(&named, &split, log);
    if (status == HTH_OK)
        status = split.count > 1 ? append_split(gguf, &named, &split, log)
                                 : append_part(gguf, &named, log);
    gguf_part_free(&named);
    if (status == HTH_OK)
        status = join_tensors(gguf, log);
    if (status == HTH_OK)
        status = check_total(gguf, &split, log);
    return finish(out, gguf, status);
}

static enum hth_status open_bytes(struct gguf **out, struct gguf_part part, const char *name,
                                  const struct log *log)
{
    struct gguf *gguf;
    struct split split;
    *out = NULL;
    enum hth_status status = gguf_new(&gguf, name, log);
    if (status != HTH_OK)
        return status;
    part.path = mem_strdup(name);
    if (!part.path)
        status = log_fail_memory(log, "the name of a file", strlen(name) + 1);
    if (status == HTH_OK)
        status = gguf_part_parse(&part, log);
    if (status == HTH_OK)
        status = read_split(&part, &split, log);
    if (status == HTH_OK && split.count > 1)
        status = log_fail(log, HTH_ERROR_UNSUPPORTED,
                          "%s: is part %" PRIu64 " of %" PRIu64
                          " of a model, and parts are read from files only",
                          name, split.no + 1, split.count);
    if (status == HTH_OK)
        status = append_part(gguf, &part, log);
    gguf_part_free(&part);
    if (status == HTH_OK)
        status = join_tensors(gguf, log);
    return finish(out, gguf, status);
}

enum hth_status gguf_open_memory(struct gguf **out, const void *data, uint64_t size_bytes,
                                 const char *name, const struct log *log)
{
    return open_bytes(out, (struct gguf_part){.data = data, .size_bytes = size_bytes}, name, log);
}

enum hth_status gguf_open_directory(struct gguf **out, struct str bytes, const char *name,
                                    const struct log *log)
{
    struct gguf_part part = {
        .data = (const unsigned char *)bytes.ptr, .size_bytes = bytes.len, .no_data = true};
    return open_bytes(out, part, name, log);
}

void gguf_close(struct gguf *gguf)
{
    if (!gguf)
        return;
    for (size_t i = 0; i < gguf->n_parts; i++)
        gguf_part_free(&gguf->parts[i]);
    mem_free(gguf->parts);
    mem_free(gguf->tensors);
    mem_free(gguf->tensor_index);
    mem_free(gguf->path);
    mem_free(gguf);
}

const char *gguf_path(const struct gguf *gguf)
{
    return gguf->path;
}

uint32_t gguf_version(const struct gguf *gguf)
{
    return gguf->parts[0].version;
}

uint64_t gguf_file_bytes(const struct gguf *gguf)
{
    return gguf->file_bytes;
}

uint32_t gguf_alignment(const struct gguf *gguf)
{
    return gguf->parts[0].alignment;
}

/* The keys of a split model are those of its first part; the others repeat split.* only. */
size_t gguf_n_keys(const struct gguf *gguf)
{
    return gguf->parts[0].n_keys;
}

const struct gguf_key *gguf_key_at(const struct gguf *gguf, size_t index)
{
    return index < gguf_n_keys(gguf) ? &gguf->parts[0].keys[index] : NULL;
}

size_t gguf_n_tensors(const struct gguf *gguf)
{
    return gguf->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *gguf, size_t index)
{
    return index < gguf->n_tensors ? &gguf->tensors[index] : NULL;
}

const struct gguf_key *gguf_key_find(const struct gguf *gguf, const char *name)
{
    return gguf_part_key(&gguf->parts[0], name);
}

const struct gguf_tensor *gguf_tensor_find(const struct gguf *gguf, const char *name)
{
    /* the name is the first member of a tensor */
    return (const struct gguf_tensor *)(const void *)gguf_index_find(gguf->tensor_index,
                                                                     gguf->n_tensors, name);
}
