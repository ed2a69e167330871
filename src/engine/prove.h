/*
 * prove.h — which kernels are right on a device, found out before a model runs there for the first
 * time, and remembered in the cache folder.
 *
 * One file per device, of one driver and one build of hearth: what was checked, and which rows are
 * barred because their numbers were wrong, the driver refused them or the device was lost. Owns
 * what it found. One thread.
 */
#ifndef ENGINE_PROVE_H
#define ENGINE_PROVE_H

#include "gpu/selftest.h"
#include "hearth/hearth.h"
#include "model/model.h"

enum { PROVE_SECONDS = 3 /* usually */, PROVE_MAX_BUCKETS = 48 };

struct proof {
    struct row_bars bars;
    int n_checked;       /* just now: kernels, by what they are specialised for */
    double seconds;      /* that this took, without what the driver's compiler did */
    bool unfinished;     /* time was up: the others come at the next start */
    char unfit[64];      /* an op for which no row is left; "": there is none */
    double most_seconds; /* for checking */
    const char *heard;   /* the caller's last error that was logged: a driver's reason */
    struct table *tuned; /* kernels that are to be used where they are right; NULL: none are */
    int n_untuned;       /* of its entries: cleared just now, as they are not */
};

/* The numbers of tokens that programs are made for, up to those of a batch, in the order of
 * checking: the largest first, so that what all share is checked with many tokens; then one; then
 * so many that few-token kernels take several rounds and the last is not full. Returns how many. */
int prove_buckets(int n_batch, int *buckets);

/* Checks what a model will use in sessions of this kind and is not known to be right. most_seconds,
 * heard and tuned are set before, all else is zero; proof_free after failures, too. Errors:
 * HTH_ERROR_MEMORY, HTH_ERROR_DEVICE_LOST (the row is barred). */
HTH_MUST_CHECK prove_model(struct proof *proof, struct vk *vk, const struct model *model,
                           const struct hth_session_options *session, const struct log *log);
void proof_free(struct proof *proof);

#endif
