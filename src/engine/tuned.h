/*
 * tuned.h — what `hearth tune` found best for a model, kept in the user's cache folder.
 *
 * One file per model and device, under what it depends on: the device and its driver, the
 * processor, hearth's build. A model that is opened uses it where nothing else is said. What is not
 * as it was written, or of another machine, is ignored with a line. Owns nothing. One thread.
 */
#ifndef ENGINE_TUNED_H
#define ENGINE_TUNED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "hearth/hearth.h"

/* All zero: as planned. */
struct tuned {
    int n_threads, n_batch;
    uint64_t vram_bytes; /* of the GPU's memory at most; 0: what there is */
    bool no_gpu;         /* the CPU alone is faster */
};

/* Keeps it for a model that is open: for its device, or, with no_gpu, the one that it would be on.
 * Where the file cannot be written, a warning says so. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK tuned_store(const struct hth_model *model, const struct tuned *tuned);

/* While a model is opened, its device being open: what was kept becomes what its options say, as
 * far as they say nothing. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK tuned_use(struct hth_model *model);

/* Where it is kept. False when there is no place; out->failed as usual. */
bool tuned_path(const struct hth_model *model, struct strbuf *out);

#endif
