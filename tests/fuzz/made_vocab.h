/*
 * made_vocab.h — the text side of a model's file, described by a few bytes, for fuzzing: a
 * vocabulary, a chat template, advice on sampling.
 *
 * Any bytes give keys; most have the type, length and range that a file of that tokenizer model
 * has, so that what lies behind the loader is reached, and each may be wrong, too. A recipe of
 * zeros is a vocabulary that is refused for having no tokens. One thread.
 */
#ifndef FUZZ_MADE_VOCAB_H
#define FUZZ_MADE_VOCAB_H

#include "gguf/gguf_write.h"
#include "recipe.h"

/* Keys `tokenizer.ggml.*` and general.name, for any tokenizer model and pre-tokenizer that hearth
 * knows, or none. */
void made_vocab_put(struct recipe *recipe, struct gguf_writer *writer);

/* Keys `tokenizer.chat_template` and `general.sampling.*`. */
void made_advice_put(struct recipe *recipe, struct gguf_writer *writer);

#endif
