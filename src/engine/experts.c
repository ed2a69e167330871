#include "engine/experts.h"

#include <assert.h>

#include "base/mem.h"

enum { MATRICES = 4 };          /* of an expert, at most */
enum { PIECE_BYTES = 1 << 20 }; /* copied at a time: a tenth of a millisecond */

/* The weights with a layer's experts. */
struct layer_matrices {
    const struct weight *weights[MATRICES];
    int n;
};

/* --- opening ---------------------------------------------------------------------------------- */

static bool any_cached(const struct experts_options *options)
{
    bool any = false;
    for (int i = 0; i < options->model->hp.n_layer; i++)
        any |= options->cached(options->user, i);
    return any;
}

static void find_matrices(struct experts *experts)
{
    const struct model *model = experts->options.model;
    for (size_t i = 0; i < model->n_weights; i++) {
        const struct weight *weight = model->weights[i];
        int layer = split_is_experts(weight) ? model_layer_of(weight->name) : -1;
        if (layer < 0 || layer >= model->hp.n_layer ||
            !experts->options.cached(experts->options.user, layer))
            continue;
        struct layer_matrices *own = &experts->layers[layer];
        assert(own->n < MATRICES);
        own->weights[own->n++] = weight;
    }
}

/* The CPU may get any of them. */
static void interleave_all(const struct experts *experts)
{
    const struct experts_options *o = &experts->options;
    for (int i = 0; o->interleaved && i < o->model->hp.n_layer; i++)
        for (int k = 0; k < experts->layers[i].n; k++)
            interleaved_get(o->interleaved, experts->layers[i].weights[k], o->pool);
}

static void fill_slots(struct experts *experts)
{
    const struct hparams *hp = &experts->options.model->hp;
    for (int i = 0; i < hp->n_layer; i++)
        for (int e = 0; experts->layers[i].n && e < hp->n_expert; e++)
            if (split_has(experts->options.split, EXPERTS_DEVICE, experts->layers[i].weights[0], e))
                slots_fill(experts->slots, i, e);
}

enum hth_status experts_open(struct experts **out, const struct experts_options *options,
                             const struct log *log)
{
    const struct hparams *hp = &options->model->hp;
    *out = NULL;
    if (!any_cached(options))
        return HTH_OK;
    struct experts *experts = mem_calloc(1, sizeof *experts);
    if (!experts)
        return log_fail_memory(log, "the cache of experts", sizeof *experts);
    size_t n_layer = (size_t)hp->n_layer;
    experts->options = *options;
    experts->log = log;
    experts->layers = arena_calloc(&experts->arena, n_layer, sizeof *experts->layers);
    experts->table_changed = arena_calloc(&experts->arena, n_layer, sizeof(bool));
    struct placed_part *parts =
        arena_calloc(&experts->arena, (size_t)EXPERTS_MOST_SWAPS * MATRICES, sizeof *parts);
    struct slots_options slots = {hp->n_layer, hp->n_expert, hp->router.n_used, options->price};
    enum hth_status status = experts->layers && experts->table_changed && parts
                                 ? slots_create(&experts->slots, &slots, log)
                                 : log_fail_memory(log, "the cache of experts", n_layer);
    if (status) {
        experts_close(experts);
        return status;
    }
    for (int i = 0; i < EXPERTS_MOST_SWAPS; i++)
        experts->swaps[i].parts = parts + (size_t)i * MATRICES;
    find_matrices(experts);
    interleave_all(experts);
    fill_slots(experts);
    *out = experts;
    return HTH_OK;
}

void experts_close(struct experts *experts)
{
    if (!experts)
        return;
    slots_destroy(experts->slots);
    arena_free(&experts->arena);
    mem_free(experts);
}

/* --- swaps ------------------------------------------------------------------------------------ */

static struct placed *placed_of(const struct experts *experts, const struct weight *weight)
{
    return &experts->options.place->weights[weight->index];
}

/* Who leaves is the host's from the next batch on, and the slot nobody's. */
static void begin_swap(struct experts *experts, const struct slots_swap *who)
{
    struct experts_swap *swap = &experts->swaps[experts->n_swaps++];
    const struct layer_matrices *own = &experts->layers[who->layer];
    *swap = (struct experts_swap){.who = *who, .parts = swap->parts};
    for (int k = 0; k < own->n; k++) {
        swap->parts[k] = place_take_out(placed_of(experts, own->weights[k]), who->gone);
        split_move_expert(experts->options.split, own->weights[k], who->gone, SPLIT_HOST);
    }
    experts->table_changed[who->layer] = true;
    slots_begin(experts->slots, who);
}

static void end_swap(struct experts *experts, const struct experts_swap *swap)
{
    const struct layer_matrices *own = &experts->layers[swap->who.layer];
    for (int k = 0; k < own->n; k++) {
        place_put_in(placed_of(experts, own->weights[k]), swap->who.comes, &swap->parts[k]);
        split_move_expert(experts->options.split, own->weights[k], swap->who.comes, EXPERTS_DEVICE);
    }
    experts->table_changed[swap->who.layer] = true;
    slots_arrive(experts->slots, &swap->who);
}

/* Those that were sent whole have come. */
static void end_sent(struct experts *experts)
{
    int n = experts->n_sent;
    for (int i = 0; i < n; i++)
        end_swap(experts, &experts->swaps[i]);
    for (int i = n; i < experts->n_swaps; i++) {
        struct experts_swap *to = &experts->swaps[i - n], was = *to;
        *to = experts->swaps[i];
        experts->swaps[i].parts = was.parts;
    }
    experts->n_swaps -= n;
    experts->n_sent = 0;
}

