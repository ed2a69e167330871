/*
 * tuned.h — what `hearth tune` found best for a model, kept in the user's cache folder.
 *
 * One file per model and device, under what it depends on: the device and its driver, the
 * processor, hearth's build. A model that is opened uses it where nothing else is said. What is not
 * as it was written, or of another machine or build, is ignored with a line and begun anew, so that
 * the line comes once. Owns nothing. One thread.
 */
#ifndef ENGINE_TUNED_H
#define ENGINE_TUNED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/str.h"
#include "hearth/hearth.h"

/* All zero: as planned. */
struct tuned {
    int n_threads, n_batch;
    uint64_t vram_bytes; /* of the GPU's memory at most; 0: what there is */
    bool no_gpu;         /* the CPU alone is faster */
};

/* Where it is kept: the path of the file (empty: there is no place) and what it depends on. */
struct tuned_file {
    struct strbuf path, of;
};
void tuned_file_free(struct tuned_file *file);

/* While a model is opened, the device that it may use being open, whether it will be used or not:
 * finds its file, and what was kept becomes what its options say, as far as they say nothing.
 * Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK tuned_use(struct hth_model *model);

/* Takes the file's name out of a model that is open; the caller's. */
struct tuned_file tuned_take_file(struct hth_model *model);

/* Where the file cannot be written, a warning says so. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK tuned_store(const struct tuned_file *file, const struct tuned *tuned,
                           const struct log *log);

#endif
