/*
 * placing.h — where the parts of a model that is being opened go: the plan for the device at hand,
 * the split that follows from it, and the bytes that this takes, exactly.
 *
 * Owns plan and split of a model, from when it is opened to when it is closed; a model that moves
 * is decided upon anew. Nothing is allocated on the device here. One thread.
 */
#ifndef ENGINE_PLACING_H
#define ENGINE_PLACING_H

#include "base/pool.h"
#include "engine/hand.h"
#include "engine/split.h"
#include "gpu/exec.h"
#include "plan/plan.h"

/* Bytes of device memory. */
struct device_need {
    uint64_t fixed, weights;    /* what opening took; the model's */
    uint64_t cache, work, ring; /* a session's */
};

static inline uint64_t device_need_all(const struct device_need *need)
{
    return need->fixed + need->weights + need->cache + need->work + need->ring;
}

/* What is decided for, by device as in the machine: the first is the CPU. */
struct placing_devices {
    struct vk *vk[SPLIT_DEVICES];
    uint64_t most[SPLIT_DEVICES]; /* bytes to use at most; UINT64_MAX: what there is */
    int n;
};

struct placing {
    const struct model *model;
    struct hth_model_options opt;
    struct pool *pool;
    const char *rows;                           /* forced, or NULL */
    const struct row_bars *bars[SPLIT_DEVICES]; /* not to be used */
    const struct table *tuned[SPLIT_DEVICES];   /* kernels that are fastest there, or NULL */
    struct hth_session_options session;         /* that is planned for, filled in */
    int batch; /* tokens of a batch that nobody asked for, and that are more than usual; or 0 */
    struct machine machine;
    struct hand hand;
    bool hand_read; /* once: options need not outlive the opening of the model */
    struct units units;
    struct plan plan; /* without items: there is none */
    struct split split;
    int whole; /* the GPU that has everything, tables too; 0: none has */
    struct device_need need[SPLIT_DEVICES];
    uint64_t budget[SPLIT_DEVICES]; /* of `need`; 0: no such GPU */
    uint64_t whole_bytes; /* that all of it would take on one GPU; 0: not all is to be there */
    char sentence[1024];
};

/* Decides by these devices. On failure and when decided again what was there is freed. Errors:
 * HTH_ERROR_ARGUMENT, HTH_ERROR_LIMIT when a session fits nowhere, HTH_ERROR_MEMORY. */
HTH_MUST_CHECK placing_decide(struct placing *placing, const struct placing_devices *devices,
                              const struct log *log);
void placing_free(struct placing *placing);

/* A session's batch becomes larger where that pays (plan_choose_batch) and nobody has said how
 * large it is. Errors: those of plan_create. */
HTH_MUST_CHECK placing_fit_batch(struct hth_session_options *session, const struct machine *machine,
                                 const struct units *units, const struct plan_options *options,
                                 const struct log *log);

/* A GPU is no more: what options said of it is forgotten, and those behind it have the number
 * before. What was decided is not true any more. */
void placing_drop_device(struct placing *placing, int device);

/* What a session of this shape takes on a GPU, which `vk` is, and what is there already. */
HTH_MUST_CHECK placing_measure_session(const struct placing *placing, struct vk *vk, int device,
                                       const struct hth_session_options *session,
                                       struct device_need *need, const struct log *log);

/* Of all GPUs. */
uint64_t placing_gpu_bytes(const struct placing *placing);

/* Do options leave the CPU as it is when it is measured? */
bool placing_as_measured(const struct placing *placing);

/* Do the experts of a layer that are on the device change (experts.h)? The host then keeps all. */
bool placing_caches(const void *placing, int layer);

/* Bytes of a weight that the host keeps. */
uint64_t placing_host_bytes(const struct placing *placing, const struct weight *weight);

/* What an upload costs, in uses of an expert by the CPU; bytes to upload with a token. */
double placing_expert_price(const struct placing *placing);
uint64_t placing_expert_bytes(const struct placing *placing);

/* With so many tokens in a batch weights are streamed; 0: none ever are. */
int placing_stream_from(const struct placing *placing);

/* The weights that are streamed through a session's part on a GPU. */
struct gpu_stream placing_stream(const struct placing *placing, int device);

struct hth_plan_info placing_info(const struct placing *placing);

#endif
