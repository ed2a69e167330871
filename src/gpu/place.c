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
    uint64_t *sizes;      /* of each chunk so far; of a ring: in this round */
    size_t n_chunks;
    bool ring;
    size_t at;      /* chunk of the ring */
    uint64_t taken; /* of the ring, for one weight */
    bool overflow;
};

static uint64_t part_bytes(const struct weight *weight, int64_t rows)
{
    return dtype_row_bytes(weight->dtype, (uint64_t)weight->ne[0]) * (uint64_t)rows;
}

/* Room for `size` bytes of the ring, with what is left out where a chunk ends. No weight may come
 * round to its own beginning. */
static size_t ring_take(struct cursor *cursor, uint64_t size, uint64_t *offset)
{
    uint64_t left = cursor->limit_bytes - cursor->sizes[cursor->at];
    if (size > left) {
        cursor->taken += left;
        cursor->at = (cursor->at + 1) % cursor->n_chunks;
        cursor->sizes[cursor->at] = 0;
    }
    cursor->taken += size;
    cursor->overflow |=
        size > cursor->limit_bytes || cursor->taken > cursor->limit_bytes * cursor->n_chunks;
    *offset = cursor->sizes[cursor->at];
    cursor->sizes[cursor->at] += cursor->overflow ? 0 : size;
    return cursor->at;
}

/* Room for `bytes`, in the current chunk or the next one; returns the chunk's position. */
static size_t cursor_take(struct cursor *cursor, uint64_t bytes, uint64_t *offset)
{
    uint64_t size = align_up(bytes + PAD_BYTES, VK_REF_ALIGN);
    if (cursor->ring)
        return ring_take(cursor, size, offset);
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
    cursor->taken = 0;
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

/* What shaders find experts by: their places here, or else where `resident` has them. */
static enum hth_status fill_table(struct place *place, struct placed *placed,
                                  const struct place *resident)
{
    const struct placed *there = resident ? &resident->weights[placed->weight->index] : NULL;
    if (!weight_experts(placed->weight))
        return HTH_OK;
    uint32_t *table = arena_calloc(&place->arena, (size_t)placed->n_parts, sizeof *table);
    if (!table)
        return HTH_ERROR_MEMORY;
    for (int i = 0; i < placed->n_parts; i++) {
        const struct placed_part *part = &placed->parts[i];
        if (part->size_bytes == 0 && there && there->weight)
            part = &there->parts[i];
        table[i] = part->size_bytes ? vk_ref(part->chunk, part->offset) : REF_NONE;
    }
    placed->table = table;
    return HTH_OK;
}

static enum hth_status upload_weight(const struct place *place, const struct placed *placed)
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
    return place_send_table(place, placed);
}

/* --- experts that take turns ------------------------------------------------------------------ */

struct placed_part place_take_out(struct placed *placed, int64_t expert)
{
    struct placed_part part = placed->parts[expert];
    placed->parts[expert] = (struct placed_part){0};
    placed->table[expert] = REF_NONE;
    return part;
}

void place_put_in(struct placed *placed, int64_t expert, const struct placed_part *part)
{
    placed->parts[expert] = *part;
    placed->table[expert] = vk_ref(part->chunk, part->offset);
}

enum hth_status place_send_table(const struct place *place, const struct placed *placed)
{
    return vk_upload(place->vk, placed->table_chunk, placed->table_offset, placed->table,
                     4 * (uint64_t)placed->n_parts);
}

enum hth_status place_send_part(const struct place *place, const struct placed *placed,
                                int64_t expert, const struct placed_part *part, uint64_t at,
                                uint64_t n)
{
    const char *data = part_data(placed->weight, (int)expert, 0);
    return vk_upload(place->vk, part->chunk, part->offset + at, data + at, n);
}

/* The places of one weight's experts. */
static void follow(struct placed *passing, const struct placed *there)
{
    int free_one = 0;
    for (int e = 0; e < passing->n_parts; e++) {
        bool stays = there->parts[e].size_bytes > 0;
        if (!stays && passing->parts[e].size_bytes == 0) {
            while (passing->parts[free_one].size_bytes == 0 ||
                   there->parts[free_one].size_bytes == 0)
                free_one++; /* there is one for each that left the others */
            passing->parts[e] = passing->parts[free_one];
            passing->parts[free_one] = (struct placed_part){0};
        }
    }
    for (int e = 0; e < passing->n_parts; e++) {
        const struct placed_part *part =
            there->parts[e].size_bytes ? &there->parts[e] : &passing->parts[e];
        passing->table[e] = vk_ref(part->chunk, part->offset);
    }
}

void place_follow(struct place *ring, const struct place *resident)
{
    for (size_t i = 0; i < ring->n_weights; i++)
        if (ring->weights[i].weight && weight_experts(ring->weights[i].weight) &&
            resident->weights[i].weight)
            follow(&ring->weights[i], &resident->weights[i]);
}

/* --- a ring ----------------------------------------------------------------------------------- */

enum hth_status place_bring(const struct place *ring, const struct placed *placed)
{
    return upload_weight(ring, placed);
}

static bool parts_overlap(const struct placed_part *a, const struct placed_part *b)
{
    return a->chunk == b->chunk && a->offset < b->offset + b->size_bytes &&
           b->offset < a->offset + a->size_bytes;
}

