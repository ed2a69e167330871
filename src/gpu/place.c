#include "gpu/place.h"

#include <string.h>

#include "base/mem.h"
#include "common/shared.h"

/* Shaders may read a few words past the last block of a weight. */
enum { PAD_BYTES = 64 };

/* A weight's bytes are laid out chunk by chunk in the order given. The cursor first runs without
 * a device to learn the sizes, then again to fill. */
struct cursor {
    uint64_t limit_bytes; /* of a chunk */
    uint64_t *sizes;      /* of each chunk so far */
    size_t n_chunks;
    bool overflow;
};

static uint64_t part_bytes(const struct weight *weight, int64_t rows)
{
    return dtype_row_bytes(weight->dtype, (uint64_t)weight->ne[0]) * (uint64_t)rows;
}

/* Room for `bytes`, in the current chunk or the next one; returns the chunk's position. */
static size_t cursor_take(struct cursor *cursor, uint64_t bytes, uint64_t *offset)
{
    uint64_t size = align_up(bytes + PAD_BYTES, VK_REF_ALIGN);
    size_t at = cursor->n_chunks;
    if (at == 0 || cursor->sizes[at - 1] + size > cursor->limit_bytes) {
        if (at < VK_MAX_CHUNKS) {
            cursor->sizes[at] = 0;
            cursor->n_chunks = ++at;
        } else {
            cursor->overflow = true; /* goes on only to know how much it would be */
        }
    }
    *offset = cursor->sizes[at - 1];
    cursor->sizes[at - 1] += size;
    return at - 1;
}

static int64_t weight_experts(const struct weight *weight)
{
    return weight->ne[2] > 1 || weight->experts ? weight->ne[2] : 0;
}

/* How many parts a weight needs: one per expert, or as many as chunks force. */
static int count_parts(const struct weight *weight, uint64_t limit_bytes)
{
    if (weight_experts(weight))
        return (int)weight->ne[2];
    uint64_t row = part_bytes(weight, 1);
    uint64_t rows_per_chunk = row + PAD_BYTES + VK_REF_ALIGN <= limit_bytes
                                  ? (limit_bytes - PAD_BYTES - VK_REF_ALIGN) / row
                                  : 0;
    return rows_per_chunk ? (int)div_up((uint64_t)weight->ne[1], rows_per_chunk) : 0;
}

static bool is_wanted(const struct place_options *options, const struct weight *weight, int64_t e)
{
    return !options->wanted || options->wanted(options->user, weight, e);
}

/* Is any of it to be here? */
static bool any_wanted(const struct place_options *options, const struct weight *weight)
{
    int64_t n = weight_experts(weight) ? weight->ne[2] : 1, e = 0;
    while (e < n && !is_wanted(options, weight, e))
        e++;
    return e < n;
}

static void lay_out(struct placed *placed, const struct place_options *options,
                    struct cursor *cursor)
{
    const struct weight *weight = placed->weight;
    bool experts = weight_experts(weight) > 0;
    int64_t rows = weight->ne[1],
            each = experts ? rows : (int64_t)div_up((uint64_t)rows, (uint64_t)placed->n_parts);
    for (int i = 0; i < placed->n_parts; i++) {
        struct placed_part *part = &placed->parts[i];
        if (experts && !is_wanted(options, weight, i))
            continue; /* no bytes: not here */
        part->first = experts ? 0 : i * each;
        part->count = experts ? rows : (rows - part->first < each ? rows - part->first : each);
        part->size_bytes = part_bytes(weight, part->count);
        part->chunk = (uint32_t)cursor_take(cursor, part->size_bytes, &part->offset);
    }
    if (experts)
        placed->table_chunk =
            (uint32_t)cursor_take(cursor, 4 * (uint64_t)weight->ne[2], &placed->table_offset);
}

static const void *part_data(const struct weight *weight, int part, int64_t first)
{
    if (weight->experts)
        return weight->experts[part];
    uint64_t skip = weight_experts(weight) ? part_bytes(weight, weight->ne[1]) * (uint64_t)part
                                           : part_bytes(weight, first);
    return (const char *)weight->data + skip;
}

static enum hth_status upload_weight(struct place *place, struct placed *placed,
                                     const struct log *log)
{
    const struct weight *weight = placed->weight;
    for (int i = 0; i < placed->n_parts; i++) {
        const struct placed_part *part = &placed->parts[i];
        if (part->size_bytes == 0)
            continue;
        enum hth_status status = vk_upload(place->vk, part->chunk, part->offset,
                                           part_data(weight, i, part->first), part->size_bytes);
        if (status)
            return status;
    }
    if (!weight_experts(weight))
        return HTH_OK;
    uint32_t *table = arena_calloc(&place->arena, (size_t)placed->n_parts, sizeof *table);
    if (!table)
        return log_fail_memory(log, weight->name, (size_t)placed->n_parts * sizeof *table);
    for (int i = 0; i < placed->n_parts; i++)
        table[i] = placed->parts[i].size_bytes
                       ? vk_ref(placed->parts[i].chunk, placed->parts[i].offset)
                       : REF_NONE;
    return vk_upload(place->vk, placed->table_chunk, placed->table_offset, table,
                     4 * (uint64_t)placed->n_parts);
}

/* Chunks numbered by position become the device's. */
static void rename_chunks(struct place *place)
{
    for (size_t i = 0; i < place->n_weights; i++) {
        struct placed *placed = &place->weights[i];
        for (int j = 0; j < placed->n_parts; j++)
            placed->parts[j].chunk = place->chunks[placed->parts[j].chunk];
        if (placed->weight && weight_experts(placed->weight))
            placed->table_chunk = place->chunks[placed->table_chunk];
    }
}