static uint64_t expert_bytes(const struct experts *experts, int layer)
{
    const struct layer_matrices *own = &experts->layers[layer];
    uint64_t bytes = 0;
    for (int k = 0; k < own->n; k++)
        bytes += own->weights[k]->size_bytes / (uint64_t)own->weights[k]->ne[2];
    return bytes;
}

static bool choose(const struct experts *experts, struct slots_swap *who)
{
    return experts->choose ? experts->choose(experts->user, experts->slots, who)
                           : slots_choose(experts->slots, who);
}

/* As many as can be sent with a batch, at least one; those of earlier batches count. */
static void begin_swaps(struct experts *experts)
{
    uint64_t bytes = 0;
    struct slots_swap who;
    for (int i = 0; i < experts->n_swaps; i++)
        bytes += expert_bytes(experts, experts->swaps[i].who.layer);
    while (experts->n_swaps < EXPERTS_MOST_SWAPS &&
           (bytes == 0 || bytes < experts->options.most_bytes) && choose(experts, &who)) {
        begin_swap(experts, &who);
        bytes += expert_bytes(experts, who.layer);
    }
}

static enum hth_status send_tables(struct experts *experts)
{
    for (int i = 0; i < experts->options.model->hp.n_layer; i++) {
        const struct layer_matrices *own = &experts->layers[i];
        for (int k = 0; k < own->n && experts->table_changed[i]; k++) {
            enum hth_status status =
                place_send_table(experts->options.place, placed_of(experts, own->weights[k]));
            if (status)
                return status;
        }
        experts->table_changed[i] = false;
    }
    return HTH_OK;
}

/* What was sent may have been lost on the way: it is sent again. */
static void forget_sent(struct experts *experts)
{
    for (int i = 0; i < experts->n_swaps; i++) {
        experts->swaps[i].matrix = 0;
        experts->swaps[i].sent = 0;
    }
    for (int i = 0; i < experts->options.model->hp.n_layer; i++)
        experts->table_changed[i] = experts->layers[i].n > 0;
    experts->n_sent = 0;
}

struct slots_count experts_count(const struct experts *experts)
{
    return experts ? slots_get_count(experts->slots) : (struct slots_count){0};
}

/* --- sending ---------------------------------------------------------------------------------- */

/* At most `most` bytes of the next expert; *sent: how many. */
static enum hth_status send_piece(struct experts *experts, uint64_t most, uint64_t *sent)
{
    struct experts_swap *swap = &experts->swaps[experts->n_sent];
    const struct layer_matrices *own = &experts->layers[swap->who.layer];
    const struct placed_part *part = &swap->parts[swap->matrix];
    uint64_t left = part->size_bytes - swap->sent, n = left < most ? left : most;
    enum hth_status status =
        place_send_part(experts->options.place, placed_of(experts, own->weights[swap->matrix]),
                        swap->who.comes, part, swap->sent, n);
    if (status)
        return status;
    *sent = n;
    swap->sent += n;
    if (swap->sent == part->size_bytes) {
        swap->sent = 0;
        swap->matrix++;
    }
    experts->n_sent += swap->matrix == own->n;
    return HTH_OK;
}

/* The device does without what it refuses: those who were to come stay with the CPU, and so do
 * those who left. */
static enum hth_status get_over(struct experts *experts, enum hth_status status)
{
    if (status == HTH_OK || status == HTH_ERROR_DEVICE_LOST)
        return status;
    if (!experts->refused)
        log_warning(experts->log, "the device takes no more experts: those it has stay there");
    experts->refused = true;
    forget_sent(experts);
    return HTH_OK;
}

enum hth_status experts_send(struct experts *experts)
{
    uint64_t sent = 0;
    if (!experts || experts->refused || experts->n_sent == experts->n_swaps ||
        experts->left_bytes == 0)
        return HTH_OK;
    uint64_t most = experts->left_bytes < PIECE_BYTES ? experts->left_bytes : PIECE_BYTES;
    enum hth_status status = send_piece(experts, most, &sent);
    if (status == HTH_OK)
        status = vk_send_uploads(experts->options.place->vk);
    experts->left_bytes -= sent;
    return get_over(experts, status);
}

/* --- a batch ---------------------------------------------------------------------------------- */

/* Every slot has somebody. */
static enum hth_status finish_swaps(struct experts *experts)
{
    enum hth_status status = HTH_OK;
    uint64_t sent;
    while (status == HTH_OK && experts->n_sent < experts->n_swaps)
        status = send_piece(experts, UINT64_MAX, &sent);
    if (status == HTH_OK)
        end_sent(experts);
    else
        forget_sent(experts);
    return status;
}

enum hth_status experts_begin(struct experts *experts, bool streams)
{
    if (!experts)
        return HTH_OK;
    enum hth_status status = HTH_OK;
    end_sent(experts);
    if (streams)
        status = finish_swaps(experts);
    else if (!experts->refused)
        begin_swaps(experts);
    experts->left_bytes = streams ? 0 : experts->options.most_bytes;
    return status ? status : send_tables(experts);
}

void experts_routed(struct experts *experts, int layer, const int32_t *ids, int n_tokens)
{
    if (experts)
        slots_use(experts->slots, layer, ids, n_tokens);
}

enum hth_status experts_end(struct experts *experts, int n_tokens, enum hth_status status)
{
    if (!experts)
        return status;
    while (status == HTH_OK && experts->left_bytes && experts->n_sent < experts->n_swaps &&
           !experts->refused)
        status = experts_send(experts);
    if (status)
        forget_sent(experts);
    else
        slots_step(experts->slots, n_tokens);
    return status;
}