/* The table of a weight with experts as a part. */
static struct placed_part table_of(const struct placed *placed)
{
    uint64_t bytes = weight_experts(placed->weight) ? 4 * (uint64_t)placed->n_parts : 0;
    return (struct placed_part){placed->table_chunk, placed->table_offset, bytes, 0, 0};
}

bool place_overlap(const struct placed *a, const struct placed *b)
{
    const struct placed_part a_table = table_of(a), b_table = table_of(b);
    for (int i = 0; i <= a->n_parts; i++)
        for (int j = 0; j <= b->n_parts; j++)
            if (parts_overlap(i < a->n_parts ? &a->parts[i] : &a_table,
                              j < b->n_parts ? &b->parts[j] : &b_table))
                return true;
    return false;
}

/* Chunks numbered by position become the device's, which tables then name. */
static enum hth_status rename_chunks(struct place *place, const struct place *resident,
                                     const struct log *log)
{
    for (size_t i = 0; i < place->n_weights; i++) {
        struct placed *placed = &place->weights[i];
        if (!placed->weight)
            continue;
        for (int j = 0; j < placed->n_parts; j++)
            placed->parts[j].chunk = place->chunks[placed->parts[j].chunk];
        placed->table_chunk = place->chunks[placed->table_chunk];
        if (fill_table(place, placed, resident))
            return log_fail_memory(log, placed->weight->name, 4 * (size_t)placed->n_parts);
    }
    return HTH_OK;
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

static enum hth_status fill_chunks(struct place *place, const struct place_options *options)
{
    uint64_t total = 0, done = 0;
    for (size_t i = 0; i < place->n_weights; i++)
        total += place->weights[i].weight ? place->weights[i].weight->size_bytes : 0;
    for (size_t i = 0; i < place->n_weights; i++) {
        if (!place->weights[i].weight)
            continue;
        enum hth_status status = upload_weight(place, &place->weights[i]);
        if (status)
            return status;
        done += place->weights[i].weight->size_bytes;
        if (options->progress && !options->progress(options->user, done, total))
            return HTH_ERROR_CANCELLED;
    }
    return vk_transfer_wait(place->vk);
}

/* As few chunks as can be, all alike. */
static void begin_ring(struct cursor *cursor, const struct vk_caps *caps, uint64_t bytes)
{
    uint64_t most = (caps->max_range_bytes - VK_REF_ALIGN) & ~(uint64_t)(VK_REF_ALIGN - 1);
    cursor->ring = true;
    cursor->n_chunks = (size_t)div_up(bytes, most);
    cursor->overflow = cursor->n_chunks > VK_MAX_CHUNKS;
    cursor->n_chunks = cursor->overflow ? VK_MAX_CHUNKS : cursor->n_chunks;
    cursor->limit_bytes = align_up(div_up(bytes, cursor->n_chunks), VK_REF_ALIGN);
    for (size_t i = 0; i < cursor->n_chunks; i++)
        cursor->sizes[i] = 0;
}

/* Weights with their parts, in chunks numbered by position, of sizes[]. */
static enum hth_status lay_out_all(struct place *place, const struct vk_caps *caps,
                                   const struct weight *const *weights,
                                   const struct place_options *options, struct cursor *cursor,
                                   const struct log *log)
{
    if (options->ring_bytes)
        begin_ring(cursor, caps, options->ring_bytes);
    else
        cursor->limit_bytes = chunk_limit(caps);
    place->weights = arena_calloc(&place->arena, place->n_weights, sizeof *place->weights);
    place->chunks = arena_calloc(&place->arena, VK_MAX_CHUNKS, sizeof *place->chunks);
    enum hth_status status = place->weights && place->chunks
                                 ? plan_chunks(place, weights, options, cursor, log)
                                 : log_fail_memory(log, "the list of weights", place->n_weights);
    for (size_t i = 0; cursor->ring && i < cursor->n_chunks; i++)
        cursor->sizes[i] = cursor->limit_bytes;
    return status;
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
    if (status == HTH_OK && cursor.overflow && cursor.ring)
        status = log_fail(log, HTH_ERROR_LIMIT,
                          "%llu MiB are too few for weights that pass through the device: use "
                          "more --vram",
                          (unsigned long long)(options->ring_bytes >> 20));
    else if (status == HTH_OK && cursor.overflow)
        status = log_fail(
            log, HTH_ERROR_LIMIT,
            "the weights need more than %d chunks of %llu MiB on this device: use --device cpu",
            VK_MAX_CHUNKS, (unsigned long long)(cursor.limit_bytes >> 20));
    for (size_t i = 0; status == HTH_OK && i < cursor.n_chunks; i++) {
        status = vk_chunk_create(vk, chunk_bytes(&cursor, i), VK_MEMORY_DEVICE,
                                 cursor.ring ? "passing weights" : "weights", &place->chunks[i]);
        no_room = status == HTH_ERROR_MEMORY || status == HTH_ERROR_LIMIT;
        place->n_chunks += status == HTH_OK;
        place->resident_bytes += status == HTH_OK ? chunk_bytes(&cursor, i) : 0;
    }
    if (status == HTH_OK)
        status = rename_chunks(place, options->resident, log);
    if (status == HTH_OK && !cursor.ring)
        status = fill_chunks(place, options);
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
