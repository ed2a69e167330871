/*
 * kept.h — small JSON files in the user's cache folder: what was found out about a device, under a
 * text that is another where anything is that it depends on.
 *
 * What is not as it was written, or of another device, is ignored with a line, and what cannot be
 * written is worth a warning. Owns nothing. One thread.
 */
#ifndef ENGINE_KEPT_H
#define ENGINE_KEPT_H

#include <jansson.h>

#include "base/log.h"
#include "base/str.h"
#include "vk/vk.h"

/* The path of a device's file in a folder of the cache; `caps` NULL: of the CPU alone. False when
 * there is no place; out->failed as usual. */
bool kept_path(const char *folder, const struct vk_caps *caps, struct strbuf *out);

/* Appends hearth's build, and with `caps` device and driver. */
void kept_of(const struct vk_caps *caps, struct strbuf *out);

/* The folder of a file, with its parents; memory aside a failure is told by errno alone. */
HTH_MUST_CHECK kept_make_folder(const char *path);

/* Reads the file of an object whose "of" is such a text. *root is NULL where there is none, and
 * where it is ignored, so that *ignored (which may be NULL) is true; else the caller's. `path` may
 * be empty. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK kept_load(const struct strbuf *path, const struct strbuf *of, json_t **root,
                         bool *ignored, const struct log *log);

/* Writes an object and lets it go; NULL stands for one that there was no memory for. `so` ends the
 * warning where it cannot be written. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK kept_store(const struct strbuf *path, json_t *root, const char *so,
                          const struct log *log);

/* The line about a file that is sound JSON of this device and nothing that hearth wrote. */
void kept_ignore(const struct strbuf *path, const char *why, const struct log *log);

#endif
