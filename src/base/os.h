/*
 * os.h — what differs between systems: threads, clock, mappings, folders, shared libraries.
 *
 * Implemented by os_posix.c and os_win32.c, the only files that name a system's interface. Paths
 * are UTF-8 with '/' (Windows accepts it). Owns no memory beyond what each function says. Any
 * thread: functions that fail set a text for `os_error_text`, which is per thread.
 */
#ifndef BASE_OS_H
#define BASE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/attr.h"
#include "base/str.h"

#if defined(_WIN32)
struct os_mutex {
    void *state; /* SRWLOCK */
};
struct os_cond {
    void *state; /* CONDITION_VARIABLE */
};
/* clang-format off */
#define OS_MUTEX_INIT {0}
#define OS_COND_INIT  {0}
/* clang-format on */
#else
#include <pthread.h>
struct os_mutex {
    pthread_mutex_t state;
};
struct os_cond {
    pthread_cond_t state;
};
/* clang-format off */
#define OS_MUTEX_INIT {PTHREAD_MUTEX_INITIALIZER}
#define OS_COND_INIT  {PTHREAD_COND_INITIALIZER}
/* clang-format on */
#endif

void os_mutex_init(struct os_mutex *mutex);
void os_mutex_destroy(struct os_mutex *mutex);
void os_mutex_lock(struct os_mutex *mutex);
void os_mutex_unlock(struct os_mutex *mutex);
void os_cond_init(struct os_cond *cond);
void os_cond_destroy(struct os_cond *cond);
void os_cond_wait(struct os_cond *cond, struct os_mutex *mutex);
void os_cond_signal(struct os_cond *cond);
void os_cond_broadcast(struct os_cond *cond);

struct os_thread {
    uintptr_t handle;
};
typedef void os_thread_fn(void *arg);

/* Starts `fn(arg)` on a new thread; false when the system refuses. Every thread is joined. */
ATTR_WARN_UNUSED bool os_thread_start(struct os_thread *thread, os_thread_fn *fn, void *arg);
void os_thread_join(struct os_thread *thread);

/* Processors this process may run on, by its affinity and its control group's quota; at least 1. */
int os_cpu_count(void);

/* Hint to the core that this is a spin loop. */
static inline void os_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Nanoseconds of a clock that only goes forward, from an unspecified start. */
uint64_t os_time_ns(void);

/* Bytes of physical memory, and how many of them could be had now; 0 if unknown. */
uint64_t os_memory_total_bytes(void);
uint64_t os_memory_available_bytes(void);

/* The whole file, read-only. `data` is NULL for an empty file. */
struct os_mapping {
    const void *data;
    uint64_t size_bytes;
    uintptr_t handle;
};
ATTR_WARN_UNUSED bool os_map_file(struct os_mapping *mapping, const char *path);
void os_unmap(struct os_mapping *mapping);

/* Asks for large pages under memory that is not yet written to. Advice. */
void os_memory_large_pages(void *data, uint64_t size_bytes);

/* Tells the system that a range of a mapping will not be needed soon / will be needed. Advice. */
void os_map_drop(const void *data, uint64_t size_bytes);
void os_map_prefetch(const void *data, uint64_t size_bytes);

enum os_file_kind { OS_FILE_NONE, OS_FILE_REGULAR, OS_FILE_FOLDER, OS_FILE_OTHER };

/* What a path names; `size_bytes` and `mtime_ns` may be NULL. */
enum os_file_kind os_stat(const char *path, uint64_t *size_bytes, uint64_t *mtime_ns);

/* fopen with a UTF-8 path. */
ATTR_WARN_UNUSED FILE *os_fopen(const char *path, const char *mode);

/* Creates a folder and its parents; true if it exists afterwards. */
bool os_make_folders(const char *path);

/* Renames over an existing file, atomically where the system can; flushes nothing. */
bool os_rename(const char *from, const char *to);
bool os_remove(const char *path);

/* Takes an open file until it is closed; false if somebody else has it. Binds those who ask only.
 */
bool os_lock(FILE *file);

/* Is there a process of this number? */
bool os_process_exists(unsigned long id);

/* Calls `fn` with the name of each entry of a folder, in no order; false if it cannot be read. */
typedef void os_entry_fn(void *user, const char *name);
bool os_list_folder(const char *path, os_entry_fn *fn, void *user);

/* Forces a written file to the disk. */
bool os_flush(FILE *file);

/* What the processor calls itself, "AMD Ryzen 7 …"; appends to `out`, nothing where it is not
 * known.
 */
void os_cpu_name(struct strbuf *out);

/* Where caches live, "…/hearth" (XDG_CACHE_HOME, ~/.cache; %LOCALAPPDATA%); HEARTH_CACHE wins.
 * Appends to `out`; false when no place is known. */
bool os_cache_folder(struct strbuf *out);

/* The same for what a user would miss if it were lost (XDG_DATA_HOME, ~/.local/share;
 * %LOCALAPPDATA%); HEARTH_DATA wins. */
bool os_data_folder(struct strbuf *out);

/* The user's own folder (HOME; %USERPROFILE%). Appends to `out`; false when no place is known. */
bool os_home_folder(struct strbuf *out);

/* Does this character end the name of a folder in a path? A user of Windows writes "\\" and "C:x".
 */
static inline bool os_is_separator(char c)
{
#if defined(_WIN32)
    return c == '/' || c == '\\' || c == ':';
#else
    return c == '/';
#endif
}

/* Lets nobody but the user read and write an open file. */
bool os_make_private(FILE *file);

/* This process's number, for names of temporary files. */
unsigned long os_process_id(void);

/* Is this stream a terminal? */
bool os_is_terminal(FILE *stream);

/* Makes Ctrl-C a character of this terminal, until somebody sets the terminal's modes again. */
void os_interrupt_as_key(FILE *terminal);

/* Waits until a terminal has a line to read or `stop` says so, which is asked first and after every
 * signal: a Ctrl-C just before the wait is not missed. Where a read itself ends on Ctrl-C
 * (Windows), this returns at once. */
void os_wait_line(FILE *terminal, bool (*stop)(void));

/* fgets, which from a terminal gives UTF-8 whatever the system says of it. */
char *os_gets(char *text, int size, FILE *stream);

/* A program's arguments as UTF-8, whatever main was given; they live as long as the process. */
char **os_program_args(int *argc, char **argv);

/* The standard streams pass bytes unchanged, consoles speak UTF-8 and follow escape sequences, a
 * closed pipe is an error instead of a signal. What is to be seen at once must be flushed. Called
 * once by a program's main. */
void os_program_start(void);

/* Calls `fn` (from another thread or a signal handler: set an atomic flag, no more) on Ctrl-C. */
void os_on_interrupt(void (*fn)(void));

/* Has this processor ARM's dot products of signed bytes? The system is who knows. */
bool os_cpu_has_arm_dot(void);

/* Opens a shared library; NULL if it is not there. */
ATTR_WARN_UNUSED void *os_library_open(const char *name);
void *os_library_symbol(void *library, const char *name);
void os_library_close(void *library);

/* Why the last call of this thread failed, in the system's words. */
const char *os_error_text(void);

#endif
