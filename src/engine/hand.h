/*
 * hand.h — what options say by hand of where tensors, experts and caches live, and what of that
 * memory allows.
 *
 * Owns lists by weight, expert and layer. What is said of all of a unit binds the unit, which the
 * plan then places; what is said of a part of one is taken out of it. Filled once, bound as often
 * as is planned. One thread.
 */
#ifndef ENGINE_HAND_H
#define ENGINE_HAND_H

#include "hearth/hearth.h"
#include "plan/units.h"
#include "plan/machine.h"

struct hand {
    struct arena arena;
    int n_expert;
    /* said: a bit for each device that it may live with; 0: nothing */
    uint8_t *of_weight; /* [n_weights] */
    uint8_t *of_expert; /* [n_layer × n_expert] */
    uint8_t *of_cache;  /* [n_layer] */
    /* bound: a device; −1: where its unit is */
    int8_t *weight_at; /* [n_weights] */
    int8_t *expert_at; /* [n_layer × n_expert] */
    uint64_t left_out; /* bytes asked for on a GPU that it has no room for */
};

/* Reads the options. A pattern that matches nothing is a warning. Errors: HTH_ERROR_ARGUMENT for a
 * pattern that is none or a device that `machine` has not, HTH_ERROR_MEMORY. */
HTH_MUST_CHECK hand_read(struct hand *out, const struct model *model, const struct machine *machine,
                         const struct hth_model_options *options, const struct log *log);
void hand_free(struct hand *hand);

/* May everything be on this GPU? */
bool hand_allows_whole(const struct hand *hand, const struct units *units, int device);

/* A GPU is no more: nothing is said of it, and those behind it have the number before. */
void hand_drop_device(struct hand *hand, const struct model *model, int device);

/* Binds units fresh from units_create: sets where each may live, and takes parts out of them.
 * `working`: bytes of a GPU beside units. */
void hand_bind(struct hand *hand, const struct model *model, const struct machine *machine,
               struct units *units, uint64_t working);

/* Says how much of what was asked for has no room, if any. */
void hand_say_left_out(const struct hand *hand, const struct machine *machine,
                       const struct log *log);

#endif
