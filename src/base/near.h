/*
 * near.h — what was probably meant by a name that is in no list.
 *
 * Owns nothing; any thread.
 */
#ifndef BASE_NEAR_H
#define BASE_NEAR_H

/* The name in a NULL-terminated list that was probably meant: one that begins with `name`, or is a
 * letter or two away from it; else the longest that is the beginning or the end of `name`, or has
 * it there. NULL if none is near. */
const char *nearest_name(const char *name, const char *const *names);

#endif
