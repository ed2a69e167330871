/*
 * gguf_mutator.h — changes to a GGUF file that leave it one, for fuzzing what lies behind the
 * reader.
 *
 * A random change of bytes mostly breaks the directory of keys and tensors, and the reader refuses
 * the file. These change a value, a name, a type or a shape and write the directory anew; now and
 * then they leave it to the plain mutator. One thread.
 */
#ifndef FUZZ_GGUF_MUTATOR_H
#define FUZZ_GGUF_MUTATOR_H

#include <stddef.h>
#include <stdint.h>

/* The plain mutator, libFuzzer's or standalone.c's. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/* As libFuzzer calls it: changes `data` in place and returns its new size, at most `max_size`. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

#endif
