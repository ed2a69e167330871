/*
 * hostroof.c — what the processor's memory and threads give just now: bytes/s that all threads read
 * together from RAM, and what a barrier of them takes.
 *
 * Virtual machines change both within seconds, by where their host puts them; so it takes half a
 * second, to be run before and after what it is held against.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "base/pool.h"
#include "cpu/ahead.h"

enum {
    BYTES = 256 << 20, /* no cache holds them */
    BLOCK = 1 << 20,
    LINE = 64,
    PASSES = 10, /* of each way of reading: a fifth of a second */
    MEETINGS = 5,
    BARRIERS = 20000
};

static void write_log(void *user, enum hth_log_level level, const char *line)
{
    (void)user, (void)level;
    fprintf(stderr, "hostroof: %s\n", line);
}

static const struct log talk = {.write = write_log, .max_level = HTH_LOG_WARNING};

/* --- reading ---------------------------------------------------------------------------------- */

struct reading {
    const unsigned char *data;
    bool asks;         /* for what comes later, as kernels do */
    atomic_ullong sum; /* which is looked at, so that nothing is left out */
};

static void read_block(void *arg, int index, int thread)
{
    struct reading *reading = arg;
    const unsigned char *from = reading->data + (size_t)index * BLOCK;
    uint64_t sum = 0;
    (void)thread;
    for (size_t at = 0; at < BLOCK; at += LINE) {
        uint64_t words[LINE / sizeof(uint64_t)];
        if (reading->asks)
            ATTR_PREFETCH(from + at + AHEAD_BYTES);
        memcpy(words, from + at, LINE);
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            sum += words[i];
    }
    atomic_fetch_add_explicit(&reading->sum, sum, memory_order_relaxed);
}

/* Bytes/s, lasting: the mean of all passes, of the better way; 0: what was read is not what is
 * there. */
static double measure_reading(struct pool *pool, const unsigned char *data)
{
    double took_s[2] = {0};
    for (int pass = 0; pass < 2 * PASSES; pass++) {
        struct reading reading = {.data = data, .asks = pass % 2};
        uint64_t began = os_time_ns();
        pool_run(pool, read_block, &reading, BYTES / BLOCK);
        took_s[pass % 2] += (double)(os_time_ns() - began) / 1e9;
        if (atomic_load(&reading.sum) != BYTES / sizeof(uint64_t) * UINT64_C(0x0101010101010101))
            return 0;
    }
    return (double)BYTES * PASSES / (took_s[0] < took_s[1] ? took_s[0] : took_s[1]);
}

/* --- barriers --------------------------------------------------------------------------------- */

struct meeting {
    int n_threads;
    atomic_int n_here, round;
    uint64_t took_ns;
};

static void wait_for_all(struct meeting *meeting)
{
    int round = atomic_load_explicit(&meeting->round, memory_order_relaxed);
    if (atomic_fetch_add(&meeting->n_here, 1) + 1 == meeting->n_threads) {
        atomic_store(&meeting->n_here, 0);
        atomic_store(&meeting->round, round + 1);
        return;
    }
    while (atomic_load(&meeting->round) == round)
        ;
}

/* As many pieces as threads: none ends before each has one. */
static void meet(void *arg, int index, int thread)
{
    struct meeting *meeting = arg;
    (void)thread;
    wait_for_all(meeting);
    uint64_t began = os_time_ns();
    for (int i = 0; i < BARRIERS; i++)
        wait_for_all(meeting);
    if (index == 0)
        meeting->took_ns = os_time_ns() - began;
}

/* The best of some. */
static double measure_barrier_ns(struct pool *pool)
{
    double best_ns = 1e30;
    for (int pass = 0; pass < MEETINGS; pass++) {
        struct meeting meeting = {.n_threads = pool_threads(pool)};
        pool_run(pool, meet, &meeting, meeting.n_threads);
        double ns = (double)meeting.took_ns / BARRIERS;
        best_ns = ns < best_ns ? ns : best_ns;
    }
    return best_ns;
}

int main(int argc, char **argv)
{
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    const int most = os_cpu_count(), n_threads = argc > 1 + json ? atoi(argv[1 + json]) : most;
    struct pool *pool = NULL;
    if (argc > 2 + json || n_threads < 1 || n_threads > most) {
        fprintf(stderr, "usage: hostroof [--json] [THREADS]; at most %d, one per processor\n",
                most);
        return 2;
    }
    unsigned char *data = mem_alloc(BYTES + AHEAD_BYTES);
    if (!data || pool_create(&pool, n_threads, &talk)) {
        mem_free(data);
        fprintf(stderr, "hostroof: there is no memory of 256 MiB, or no thread\n");
        return 1;
    }
    memset(data, 1, BYTES + AHEAD_BYTES);
    double read = measure_reading(pool, data), barrier_ns = measure_barrier_ns(pool);
    pool_destroy(pool);
    mem_free(data);
    if (read <= 0) {
        fprintf(stderr, "hostroof: what was read is not what was written\n");
        return 1;
    }
    printf(json ? "{\"threads\": %d, \"read_gb_per_s\": %.3f, \"barrier_ns\": %.1f}\n"
                : "%d threads: %.1f GB/s from RAM, a barrier takes %.0f ns\n",
           n_threads, read / 1e9, barrier_ns);
    return 0;
}
