#include "base/pool.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"

/* Spins before a thread sleeps: some tens of microseconds, longer than the gap between two ops of a
 * token. Where others want the processors too, a thread that spins has used up its share when there
 * is work, and one that slept goes first. It does not yield either: a busy process then gets the
 * processor for milliseconds, at each op. Measured with SmolLM2 135M on 2 processors, tokens/s
 * alone, beside a test run, beside two endless loops: 4000 spins 31.6, 10.3, 4; 1500 spins 31.6,
 * 13.0, 4 to 8; 500 spins 28.6, 14.9, 5 to 7; 500 spins and 400 yields: 31, 14.5, 1 to 2. */
enum { SPINS = 1500 };

enum { LINE = 128 }; /* what processors pass between each other at once, or fetch in pairs */

/* A thread of the pool; the first is the caller, who has a share only. */
struct worker {
    /* Its share of a job: which job, and below it the next index. A share of an older job is one
     * that nobody began, so that starting a job means writing one line, not one for each thread. */
    _Alignas(LINE) _Atomic uint64_t claimed;
    _Alignas(LINE) atomic_uint done; /* the job it has finished last */
    struct pool *pool;
    struct os_thread thread;
    int index;
};

struct pool {
    /* What a job is, together: workers wait for the number to change, and then need the rest. */
    _Alignas(LINE) atomic_uint job;
    atomic_bool stop;
    int count;
    pool_fn *fn;
    void *arg;
    _Alignas(LINE) struct os_mutex lock;
    struct os_cond wake, done;
    atomic_int n_asleep; /* workers that want `wake` */
    atomic_bool waiting; /* the caller wants `done` */
    int n_threads;
    struct worker workers[]; /* [n_threads] */
};

/* The next index of the share of thread `owner`; −1: it is used up. */
static int claim(struct pool *pool, unsigned job, int owner)
{
    _Atomic uint64_t *claimed = &pool->workers[owner].claimed;
    int64_t count = pool->count, n = pool->n_threads;
    uint32_t begin = (uint32_t)(count * owner / n), end = (uint32_t)(count * (owner + 1) / n);
    uint64_t before = atomic_load_explicit(claimed, memory_order_relaxed);
    for (;;) {
        uint32_t index = before >> 32 == job ? (uint32_t)before : begin;
        if (index >= end)
            return -1;
        uint64_t after = (uint64_t)job << 32 | (index + 1);
        if (atomic_compare_exchange_weak_explicit(claimed, &before, after, memory_order_relaxed,
                                                  memory_order_relaxed))
            return (int)index;
    }
}

/* Its own share in order, so that what it reads is one stream; then what others left. */
static void work(struct pool *pool, unsigned job, int thread)
{
    for (int i = 0; i < pool->n_threads; i++) {
        int owner = (thread + i) % pool->n_threads, index;
        while ((index = claim(pool, job, owner)) >= 0)
            pool->fn(pool->arg, index, thread);
    }
}

/* Waits until the job's number leaves `seen`; returns the new one. Before it sleeps a worker says
 * so, and looks again: it or the caller sees the other. */
static unsigned wait_for_job(struct pool *pool, unsigned seen)
{
    for (int i = 0; i < SPINS; i++) {
        unsigned job = atomic_load_explicit(&pool->job, memory_order_acquire);
        if (job != seen)
            return job;
        os_cpu_relax();
    }
    os_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->n_asleep, 1);
    while (atomic_load(&pool->job) == seen)
        os_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->n_asleep, 1);
    os_mutex_unlock(&pool->lock);
    return atomic_load(&pool->job);
}

/* The mirror of wait_for_workers. */
static void finish_job(struct worker *worker, unsigned job)
{
    struct pool *pool = worker->pool;
    atomic_store(&worker->done, job);
    if (atomic_load(&pool->waiting)) {
        os_mutex_lock(&pool->lock);
        os_cond_signal(&pool->done);
        os_mutex_unlock(&pool->lock);
    }
}

static bool all_done(struct pool *pool, unsigned job)
{
    for (int i = 1; i < pool->n_threads; i++)
        if (atomic_load(&pool->workers[i].done) != job)
            return false;
    return true;
}

/* Spins as long as a worker is likely to be busy, then sleeps: where there are more threads than
 * processors, spinning would take the processor from the very worker that is waited for. */
static void wait_for_workers(struct pool *pool, unsigned job)
{
    for (int i = 0; i < SPINS; i++) {
        if (all_done(pool, job))
            return;
        os_cpu_relax();
    }
    os_mutex_lock(&pool->lock);
    atomic_store(&pool->waiting, true);
    while (!all_done(pool, job))
        os_cond_wait(&pool->done, &pool->lock);
    atomic_store(&pool->waiting, false);
    os_mutex_unlock(&pool->lock);
}

static void worker_main(void *arg)
{
    struct worker *worker = arg;
    struct pool *pool = worker->pool;
    unsigned job = 0;
    for (;;) {
        job = wait_for_job(pool, job);
        if (atomic_load(&pool->stop))
            return;
        work(pool, job, worker->index);
        finish_job(worker, job);
    }
}

/* Starts the next job; returns its number. */
static unsigned announce(struct pool *pool)
{
    unsigned job = atomic_load_explicit(&pool->job, memory_order_relaxed) + 1;
    atomic_store(&pool->job, job);
    if (atomic_load(&pool->n_asleep) > 0) {
        os_mutex_lock(&pool->lock);
        os_cond_broadcast(&pool->wake);
        os_mutex_unlock(&pool->lock);
    }
    return job;
}

enum hth_status pool_create(struct pool **out, int n_threads, const struct log *log)
{
    *out = NULL;
    if (n_threads <= 0)
        n_threads = os_cpu_count();
    size_t bytes = sizeof(struct pool) + (size_t)n_threads * sizeof(struct worker);
    struct pool *pool = mem_alloc_aligned(bytes, LINE);
    if (!pool)
        return log_fail_memory(log, "a thread pool", bytes);
    memset(pool, 0, bytes);
    os_mutex_init(&pool->lock);
    os_cond_init(&pool->wake);
    os_cond_init(&pool->done);
    pool->n_threads = n_threads;
    for (int i = 1; i < n_threads; i++) {
        struct worker *worker = &pool->workers[i];
        worker->pool = pool;
        worker->index = i;
        if (!os_thread_start(&worker->thread, worker_main, worker)) {
            log_warning(log, "only %d of %d threads could be started: %s", i, n_threads,
                        os_error_text());
            pool->n_threads = i;
            break;
        }
    }
    *out = pool;
    return HTH_OK;
}

void pool_destroy(struct pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->stop, true);
    announce(pool);
    for (int i = 1; i < pool->n_threads; i++)
        os_thread_join(&pool->workers[i].thread);
    os_cond_destroy(&pool->wake);
    os_cond_destroy(&pool->done);
    os_mutex_destroy(&pool->lock);
    mem_free_aligned(pool);
}

int pool_threads(const struct pool *pool)
{
    return pool ? pool->n_threads : 1;
}

void pool_run(struct pool *pool, pool_fn *fn, void *arg, int count)
{
    if (!pool || pool->n_threads == 1 || count <= 1) {
        for (int i = 0; i < count; i++)
            fn(arg, i, 0);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    pool->count = count;
    unsigned job = announce(pool);
    work(pool, job, 0);
    wait_for_workers(pool, job);
}
