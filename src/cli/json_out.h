/*
 * json_out.h — JSON results: values that jansson takes as they are in files and drivers, printed.
 *
 * Owns nothing; what is returned is a new reference. A NULL anywhere means that memory ran out, and
 * jansson hands it on: json_print says so. The program's main thread.
 */
#ifndef CLI_JSON_OUT_H
#define CLI_JSON_OUT_H

#include <jansson.h>
#include <stdint.h>

#include "base/str.h"

/* Text; what is not UTF-8 becomes U+FFFD. */
json_t *json_text(struct str text);
/* A number; as text what JSON has no number for (2⁶³ and above, NaN, infinity). */
json_t *json_count(uint64_t value);
json_t *json_number(double value);

/* Adds to an array or an object, and takes `value` over. What cannot be added, NULL included, for
 * want of memory, makes the next json_print fail: the rest of a value is not printed as if it were
 * all. */
void json_push(json_t *array, json_t *value);
void json_set(json_t *object, const char *key, json_t *value);

/* Prints and releases a value, a newline after it; returns an exit code. */
int json_print(json_t *value);

#endif
