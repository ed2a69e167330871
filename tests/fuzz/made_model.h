/*
 * made_model.h — a small model described by a few bytes, for fuzzing what bytes of a whole file
 * rarely reach.
 *
 * Any bytes give a file whose directory is sound and whose tensors have the shapes that its
 * architecture asks for: sizes, formats, which optional weights there are and further keys come
 * from the bytes, and so do the weights. The table of an architecture tells which weights it has,
 * so that a new one is covered when it is there. One thread.
 */
#ifndef FUZZ_MADE_MODEL_H
#define FUZZ_MADE_MODEL_H

#include "gguf/gguf_write.h"
#include "recipe.h"

/* Appends the file to `out`; what is left of the recipe are the weights, said again and again.
 * `talks` gives it a vocabulary, a template and advice on sampling (made_vocab.h), which come
 * before the weights. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK made_model_write(struct recipe *recipe, bool talks, struct strbuf *out);

#endif
