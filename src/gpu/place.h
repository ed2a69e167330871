/*
 * place.h — weights on the device: which chunk and offset, split where a chunk is too small.
 *
 * Owns the chunks that hold weights and the tables of experts. Weights stay in the layout of the
 * file (blocks as they are). In a ring, more weights have places than there is room for: they lie
 * one over another, and each is brought there when it is needed. One thread.
 */
#ifndef GPU_PLACE_H
#define GPU_PLACE_H

#include "op/op.h"
#include "vk/vk.h"

/* Rows [first, first + count) of a weight. */
struct placed_part {
    uint32_t chunk;
    uint64_t offset, size_bytes;
    int64_t first, count;
};

struct placed {
    const struct weight *weight; /* NULL: not on the device */
    struct placed_part *parts;   /* one per expert for weights with experts */
    int n_parts;
    uint32_t table_chunk; /* experts: u32 place of each */
    uint64_t table_offset;
    uint32_t *table; /* its contents */
};

struct place {
    struct vk *vk;
    struct placed *weights; /* by weight->index */
    size_t n_weights;
    uint32_t *chunks;
    size_t n_chunks;
    uint64_t resident_bytes; /* allocated for weights and tables */
    bool no_room;            /* the device's memory, or its number of chunks, is too small */
    struct arena arena;
};

/* Called after each weight with bytes done and in all; false cancels. */
typedef bool place_progress_fn(void *user, uint64_t done_bytes, uint64_t total_bytes);

/* Is this expert of a weight (or the weight, if it has none) to be here? */
typedef bool place_wanted_fn(void *user, const struct weight *weight, int64_t expert);

struct place_options {
    place_progress_fn *progress; /* may be NULL */
    void *user;
    /* NULL: all are. */
    place_wanted_fn *wanted;
    bool scatter_experts; /* tests: experts far apart, in an odd order */
    /* Bytes of a ring, in which weights lie in their order, those at its end over those at its
     * beginning; nothing is uploaded (place_bring). 0: every weight has a place of its own. */
    uint64_t ring_bytes;
    const struct place *resident; /* of a ring: where the experts are that are not wanted in it */
};

/* Allocates chunks for the weights that are wanted and uploads them. Errors: HTH_ERROR_MEMORY or
 * HTH_ERROR_LIMIT when they do not fit (said with sizes and budget; where it was the device that
 * had no room, out->no_room, and out->resident_bytes is what it had), HTH_ERROR_CANCELLED, the
 * device's. */
HTH_MUST_CHECK place_weights(struct place *out, struct vk *vk, const struct weight *const *weights,
                             size_t n_weights, const struct place_options *options,
                             const struct log *log);
void place_free(struct place *place);

/* Uploads one weight of a ring to its place, over what is there (vk_upload, vk_upload_after), with
 * the table of its experts. Errors: the device's. */
HTH_MUST_CHECK place_bring(const struct place *ring, const struct placed *placed);

/* Do two weights of a ring share a byte? */
bool place_overlap(const struct placed *a, const struct placed *b);

/* Experts take turns at a place: `expert` of a weight has it no more; it is returned. */
struct placed_part place_take_out(struct placed *placed, int64_t expert);

/* From now on `expert`, which has no place, is at that one. */
void place_put_in(struct placed *placed, int64_t expert, const struct placed_part *part);

/* Uploads what shaders find experts by, after such changes. Errors: the device's. */
HTH_MUST_CHECK place_send_table(const struct place *place, const struct placed *placed);

/* Uploads `n` bytes of an expert, from byte `at` on, to a place that nobody has. Errors: the
 * device's. */
HTH_MUST_CHECK place_send_part(const struct place *place, const struct placed *placed,
                               int64_t expert, const struct placed_part *part, uint64_t at,
                               uint64_t n);

/* Gives the places of a ring to the experts that its resident ones are not, after these changed:
 * as many as there were when it was made. */
void place_follow(struct place *ring, const struct place *resident);

/* Only lays out: what place_weights would allocate on a device goes to resident_bytes, and places
 * stand as they would, but in chunks that are not there. Errors: as above but the device's. */
HTH_MUST_CHECK place_measure(struct place *out, const struct vk_caps *caps,
                             const struct weight *const *weights, size_t n_weights,
                             const struct place_options *options, const struct log *log);

#endif
