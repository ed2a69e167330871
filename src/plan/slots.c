#include "plan/slots.h"

#include "base/mem.h"

/* Of the two parts of a score: what is left of a use after a token. */
static const float FADE_FAST = 0.90f, FADE_SLOW = 0.995f;
/* Who comes must promise so much more than who goes, or they change places to and fro. */
static const float CLEARLY = 1.3f, LEAST = 0.01f;
/* Uploads are judged by so many tokens after them, */
enum { JUDGED_TOKENS = 64 };
/* and what they brought is forgotten over so many; before any, so many may try, for each layer; and
 * one in so many tokens always may: routing changes. */
enum { FORGET_TOKENS = 512, FIRST_PER_LAYER = 2, TRY_TOKENS = 16 };
/* Credit for more than so many uploads, for each layer, is of no use. */
enum { MOST_PER_LAYER = 16 };

struct expert {
    float fast, slow; /* uses, faded */
    uint8_t place;    /* enum slots_place */
    int64_t moved;    /* when it last came or left */
};

/* The best of a layer's swaps, and what it promises. */
struct candidate {
    struct slots_swap swap;
    float promise;
    bool known;
};

struct slots {
    struct arena arena;
    struct slots_options options;
    struct expert *experts; /* [n_layers × n_expert] */
    int *filled;            /* [n_layers]: slots */
    struct candidate *best; /* [n_layers] */
    int64_t now;            /* tokens so far */
    float slow_sum;         /* of what one use in every token would have come to */
    double credit;          /* in uses */
    struct slots_count count;
};

static struct expert *expert_at(const struct slots *slots, int layer, int expert)
{
    return &slots->experts[(size_t)layer * (size_t)slots->options.n_expert + (size_t)expert];
}

static bool is_cache(const struct slots *slots, int layer)
{
    return slots->filled[layer] > 0 && slots->filled[layer] < slots->options.n_expert;
}

enum hth_status slots_create(struct slots **out, const struct slots_options *options,
                             const struct log *log)
{
    size_t n = (size_t)options->n_layers * (size_t)options->n_expert;
    struct slots *slots = *out = mem_calloc(1, sizeof *slots);
    if (!slots)
        return log_fail_memory(log, "the cache of experts", sizeof *slots);
    slots->options = *options;
    slots->experts = arena_calloc(&slots->arena, n + 1, sizeof *slots->experts);
    slots->filled =
        arena_calloc(&slots->arena, (size_t)options->n_layers + 1, sizeof *slots->filled);
    slots->best = arena_calloc(&slots->arena, (size_t)options->n_layers + 1, sizeof *slots->best);
    if (slots->experts && slots->filled && slots->best) {
        for (size_t i = 0; i < n; i++)
            slots->experts[i].moved = -JUDGED_TOKENS;
        return HTH_OK;
    }
    slots_destroy(slots);
    *out = NULL;
    return log_fail_memory(log, "the cache of experts", n * sizeof *slots->experts);
}

void slots_destroy(struct slots *slots)
{
    if (!slots)
        return;
    arena_free(&slots->arena);
    mem_free(slots);
}

void slots_fill(struct slots *slots, int layer, int expert)
{
    struct expert *e = expert_at(slots, layer, expert);
    slots->filled[layer] += e->place != SLOTS_HERE;
    e->place = SLOTS_HERE;
}

enum slots_place slots_place_of(const struct slots *slots, int layer, int expert)
{
    return (enum slots_place)expert_at(slots, layer, expert)->place;
}

/* --- uses ------------------------------------------------------------------------------------- */

/* A use speaks for or against the last upload that has to do with it. */
static void judge(struct slots *slots, const struct expert *e)
{
    if (slots->now - e->moved >= JUDGED_TOKENS)
        return;
    slots->credit += e->place == SLOTS_HERE ? 1 : e->place == SLOTS_HOST ? -1 : 0;
}

