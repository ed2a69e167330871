/*
 * pool.h — persistent threads that share out the pieces of one job at a time.
 *
 * Owns its threads. `pool_run` may be called by one thread at a time; the caller works too. Workers
 * spin briefly for the next job, then sleep.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/attr.h"
#include "base/log.h"

struct pool;

/* One piece of a job: `index` in [0, count); `thread` in [0, pool_threads), for scratch memory. */
typedef void pool_fn(void *arg, int index, int thread);

/* A pool of `n_threads` in all, the caller included; 0 means one per processor. */
HTH_MUST_CHECK pool_create(struct pool **out, int n_threads, const struct log *log);
void pool_destroy(struct pool *pool);

/* Threads in all, the caller included. A NULL pool has 1. */
int pool_threads(const struct pool *pool);

/* Runs fn for every index below `count`, handed out one by one; returns when all are done. A NULL
 * pool runs them in order on the calling thread. */
void pool_run(struct pool *pool, pool_fn *fn, void *arg, int count);

#endif
