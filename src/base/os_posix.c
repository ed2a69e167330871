#define _GNU_SOURCE
#include "base/os.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__) && defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "base/cgroup.h"
#include "base/mem.h"

void os_mutex_init(struct os_mutex *mutex)
{
    pthread_mutex_init(&mutex->state, NULL);
}

void os_mutex_destroy(struct os_mutex *mutex)
{
    pthread_mutex_destroy(&mutex->state);
}

void os_mutex_lock(struct os_mutex *mutex)
{
    pthread_mutex_lock(&mutex->state);
}

void os_mutex_unlock(struct os_mutex *mutex)
{
    pthread_mutex_unlock(&mutex->state);
}

void os_cond_init(struct os_cond *cond)
{
    pthread_cond_init(&cond->state, NULL);
}

void os_cond_destroy(struct os_cond *cond)
{
    pthread_cond_destroy(&cond->state);
}

void os_cond_wait(struct os_cond *cond, struct os_mutex *mutex)
{
    pthread_cond_wait(&cond->state, &mutex->state);
}

void os_cond_signal(struct os_cond *cond)
{
    pthread_cond_signal(&cond->state);
}

void os_cond_broadcast(struct os_cond *cond)
{
    pthread_cond_broadcast(&cond->state);
}

struct start {
    os_thread_fn *fn;
    void *arg;
};

static void interrupt_only(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
}

static void *run_thread(void *arg)
{
    struct start start = *(struct start *)arg;
    mem_free(arg);
    start.fn(start.arg);
    return NULL;
}

bool os_thread_start(struct os_thread *thread, os_thread_fn *fn, void *arg)
{
    struct start *start = mem_alloc(sizeof *start);
    if (!start) {
        errno = ENOMEM;
        return false;
    }
    *start = (struct start){fn, arg};
    /* Ctrl-C interrupts the wait of the thread that had it from the system, no worker's */
    sigset_t interrupt, before;
    interrupt_only(&interrupt);
    pthread_sigmask(SIG_BLOCK, &interrupt, &before);
    pthread_t id;
    int error = pthread_create(&id, NULL, run_thread, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        mem_free(start);
        errno = error;
        return false;
    }
    thread->handle = (uintptr_t)id;
    return true;
}

void os_thread_join(struct os_thread *thread)
{
    pthread_join((pthread_t)thread->handle, NULL);
}

static int quota; /* in processors, of this process's control group; 0: none */

static void read_quota(void)
{
    quota = cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
}

int os_cpu_count(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_quota);
    cpu_set_t set;
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        n = CPU_COUNT(&set);
    if (quota && quota < n)
        n = quota;
    return n > 0 ? (int)n : 1;
}

uint64_t os_time_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A field of /proc/meminfo ("MemTotal:"), in bytes; 0 if it is not there. */
static uint64_t meminfo(const char *field)
{
    FILE *file = fopen("/proc/meminfo", "re");
    if (!file)
        return 0;
    char line[256];
    unsigned long long kib = 0;
    size_t len = strlen(field);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, field, len) == 0) {
            kib = strtoull(line + len, NULL, 10);
            break;
        }
    fclose(file);
    return (uint64_t)kib * 1024;
}

uint64_t os_memory_total_bytes(void)
{
    struct sysinfo info;
    uint64_t bytes = meminfo("MemTotal:");
    return bytes || sysinfo(&info) != 0 ? bytes : (uint64_t)info.totalram * info.mem_unit;
}

/* Without /proc what nothing is in at all, which is less. */
uint64_t os_memory_available_bytes(void)
{
    struct sysinfo info;
    uint64_t bytes = meminfo("MemAvailable:"),
             left = cgroup_memory_left("/proc/self/cgroup", "/sys/fs/cgroup");
    if (!bytes && sysinfo(&info) == 0)
        bytes = (uint64_t)info.freeram * info.mem_unit;
    return bytes < left ? bytes : left;
}

static bool map_fd(struct os_mapping *mapping, int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return false;
    if (!S_ISREG(info.st_mode)) {
        errno = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
        return false;
    }
    if (info.st_size == 0)
        return true;
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return false;
    mapping->data = data;
    mapping->size_bytes = (uint64_t)info.st_size;
    return true;
}