void slots_use(struct slots *slots, int layer, const int32_t *ids, int n_tokens)
{
    int n_expert = slots->options.n_expert, n_used = slots->options.n_used;
    if (!is_cache(slots, layer))
        return;
    slots->best[layer].known = false;
    for (int t = 0; t < n_tokens; t++) {
        for (int e = 0; e < n_expert; e++) {
            expert_at(slots, layer, e)->fast *= FADE_FAST;
            expert_at(slots, layer, e)->slow *= FADE_SLOW;
        }
        for (int k = 0; k < n_used; k++) {
            int id = ids[t * n_used + k];
            if (id < 0 || id >= n_expert)
                continue;
            struct expert *e = expert_at(slots, layer, id);
            e->fast += 1;
            e->slow += 1;
            slots->count.uses++;
            slots->count.hits += e->place == SLOTS_HERE;
            judge(slots, e);
        }
    }
}

void slots_step(struct slots *slots, int n_tokens)
{
    double most = slots->options.price * MOST_PER_LAYER * slots->options.n_layers;
    if (slots->now == 0)
        slots->credit = slots->options.price * FIRST_PER_LAYER * slots->options.n_layers;
    for (int t = 0; t < n_tokens; t++) {
        slots->now++;
        slots->slow_sum = slots->slow_sum * FADE_SLOW + 1;
        slots->credit -= slots->credit / FORGET_TOKENS;
        slots->credit += slots->options.price / TRY_TOKENS;
    }
    slots->credit = slots->credit < most ? slots->credit : most;
}

/* --- swaps ------------------------------------------------------------------------------------ */

/* The part of tokens that use an expert, as it looks. */
static float promise(const struct slots *slots, const struct expert *e)
{
    float slow = slots->slow_sum > 0 ? e->slow / slots->slow_sum : 0;
    return 0.5f * (1 - FADE_FAST) * e->fast + 0.5f * slow;
}

static void find_best(const struct slots *slots, int layer)
{
    struct candidate *best = &slots->best[layer];
    float least = 2, most = -1;
    *best = (struct candidate){.swap = {layer, -1, -1}, .known = true};
    for (int i = 0; i < slots->options.n_expert; i++) {
        const struct expert *e = expert_at(slots, layer, i);
        float p = promise(slots, e);
        if (e->place == SLOTS_HERE && p < least) {
            least = p;
            best->swap.gone = i;
        } else if (e->place == SLOTS_HOST && p > most) {
            most = p;
            best->swap.comes = i;
        }
    }
    if (best->swap.gone >= 0 && best->swap.comes >= 0 && most > CLEARLY * least + LEAST)
        best->promise = most - least;
}

void slots_begin(struct slots *slots, const struct slots_swap *swap)
{
    struct expert *gone = expert_at(slots, swap->layer, swap->gone);
    gone->place = SLOTS_HOST;
    gone->moved = slots->now;
    expert_at(slots, swap->layer, swap->comes)->place = SLOTS_COMING;
    slots->best[swap->layer].known = false;
    slots->credit -= slots->options.price;
    slots->count.uploads++;
}

bool slots_choose(const struct slots *slots, struct slots_swap *swap)
{
    const struct candidate *best = NULL;
    if (slots->credit < slots->options.price)
        return false;
    for (int layer = 0; layer < slots->options.n_layers; layer++) {
        if (is_cache(slots, layer) && !slots->best[layer].known)
            find_best(slots, layer);
        if (slots->best[layer].promise > (best ? best->promise : 0))
            best = &slots->best[layer];
    }
    if (!best)
        return false;
    *swap = best->swap;
    return true;
}

void slots_arrive(struct slots *slots, const struct slots_swap *swap)
{
    struct expert *e = expert_at(slots, swap->layer, swap->comes);
    e->place = SLOTS_HERE;
    e->moved = slots->now;
    slots->best[swap->layer].known = false;
}

struct slots_count slots_get_count(const struct slots *slots)
{
    return slots->count;
}
