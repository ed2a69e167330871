/*
 * interpose.c — stands between a program of ours and the C library (LD_PRELOAD) and fails one call.
 *
 *   HEARTH_FAIL=fwrite:3:28     the 4th fwrite fails with errno 28 (0: the program is killed there)
 *   HEARTH_FAIL_REPORT=FILE     written at exit: "call NAME COUNT", "failed NAME"
 *
 * Only calls from the program itself count, not those of libraries: their failures are theirs to
 * report. An fwrite that fails writes half; an fclose that fails has closed. stderr is left alone.
 * A program that is not named hearth (a shell on the way to it) is left alone, too. glibc only.
 * Under sanitizers, which bring their own malloc, memory is left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define CALLS(X)                                                                                   \
    X(malloc)                                                                                      \
    X(calloc)                                                                                      \
    X(realloc)                                                                                     \
    X(fopen)                                                                                       \
    X(fread)                                                                                       \
    X(fwrite)                                                                                      \
    X(vprintf)                                                                                     \
    X(fflush) X(fclose) X(fsync) X(rename) X(mkdir) X(unlink) X(open) X(fstat) X(fchmod) X(mmap)

enum call {
#define NUMBER(name) CALL_##name,
    CALLS(NUMBER) N_CALLS
};

static const char *const names[] = {
#define NAME(name) #name,
    CALLS(NAME)};

static struct {
    atomic_int n_calls[N_CALLS];
    atomic_int n_failed;
    int call, at, error; /* the plan; call −1: none */
    uintptr_t from, to;  /* the program's code; both 0: not a program of ours, or not known yet */
} state = {.call = -1};

static int find_program(struct dl_phdr_info *info, size_t size, void *user)
{
    (void)size;
    (void)user;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && part->p_flags & PF_X) {
            state.from = info->dlpi_addr + part->p_vaddr;
            state.to = state.from + part->p_memsz;
        }
    }
    return 1; /* the first is the program itself */
}

__attribute__((constructor)) static void start(void)
{
    const char *plan = getenv("HEARTH_FAIL");
    char name[32];
    if (strcmp(program_invocation_short_name, "hearth") != 0)
        return;
    if (plan && sscanf(plan, "%31[^:]:%d:%d", name, &state.at, &state.error) == 3)
        for (int i = 0; i < N_CALLS; i++)
            if (strcmp(names[i], name) == 0)
                state.call = i;
    dl_iterate_phdr(find_program, NULL);
}

__attribute__((destructor)) static void report(void)
{
    const char *path = getenv("HEARTH_FAIL_REPORT");
    if (!state.to || !path)
        return;
    state.to = 0;
    FILE *file = fopen(path, "w");
    if (!file)
        return;
    for (int i = 0; i < N_CALLS; i++)
        if (state.n_calls[i])
            fprintf(file, "call %s %d\n", names[i], atomic_load(&state.n_calls[i]));
    if (state.n_failed)
        fprintf(file, "failed %s\n", names[state.call]);
    fclose(file);
}

/* Counts a call; is it the one to fail? */
static bool fails(enum call call, const void *caller)
{
    uintptr_t at = (uintptr_t)caller;
    if (at < state.from || at >= state.to)
        return false;
    int number = atomic_fetch_add(&state.n_calls[call], 1);
    if ((int)call != state.call || number != state.at)
        return false;
    atomic_fetch_add(&state.n_failed, 1);
    if (state.error == 0)
        raise(SIGKILL);
    errno = state.error;
    return true;
}

#define FAILS(name) fails(CALL_##name, __builtin_return_address(0))
#define NEXT(name)                                                                                 \
    static __typeof__(name) *next;                                                                 \
    if (!next)                                                                                     \
    next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#if !defined(HEARTH_SANITIZED)
/* dlsym may allocate, so these are asked of glibc by their other names. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *ptr, size_t size);

void *malloc(size_t size)
{
    return FAILS(malloc) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return FAILS(calloc) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *ptr, size_t size)
{
    return FAILS(realloc) ? NULL : __libc_realloc(ptr, size);
}
#endif

/* What a stream remembers of a failure: ferror (_IO_ERR_SEEN of glibc). */
static void mark(FILE *file)
{
    file->_flags |= 0x20;
    errno = state.error;
}

FILE *fopen(const char *path, const char *mode)
{
    NEXT(fopen);
    return FAILS(fopen) ? NULL : next(path, mode);
}

size_t fread(void *data, size_t size, size_t count, FILE *file)
{
    NEXT(fread);
    if (!FAILS(fread))
        return next(data, size, count, file);
    mark(file);
    return 0;
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *file)
{
    NEXT(fwrite);
    if (file == stderr || !FAILS(fwrite))
        return next(data, size, count, file);
    size_t half = next(data, size, count / 2, file);
    mark(file);
    return half;
}

int vprintf(const char *fmt, va_list args)
{
    NEXT(vprintf);
    return FAILS(vprintf) ? -1 : next(fmt, args);
}

int fflush(FILE *file)
{
    NEXT(fflush);
    /* what has nothing to write cannot fail */
    return file && file != stderr && __fpending(file) && FAILS(fflush) ? EOF : next(file);
}

int fclose(FILE *file)
{
    NEXT(fclose);
    bool failed = FAILS(fclose);
    int result = next(file);
    if (!failed)
        return result;
    errno = state.error;
    return EOF;
}

int fsync(int fd)
{
    NEXT(fsync);
    return FAILS(fsync) ? -1 : next(fd);
}

int rename(const char *from, const char *to)
{
    NEXT(rename);
    return FAILS(rename) ? -1 : next(from, to);
}

int mkdir(const char *path, mode_t mode)
{
    NEXT(mkdir);
    return FAILS(mkdir) ? -1 : next(path, mode);
}

int unlink(const char *path)
{
    NEXT(unlink);
    return FAILS(unlink) ? -1 : next(path);
}

int open(const char *path, int flags, ...)
{
    NEXT(open);
    va_list args;
    va_start(args, flags);
    int mode = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    return FAILS(open) ? -1 : next(path, flags, mode);
}

int fstat(int fd, struct stat *info)
{
    NEXT(fstat);
    return FAILS(fstat) ? -1 : next(fd, info);
}

int fchmod(int fd, mode_t mode)
{
    NEXT(fchmod);
    return FAILS(fchmod) ? -1 : next(fd, mode);
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    NEXT(mmap);
    return FAILS(mmap) ? MAP_FAILED : next(address, size, protection, flags, fd, offset);
}
