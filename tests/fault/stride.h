/*
 * stride.h — which of many failures a run tries.
 *
 * HEARTH_TEST_STRIDE=n tries every n-th, 1 all of them; where it is not set each test has its own.
 * Pure functions.
 */
#ifndef FAULT_STRIDE_H
#define FAULT_STRIDE_H

#include <stdlib.h>

/* Of this run; `usual` where the environment says nothing. */
static inline int stride_or(int usual)
{
    const char *text = getenv("HEARTH_TEST_STRIDE");
    int n = text ? atoi(text) : 0;
    return n > 0 ? n : usual;
}

#endif
