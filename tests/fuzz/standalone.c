/*
 * standalone.c — a small fuzzer for builds without libFuzzer: any compiler, any sanitizer.
 *
 *   fuzz_x [--seconds N] [--fail-allocations] [--seed S] [FILE | FOLDER]…
 *
 * First every file is fed as it is, then mutations of them until the time is over, the same ones
 * for the same seed. With --fail-allocations each input is run with one allocation failing. A crash
 * leaves its input in crash-<program>.bin of the current folder.
 */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>

#include "base/attr.h"
#include "base/mem.h"
#include "base/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* What a target may bring, and what it may call then. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
    __attribute__((weak));
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

enum { MAX_BYTES = 1 << 18, MAX_FILES = 4096 };

struct input {
    uint8_t *bytes;
    size_t size;
};

static struct input files[MAX_FILES];
static size_t n_files;
static uint8_t current[MAX_BYTES];
static size_t current_size;
static char crash_path[256];
static struct rng rng;

/* Only calls that are safe in a signal handler. */
static void save_current(void)
{
    int file = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file < 0)
        return;
    ssize_t written = write(file, current, current_size);
    (void)written;
    close(file);
}

static void on_signal(int number)
{
    save_current();
    signal(number, SIG_DFL);
    raise(number);
}

static void add_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || n_files == MAX_FILES) {
        fprintf(stderr, "cannot read %s: %s\n", path, strerror(errno));
        exit(2);
    }
    uint8_t *bytes = mem_alloc(MAX_BYTES);
    if (!bytes)
        abort();
    size_t size = fread(bytes, 1, MAX_BYTES, file);
    fclose(file);
    files[n_files++] = (struct input){bytes, size};
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A file, or the files of a folder in the order of their names. */
static void add_path(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) {
        add_file(path);
        return;
    }
    static char *names[MAX_FILES];
    size_t n = 0;
    for (struct dirent *entry; n < MAX_FILES && (entry = readdir(folder));) {
        if (entry->d_name[0] != '.')
            names[n++] = mem_strdup(entry->d_name);
    }
    closedir(folder);
    qsort(names, n, sizeof *names, compare_text);
    for (size_t i = 0; i < n; i++) {
        char full[4096];
        snprintf(full, sizeof full, "%s/%s", path, names[i]);
        add_file(full);
        mem_free(names[i]);
    }
}

static uint64_t interesting(void)
{
    static const uint64_t values[] = {0,          1,          0x7f,       0x80,
                                      0xff,       0x7fff,     0x8000,     0xffff,
                                      0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff,
                                      1ull << 63, UINT64_MAX, 1ull << 61, 0x2000000000000001};
    return values[rng_below(&rng, ARRAY_LEN(values))] + (uint64_t)(int64_t)(rng_below(&rng, 3)) - 1;
}

static void insert(size_t at, const uint8_t *bytes, size_t size)
{
    if (size > MAX_BYTES - current_size)
        size = MAX_BYTES - current_size;
    static uint8_t copy[MAX_BYTES];
    memcpy(copy, bytes, size);
    memmove(current + at + size, current + at, current_size - at);
    memcpy(current + at, copy, size);
    current_size += size;
}