bool os_map_file(struct os_mapping *mapping, const char *path)
{
    *mapping = (struct os_mapping){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait */
    if (fd < 0)
        return false;
    bool ok = map_fd(mapping, fd);
    int error = errno;
    close(fd);
    errno = error;
    return ok;
}

void os_unmap(struct os_mapping *mapping)
{
    if (mapping->data)
        munmap((void *)(uintptr_t)mapping->data, (size_t)mapping->size_bytes);
    *mapping = (struct os_mapping){0};
}

/* Calls madvise on the whole pages inside (drop) or around (prefetch) a range. */
static void advise(const void *data, uint64_t size_bytes, bool inside, int advice)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = (uintptr_t)data, to = from + (uintptr_t)size_bytes;
    from = inside ? (from + page - 1) & ~(page - 1) : from & ~(page - 1);
    to = inside ? to & ~(page - 1) : to;
    if (to > from)
        madvise((void *)from, to - from, advice);
}

void os_memory_large_pages(void *data, uint64_t size_bytes)
{
#ifdef MADV_HUGEPAGE
    advise(data, size_bytes, true, MADV_HUGEPAGE);
#else
    (void)data;
    (void)size_bytes;
#endif
}

void os_map_drop(const void *data, uint64_t size_bytes)
{
    advise(data, size_bytes, true, MADV_DONTNEED);
}

void os_map_prefetch(const void *data, uint64_t size_bytes)
{
    advise(data, size_bytes, false, MADV_WILLNEED);
}

enum os_file_kind os_stat(const char *path, uint64_t *size_bytes, uint64_t *mtime_ns)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return OS_FILE_NONE;
    if (size_bytes)
        *size_bytes = (uint64_t)info.st_size;
    if (mtime_ns)
        *mtime_ns = (uint64_t)info.st_mtim.tv_sec * 1000000000u + (uint64_t)info.st_mtim.tv_nsec;
    return S_ISREG(info.st_mode)   ? OS_FILE_REGULAR
           : S_ISDIR(info.st_mode) ? OS_FILE_FOLDER
                                   : OS_FILE_OTHER;
}

FILE *os_fopen(const char *path, const char *mode)
{
    return fopen(path, mode);
}

/* Parents that exist may refuse mkdir for other reasons than that (read-only, no permission). */
static bool make_folder(const char *path)
{
    if (mkdir(path, 0777) == 0)
        return true;
    int error = errno;
    if (os_stat(path, NULL, NULL) == OS_FILE_FOLDER)
        return true;
    errno = error == EEXIST ? ENOTDIR : error;
    return false;
}

bool os_make_folders(const char *path)
{
    char *part = mem_strdup(path);
    if (!part) {
        errno = ENOMEM;
        return false;
    }
    bool ok = true;
    for (char *c = part; ok && *c; c++)
        if (*c == '/' && c != part) {
            *c = '\0';
            ok = make_folder(part);
            *c = '/';
        }
    ok = ok && make_folder(part);
    int error = errno;
    mem_free(part);
    errno = error;
    return ok;
}

bool os_rename(const char *from, const char *to)
{
    return rename(from, to) == 0;
}

bool os_remove(const char *path)
{
    return unlink(path) == 0;
}

bool os_lock(FILE *file)
{
    return flock(fileno(file), LOCK_EX | LOCK_NB) == 0;
}

bool os_process_exists(unsigned long id)
{
    return kill((pid_t)id, 0) == 0 || errno != ESRCH;
}

bool os_list_folder(const char *path, os_entry_fn *fn, void *user)
{
    DIR *folder = opendir(path);
    if (!folder)
        return false;
    for (struct dirent *entry; (entry = readdir(folder));)
        fn(user, entry->d_name);
    closedir(folder);
    return true;
}

bool os_flush(FILE *file)
{
    /* pipes and devices have no disk to wait for, and say EINVAL */
    return fflush(file) == 0 && (fsync(fileno(file)) == 0 || errno == EINVAL || errno == EROFS);
}