/* What weights may take of a chunk. A few dozen chunks cover a card; with the room at its end a
 * chunk is never larger than a binding may be. */
static uint64_t chunk_limit(const struct vk_caps *caps)
{
    uint64_t wanted = caps->device_bytes / 48, most = caps->max_range_bytes - VK_REF_ALIGN;
    wanted = wanted < (64u << 20) ? 64u << 20 : wanted;
    return (wanted < most ? wanted : most) & ~(uint64_t)(VK_REF_ALIGN - 1);
}

static enum hth_status plan_chunks(struct place *place, const struct weight *const *weights,
                                   const struct place_options *options, struct cursor *cursor,
                                   const struct log *log)
{
    for (size_t i = 0; i < place->n_weights; i++) {
        struct placed *placed = &place->weights[i];
        if (!any_wanted(options, weights[i]))
            continue;
        placed->weight = weights[i];
        placed->n_parts = count_parts(weights[i], cursor->limit_bytes);
        if (placed->n_parts == 0)
            return log_fail(log, HTH_ERROR_LIMIT,
                            "%s: a row of %llu bytes is more than this device can bind (%llu)",
                            weights[i]->name, (unsigned long long)part_bytes(weights[i], 1),
                            (unsigned long long)cursor->limit_bytes);
        placed->parts = arena_calloc(&place->arena, (size_t)placed->n_parts, sizeof *placed->parts);
        if (!placed->parts)
            return log_fail_memory(log, "the list of weights", 0);
        lay_out(placed, options, cursor);
    }
    return HTH_OK;
}

static enum hth_status fill_chunks(struct place *place, const struct place_options *options,
                                   const struct log *log)
{
    uint64_t total = 0, done = 0;
    for (size_t i = 0; i < place->n_weights; i++)
        total += place->weights[i].weight ? place->weights[i].weight->size_bytes : 0;
    for (size_t i = 0; i < place->n_weights; i++) {
        if (!place->weights[i].weight)
            continue;
        enum hth_status status = upload_weight(place, &place->weights[i], log);
        if (status)
            return status;
        done += place->weights[i].weight->size_bytes;
        if (options->progress && !options->progress(options->user, done, total))
            return HTH_ERROR_CANCELLED;
    }
    return vk_transfer_wait(place->vk);
}

/* Weights with their parts, in chunks numbered by position, of sizes[]. */
static enum hth_status lay_out_all(struct place *place, const struct vk_caps *caps,
                                   const struct weight *const *weights,
                                   const struct place_options *options, struct cursor *cursor,
                                   const struct log *log)
{
    cursor->limit_bytes = chunk_limit(caps);
    place->weights = arena_calloc(&place->arena, place->n_weights, sizeof *place->weights);
    place->chunks = arena_calloc(&place->arena, VK_MAX_CHUNKS, sizeof *place->chunks);
    return place->weights && place->chunks
               ? plan_chunks(place, weights, options, cursor, log)
               : log_fail_memory(log, "the list of weights", place->n_weights);
}

static uint64_t chunk_bytes(const struct cursor *cursor, size_t chunk)
{
    return cursor->sizes[chunk] + VK_REF_ALIGN;
}

enum hth_status place_measure(struct place *out, const struct vk_caps *caps,
                              const struct weight *const *weights, size_t n_weights,
                              const struct place_options *options, const struct log *log)
{
    uint64_t sizes[VK_MAX_CHUNKS];
    struct cursor cursor = {.sizes = sizes};
    *out = (struct place){.n_weights = n_weights};
    enum hth_status status = lay_out_all(out, caps, weights, options, &cursor, log);
    for (size_t i = 0; i < cursor.n_chunks; i++)
        out->resident_bytes += chunk_bytes(&cursor, i);
    out->no_room = cursor.overflow;
    if (status != HTH_OK)
        place_free(out);
    return status;
}

enum hth_status place_weights(struct place *out, struct vk *vk, const struct weight *const *weights,
                              size_t n_weights, const struct place_options *options,
                              const struct log *log)
{
    *out = (struct place){.vk = vk, .n_weights = n_weights};
    struct place *place = out;
    uint64_t sizes[VK_MAX_CHUNKS];
    struct cursor cursor = {.sizes = sizes};
    enum hth_status status = lay_out_all(place, vk_get_caps(vk), weights, options, &cursor, log);
    bool no_room = false;
    if (status == HTH_OK && cursor.overflow)
        status = log_fail(
            log, HTH_ERROR_LIMIT,
            "the weights need more than %d chunks of %llu MiB on this device: use --device cpu",
            VK_MAX_CHUNKS, (unsigned long long)(cursor.limit_bytes >> 20));
    for (size_t i = 0; status == HTH_OK && i < cursor.n_chunks; i++) {
        status = vk_chunk_create(vk, chunk_bytes(&cursor, i), VK_MEMORY_DEVICE, "weights",
                                 &place->chunks[i]);
        no_room = status == HTH_ERROR_MEMORY || status == HTH_ERROR_LIMIT;
        place->n_chunks += status == HTH_OK;
        place->resident_bytes += status == HTH_OK ? chunk_bytes(&cursor, i) : 0;
    }
    if (status == HTH_OK) {
        rename_chunks(place);
        status = fill_chunks(place, options, log);
    }
    if (status != HTH_OK) {
        uint64_t had = place->resident_bytes;
        place_free(place);
        place->no_room = no_room;
        place->resident_bytes = had;
    }
    return status;
}

void place_free(struct place *place)
{
    for (size_t i = 0; i < place->n_chunks; i++)
        vk_chunk_destroy(place->vk, place->chunks[i]);
    arena_free(&place->arena);
    *place = (struct place){0};
}