static void mutate_once(void)
{
    static const char *const pieces[] = {"{{",           "}}",
                                         "{%",           "%}",
                                         "\"",           "'",
                                         "\\",           "\n",
                                         "\xff",         "\xf0\x9f\x98\x80",
                                         "\xe2\x96\x81", "[",
                                         "](",           "1e999",
                                         "-1",           "\0x",
                                         "<0x0A>",       "GGUF"};
    size_t at = current_size ? rng_below(&rng, (uint32_t)current_size + 1) : 0;
    size_t left = current_size - at;
    size_t span = left ? 1 + rng_below(&rng, (uint32_t)(left < 64 ? left : 64)) : 0;
    switch (rng_below(&rng, 9)) {
    case 0:
        if (left)
            current[at] ^= (uint8_t)(1u << rng_below(&rng, 8));
        break;
    case 1:
        if (left)
            current[at] = (uint8_t)rng_u32(&rng);
        break;
    case 2: {
        uint64_t value = interesting();
        size_t width = (size_t)1 << rng_below(&rng, 4);
        memcpy(current + at, &value, width < left ? width : left);
        break;
    }
    case 3: /* take a piece away */
        memmove(current + at, current + at + span, left - span);
        current_size -= span;
        break;
    case 4: /* say a piece twice, or many times */
        for (uint32_t n = rng_below(&rng, 20) ? 1 : 200; n > 0 && span; n--)
            insert(at, current + at, span);
        break;
    case 5: {
        const char *piece = pieces[rng_below(&rng, ARRAY_LEN(pieces))];
        insert(at, (const uint8_t *)piece, strlen(piece));
        break;
    }
    case 6: /* a piece of another input */
        if (n_files) {
            const struct input *other = &files[rng_below(&rng, (uint32_t)n_files)];
            size_t from = other->size ? rng_below(&rng, (uint32_t)other->size) : 0;
            size_t n = other->size - from;
            insert(at, other->bytes + from, n < 256 ? n : 256);
        }
        break;
    case 7: current_size = at; break;
    default: { /* move a piece */
        size_t to = current_size ? rng_below(&rng, (uint32_t)current_size) : 0;
        size_t n = current_size - to < span ? current_size - to : span;
        memmove(current + to, current + at, n);
        break;
    }
    }
}

/* On bytes that are not the current input, which waits meanwhile. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
    static uint8_t waiting[MAX_BYTES];
    size_t n_waiting = current_size;
    memcpy(waiting, current, n_waiting);
    memcpy(current, data, size);
    current_size = size;
    mutate_once();
    size = current_size < max_size ? current_size : max_size;
    memcpy(data, current, size);
    memcpy(current, waiting, n_waiting);
    current_size = n_waiting;
    return size;
}

static void mutate(void)
{
    static uint8_t copy[MAX_BYTES];
    if (!LLVMFuzzerCustomMutator || rng_below(&rng, 4) == 0) {
        mutate_once();
        return;
    }
    memcpy(copy, current, current_size);
    size_t size = LLVMFuzzerCustomMutator(copy, current_size, sizeof copy, rng_u32(&rng));
    memcpy(current, copy, size);
    current_size = size;
}

struct countdown {
    uint32_t left;
};

static bool fail_at_zero(void *user, size_t size)
{
    (void)size;
    return ((struct countdown *)user)->left-- != 0;
}

static void run_current(bool fail_allocations)
{
    /* A copy of exact size on the heap, so that a sanitizer sees every byte read past its end. */
    uint8_t *copy = malloc(current_size ? current_size : 1);
    if (!copy)
        abort();
    memcpy(copy, current, current_size);
    struct countdown countdown = {fail_allocations ? rng_below(&rng, 1 + rng_below(&rng, 200)) : 0};
    if (fail_allocations)
        mem_set_hook(fail_at_zero, &countdown);
    LLVMFuzzerTestOneInput(copy, current_size);
    mem_set_hook(NULL, NULL);
    free(copy);
}

static void take(const struct input *input)
{
    memcpy(current, input->bytes, input->size);
    current_size = input->size;
}

static double seconds_now(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    double seconds = 2;
    uint64_t seed = 1;
    bool fail_allocations = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            seconds = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--fail-allocations") == 0)
            fail_allocations = true;
        else
            add_path(argv[i]);
    }
    const char *override = getenv("HEARTH_FUZZ_SECONDS");
    if (override && *override)
        seconds = strtod(override, NULL);
    const char *name = strrchr(argv[0], '/');
    snprintf(crash_path, sizeof crash_path, "crash-%s.bin", name ? name + 1 : argv[0]);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(save_current);
    signal(SIGABRT, on_signal);
    rng = rng_seed(seed);
    for (size_t i = 0; i < n_files; i++) {
        take(&files[i]);
        run_current(fail_allocations);
    }
    unsigned long long rounds = 0;
    for (double end = seconds_now() + seconds; seconds_now() < end; rounds++) {
        current_size = 0;
        if (n_files)
            take(&files[rng_below(&rng, (uint32_t)n_files)]);
        for (uint32_t n = 1 + rng_below(&rng, 6); n > 0; n--)
            mutate();
        run_current(fail_allocations);
    }
    printf("%zu files and %llu mutations of them, seed %" PRIu64 "\n", n_files, rounds, seed);
    for (size_t i = 0; i < n_files; i++)
        mem_free(files[i].bytes);
    return 0;
}
