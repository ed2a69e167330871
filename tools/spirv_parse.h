/*
 * spirv_parse.h — what a SPIR-V compute module says about itself: interface, needs, sizes.
 *
 * Owns the arrays of the result. Takes any bytes: what is malformed, or uses what hearth's shaders
 * do not (64-bit specialization constants, specialization constants of operations it cannot
 * evaluate), is refused with a sentence. Source of all numbers: the SPIR-V specification 1.6,
 * sections 2.3 and 3. Threads: none shared.
 */
#ifndef TOOLS_SPIRV_PARSE_H
#define TOOLS_SPIRV_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vk/shader_blob.h"

struct spirv_info {
    uint32_t push_bytes;       /* padded to the block's largest scalar, as C pads a struct */
    struct shader_spec *specs; /* ascending by id; names are owned */
    uint32_t n_specs;
    uint32_t *capabilities; /* ascending, each once */
    uint32_t n_capabilities;
    uint32_t shared_bytes;
    uint16_t local_size[3];
    int32_t local_size_spec[3];
    bool uses_subgroups;
    bool uses_addresses; /* and nothing at binding 0 */
    uint8_t reads_counts;
};

/* Reads a module of `n_words` words in host byte order with one compute entry point. On success
 * returns true and `out` is to be given to `spirv_info_clear`; else false, `out` is zeroed and
 * `error` (of `error_size` bytes) holds the reason. */
bool spirv_parse(const uint32_t *words, size_t n_words, struct spirv_info *out, char *error,
                 size_t error_size);

void spirv_info_clear(struct spirv_info *info);

/* Copies a valid module without its debug instructions (names, source, lines) into `out`, which has
 * room for `n_words`; returns how many words it wrote. */
size_t spirv_strip(const uint32_t *words, size_t n_words, uint32_t *out);

#endif
