/*
 * json_read.h — reading JSON with jansson, which tells a lack of memory as a fault of the text.
 *
 * A string for which there is no room is "string or '}' expected", without a code. So the program
 * has jansson allocate through base/mem.h, where failures are seen; a host program that uses the
 * library alone keeps its own allocator, and there only what jansson says itself is known. Owns a
 * flag per thread. Any thread; json_use_memory before jansson is used at all.
 */
#ifndef TEXT_JSON_READ_H
#define TEXT_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <jansson.h>

/* Jansson's memory is base/mem.h's from here on, in the whole process. */
void json_use_memory(void);

/* json_loadb; NULL text is an empty one. On failure (NULL) `error` is filled in. */
json_t *json_read(const char *text, size_t len, size_t flags, json_error_t *error);

/* Of the error of a json_read that gave NULL: was memory missing, and not the text at fault? */
bool json_lacked_memory(const json_error_t *error);

#endif