/* A folder of hearth's own: the first of these variables that is set says where. */
static bool user_folder(struct strbuf *out, const char *own, const char *xdg, const char *in_home)
{
    const char *whole = getenv(own), *parent = getenv(xdg), *home = getenv("HOME");
    if (whole && *whole)
        strbuf_printf(out, "%s", whole);
    else if (parent && parent[0] == '/')
        strbuf_printf(out, "%s/hearth", parent);
    else if (home && *home)
        strbuf_printf(out, "%s/%s/hearth", home, in_home);
    else
        return false;
    return !out->failed;
}

bool os_cache_folder(struct strbuf *out)
{
    return user_folder(out, "HEARTH_CACHE", "XDG_CACHE_HOME", ".cache");
}

bool os_data_folder(struct strbuf *out)
{
    return user_folder(out, "HEARTH_DATA", "XDG_DATA_HOME", ".local/share");
}

bool os_home_folder(struct strbuf *out)
{
    const char *home = getenv("HOME");
    if (!home || !*home)
        return false;
    strbuf_append(out, str_of(home));
    return !out->failed;
}

bool os_make_private(FILE *file)
{
    return fchmod(fileno(file), 0600) == 0;
}

unsigned long os_process_id(void)
{
    return (unsigned long)getpid();
}

bool os_is_terminal(FILE *stream)
{
    return isatty(fileno(stream)) == 1;
}

void os_interrupt_as_key(FILE *terminal)
{
    struct termios modes;
    if (tcgetattr(fileno(terminal), &modes) != 0)
        return;
    modes.c_cc[VINTR] = _POSIX_VDISABLE;
    tcsetattr(fileno(terminal), TCSADRAIN, &modes);
}

void os_wait_line(FILE *terminal, bool (*stop)(void))
{
    sigset_t interrupt, before;
    interrupt_only(&interrupt);
    pthread_sigmask(SIG_BLOCK, &interrupt, &before);
    int n;
    do {
        struct pollfd ready = {.fd = fileno(terminal), .events = POLLIN};
        n = stop() ? 0 : ppoll(&ready, 1, NULL, &before);
    } while (n < 0 && errno == EINTR);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

char *os_gets(char *text, int size, FILE *stream)
{
    return fgets(text, size, stream);
}

char **os_program_args(int *argc, char **argv)
{
    (void)argc;
    return argv;
}

void os_program_start(void)
{
    signal(SIGPIPE, SIG_IGN);
}

static void (*interrupt_fn)(void);

static void on_signal(int number)
{
    (void)number;
    if (interrupt_fn)
        interrupt_fn();
}

void os_on_interrupt(void (*fn)(void))
{
    interrupt_fn = fn;
    struct sigaction action = {.sa_handler = fn ? on_signal : SIG_DFL};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

/* dlopen has words of its own and no errno: this number, which no system uses, points at them. */
enum { ERROR_OF_LIBRARY = 1000000 };
static _Thread_local char library_error[256];

void *os_library_open(const char *name)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        snprintf(library_error, sizeof library_error, "%s", why ? why : "unknown reason");
        errno = ERROR_OF_LIBRARY;
    }
    return library;
}

void *os_library_symbol(void *library, const char *name)
{
    return dlsym(library, name);
}

void os_library_close(void *library)
{
    if (library)
        dlclose(library);
}

const char *os_error_text(void)
{
    return errno == ERROR_OF_LIBRARY ? library_error : strerror(errno);
}

bool os_cpu_has_arm_dot(void)
{
#if defined(__linux__) && defined(__aarch64__)
    return getauxval(AT_HWCAP) >> 20 & 1; /* HWCAP_ASIMDDP */
#elif defined(__APPLE__) && defined(__aarch64__)
    return true; /* all of Apple's have it */
#else
    return false;
#endif
}

/* Linux: "model name\t: …" of the first processor. */
void os_cpu_name(struct strbuf *out)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        line[strcspn(line, "\n")] = '\0';
        strbuf_append(out, str_of(colon + 1 + (colon[1] == ' ')));
        break;
    }
    if (file)
        fclose(file);
}
