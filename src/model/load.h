/*
 * load.h — what the files of loading share; nothing for others.
 *
 * Owns nothing. One thread per load.
 */
#ifndef MODEL_LOAD_H
#define MODEL_LOAD_H

#include "model/arch.h"

/* Widest row or column that hearth takes from a file; far above every model in use, and low enough
 * that no product of two widths overflows. */
enum { MODEL_MAX_WIDTH = 1 << 22 };

/* Reads the keys that all architectures share, and checks how they fit together; n_vocab is left
 * alone. Without `takes_experts` keys about experts are left alone too. Sets keys->failed, having
 * said why, when the file cannot be meant. */
void keys_read_common(struct key_reader *keys, struct hparams *hp, bool takes_experts);

#endif
