#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00
#endif
#define WIN32_LEAN_AND_MEAN
#include "base/os.h"

#include <fcntl.h>
#include <io.h>
#include <stdlib.h>
#include <windows.h>

#include <shellapi.h> /* wants windows.h before it */

#include "base/mem.h"

/* --- UTF-8 here, UTF-16 there -------------------------------------------------------------------
 */

/* A text in UTF-16. Usual paths need no heap, so that asking what a path names cannot fail for want
 * of memory. */
struct wide {
    wchar_t *text; /* NULL when there is no room or the bytes are no UTF-8 */
    wchar_t small[300];
};

static const wchar_t *to_wide(struct wide *wide, const char *text)
{
    wide->text = NULL;
    int n = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, NULL, 0);
    if (n <= 0)
        return NULL;
    if ((size_t)n <= ARRAY_LEN(wide->small))
        wide->text = wide->small;
    else
        wide->text = mem_alloc((size_t)n * sizeof *wide->text);
    if (!wide->text)
        SetLastError(ERROR_NOT_ENOUGH_MEMORY);
    else
        MultiByteToWideChar(CP_UTF8, 0, text, -1, wide->text, n);
    return wide->text;
}

/* Frees without touching what GetLastError will say. */
static void free_wide(struct wide *wide)
{
    DWORD error = GetLastError();
    if (wide->text != wide->small)
        mem_free(wide->text);
    SetLastError(error);
}

static void close_handle(HANDLE handle)
{
    DWORD error = GetLastError();
    CloseHandle(handle);
    SetLastError(error);
}

/* Appends an environment variable as UTF-8; false when it is unset or empty. */
static bool append_env(struct strbuf *out, const wchar_t *name)
{
    const wchar_t *value = _wgetenv(name);
    if (!value || !*value)
        return false;
    int n = WideCharToMultiByte(CP_UTF8, 0, value, -1, NULL, 0, NULL, NULL);
    char *text = n > 0 ? mem_alloc((size_t)n) : NULL;
    if (!text) {
        out->failed |= n > 0; /* out of memory is not "unset" */
        return false;
    }
    WideCharToMultiByte(CP_UTF8, 0, value, -1, text, n, NULL, NULL);
    for (char *c = text; *c; c++)
        strbuf_append_char(out, *c == '\\' ? '/' : *c);
    mem_free(text);
    return !out->failed;
}

/* --- threads ------------------------------------------------------------------------------------
 */

static SRWLOCK *lock_of(struct os_mutex *mutex)
{
    return (SRWLOCK *)(void *)&mutex->state;
}

static CONDITION_VARIABLE *condition_of(struct os_cond *cond)
{
    return (CONDITION_VARIABLE *)(void *)&cond->state;
}

void os_mutex_init(struct os_mutex *mutex)
{
    InitializeSRWLock(lock_of(mutex));
}

void os_mutex_destroy(struct os_mutex *mutex)
{
    (void)mutex;
}

void os_mutex_lock(struct os_mutex *mutex)
{
    AcquireSRWLockExclusive(lock_of(mutex));
}

void os_mutex_unlock(struct os_mutex *mutex)
{
    ReleaseSRWLockExclusive(lock_of(mutex));
}

void os_cond_init(struct os_cond *cond)
{
    InitializeConditionVariable(condition_of(cond));
}

void os_cond_destroy(struct os_cond *cond)
{
    (void)cond;
}

void os_cond_wait(struct os_cond *cond, struct os_mutex *mutex)
{
    SleepConditionVariableSRW(condition_of(cond), lock_of(mutex), INFINITE, 0);
}

void os_cond_signal(struct os_cond *cond)
{
    WakeConditionVariable(condition_of(cond));
}

void os_cond_broadcast(struct os_cond *cond)
{
    WakeAllConditionVariable(condition_of(cond));
}

struct start {
    os_thread_fn *fn;
    void *arg;
};

static DWORD WINAPI run_thread(void *arg)
{
    struct start start = *(struct start *)arg;
    mem_free(arg);
    start.fn(start.arg);
    return 0;
}

bool os_thread_start(struct os_thread *thread, os_thread_fn *fn, void *arg)
{
    struct start *start = mem_alloc(sizeof *start);
    if (!start) {
        SetLastError(ERROR_NOT_ENOUGH_MEMORY);
        return false;
    }
    *start = (struct start){fn, arg};
    HANDLE handle = CreateThread(NULL, 0, run_thread, start, 0, NULL);
    if (!handle) {
        mem_free(start);
        return false;
    }
    thread->handle = (uintptr_t)handle;
    return true;
}

void os_thread_join(struct os_thread *thread)
{
    WaitForSingleObject((HANDLE)thread->handle, INFINITE);
    CloseHandle((HANDLE)thread->handle);
}

/* The affinity mask knows one group of at most 64 processors only. */
int os_cpu_count(void)
{
    DWORD_PTR mine = 0, all = 0;
    if (GetActiveProcessorGroupCount() == 1 &&
        GetProcessAffinityMask(GetCurrentProcess(), &mine, &all) && mine)
        return __builtin_popcountll(mine);
    DWORD n = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    return n > 0 ? (int)n : 1;
}

/* --- clock and memory ---------------------------------------------------------------------------
 */

uint64_t os_time_ns(void)
{
    LARGE_INTEGER frequency, count;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&count);
    uint64_t per_s = (uint64_t)frequency.QuadPart, ticks = (uint64_t)count.QuadPart;
    return ticks / per_s * 1000000000u + ticks % per_s * 1000000000u / per_s;
}

uint64_t os_memory_total_bytes(void)
{
    MEMORYSTATUSEX info = {.dwLength = sizeof info};
    return GlobalMemoryStatusEx(&info) ? info.ullTotalPhys : 0;
}

uint64_t os_memory_available_bytes(void)
{
    MEMORYSTATUSEX info = {.dwLength = sizeof info};
    return GlobalMemoryStatusEx(&info) ? info.ullAvailPhys : 0;
}

/* --- mappings -----------------------------------------------------------------------------------
 */

/* The view keeps the file alive; the handles are not needed afterwards. */
static bool map_view(struct os_mapping *mapping, HANDLE file)
{
    LARGE_INTEGER size;
    if (GetFileType(file) != FILE_TYPE_DISK) {
        SetLastError(ERROR_BAD_FILE_TYPE);
        return false;
    }
    if (!GetFileSizeEx(file, &size))
        return false;
    if (size.QuadPart == 0)
        return true;
    HANDLE section = CreateFileMappingW(file, NULL, PAGE_READONLY, 0, 0, NULL);
    if (!section)
        return false;
    mapping->data = MapViewOfFile(section, FILE_MAP_READ, 0, 0, 0);
    close_handle(section);
    if (!mapping->data)
        return false;
    mapping->size_bytes = (uint64_t)size.QuadPart;
    return true;
}

bool os_map_file(struct os_mapping *mapping, const char *path)
{
    *mapping = (struct os_mapping){0};
    struct wide wide;
    if (!to_wide(&wide, path))
        return false;
    HANDLE file = CreateFileW(wide.text, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, NULL,
                              OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    free_wide(&wide);
    if (file == INVALID_HANDLE_VALUE)
        return false;
    bool ok = map_view(mapping, file);
    close_handle(file);
    return ok;
}

void os_unmap(struct os_mapping *mapping)
{
    if (mapping->data)
        UnmapViewOfFile(mapping->data);
    *mapping = (struct os_mapping){0};
}

/* Unlocking pages that are not locked takes them out of the working set:
 * https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtualunlock */
/* Here they need a privilege that users do not have. */
void os_memory_large_pages(void *data, uint64_t size_bytes)
{
    (void)data;
    (void)size_bytes;
}

void os_map_drop(const void *data, uint64_t size_bytes)
{
    enum { PAGE = 4096 };
    uintptr_t from = ((uintptr_t)data + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    uintptr_t to = ((uintptr_t)data + (uintptr_t)size_bytes) & ~(uintptr_t)(PAGE - 1);
    if (to > from)
        VirtualUnlock((void *)from, to - from);
}

void os_map_prefetch(const void *data, uint64_t size_bytes)
{
    WIN32_MEMORY_RANGE_ENTRY range = {(void *)(uintptr_t)data, (SIZE_T)size_bytes};
    if (size_bytes > 0)
        PrefetchVirtualMemory(GetCurrentProcess(), 1, &range, 0);
}

/* --- files and folders --------------------------------------------------------------------------
 */

enum os_file_kind os_stat(const char *path, uint64_t *size_bytes, uint64_t *mtime_ns)
{
    WIN32_FILE_ATTRIBUTE_DATA info;
    struct wide wide;
    if (!to_wide(&wide, path))
        return OS_FILE_NONE;
    BOOL found = GetFileAttributesExW(wide.text, GetFileExInfoStandard, &info);
    free_wide(&wide);
    if (!found)
        return OS_FILE_NONE;
    if (size_bytes)
        *size_bytes = (uint64_t)info.nFileSizeHigh << 32 | info.nFileSizeLow;
    if (mtime_ns) { /* 100 ns since 1601 → ns since 1970 */
        uint64_t ticks = (uint64_t)info.ftLastWriteTime.dwHighDateTime << 32 |
                         info.ftLastWriteTime.dwLowDateTime;
        *mtime_ns = (ticks - 116444736000000000u) * 100;
    }
    return info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY ? OS_FILE_FOLDER
           : info.dwFileAttributes & FILE_ATTRIBUTE_DEVICE  ? OS_FILE_OTHER
                                                            : OS_FILE_REGULAR;
}

FILE *os_fopen(const char *path, const char *mode)
{
    struct wide wide, wide_mode;
    bool ok = to_wide(&wide, path) && to_wide(&wide_mode, mode);
    FILE *file = ok ? _wfopen(wide.text, wide_mode.text) : NULL;
    free_wide(&wide);
    return file;
}

/* Parents that exist, drives included, fail to be created; what counts is the folder at the end. */
bool os_make_folders(const char *path)
{
    struct wide wide;
    if (!to_wide(&wide, path))
        return false;
    for (wchar_t *c = wide.text; *c; c++)
        if (c != wide.text && (*c == L'/' || *c == L'\\')) {
            wchar_t slash = *c;
            *c = 0;
            CreateDirectoryW(wide.text, NULL);
            *c = slash;
        }
    CreateDirectoryW(wide.text, NULL);
    free_wide(&wide);
    DWORD error = GetLastError();
    bool ok = os_stat(path, NULL, NULL) == OS_FILE_FOLDER;
    SetLastError(error);
    return ok;
}

bool os_rename(const char *from, const char *to)
{
    struct wide wide_from, wide_to;
    to_wide(&wide_from, from);
    to_wide(&wide_to, to);
    bool ok = wide_from.text && wide_to.text &&
              MoveFileExW(wide_from.text, wide_to.text, MOVEFILE_REPLACE_EXISTING);
    free_wide(&wide_from);
    free_wide(&wide_to);
    return ok;
}

bool os_remove(const char *path)
{
    struct wide wide;
    bool ok = to_wide(&wide, path) && DeleteFileW(wide.text);
    free_wide(&wide);
    return ok;
}

bool os_lock(FILE *file)
{
    OVERLAPPED from_start = {0};
    return LockFileEx((HANDLE)_get_osfhandle(_fileno(file)),
                      LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, MAXDWORD, MAXDWORD,
                      &from_start) != 0;
}

bool os_process_exists(unsigned long id)
{
    HANDLE process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, id);
    if (!process)
        return GetLastError() != ERROR_INVALID_PARAMETER;
    DWORD code;
    bool ended = GetExitCodeProcess(process, &code) && code != STILL_ACTIVE;
    close_handle(process);
    return !ended;
}

/* Usual paths need no heap here either: who cleans up cannot be short of memory. */
bool os_list_folder(const char *path, os_entry_fn *fn, void *user)
{
    char pattern[4096];
    struct wide wide;
    WIN32_FIND_DATAW entry;
    if ((size_t)snprintf(pattern, sizeof pattern, "%s/*", path) >= sizeof pattern) {
        SetLastError(ERROR_FILENAME_EXCED_RANGE);
        return false;
    }
    HANDLE folder =
        to_wide(&wide, pattern) ? FindFirstFileW(wide.text, &entry) : INVALID_HANDLE_VALUE;
    free_wide(&wide);
    if (folder == INVALID_HANDLE_VALUE)
        return false;
    do {
        char name[4 * MAX_PATH];
        if (WideCharToMultiByte(CP_UTF8, 0, entry.cFileName, -1, name, sizeof name, NULL, NULL) > 0)
            fn(user, name);
    } while (FindNextFileW(folder, &entry));
    FindClose(folder);
    return true;
}

bool os_flush(FILE *file)
{
    if (fflush(file) != 0)
        return false;
    HANDLE handle = (HANDLE)_get_osfhandle(_fileno(file));
    return GetFileType(handle) != FILE_TYPE_DISK || FlushFileBuffers(handle);
}

static bool user_folder(struct strbuf *out, const wchar_t *own)
{
    if (append_env(out, own))
        return true;
    if (out->failed || !append_env(out, L"LOCALAPPDATA"))
        return false;
    strbuf_append(out, STR("/hearth"));
    return !out->failed;
}

bool os_cache_folder(struct strbuf *out)
{
    return user_folder(out, L"HEARTH_CACHE");
}

bool os_data_folder(struct strbuf *out)
{
    return user_folder(out, L"HEARTH_DATA");
}

bool os_home_folder(struct strbuf *out)
{
    return append_env(out, L"USERPROFILE");
}

bool os_make_private(FILE *file)
{
    (void)file; /* what is below %LOCALAPPDATA% is the user's own already */
    return true;
}

unsigned long os_process_id(void)
{
    return GetCurrentProcessId();
}

/* --- the program's surroundings -----------------------------------------------------------------
 */

/* _isatty would say yes to NUL. */
bool os_is_terminal(FILE *stream)
{
    DWORD mode;
    return GetConsoleMode((HANDLE)_get_osfhandle(_fileno(stream)), &mode) != 0;
}

void os_interrupt_as_key(FILE *terminal)
{
    (void)terminal; /* nobody edits lines here */
}

void os_wait_line(FILE *terminal, bool (*stop)(void))
{
    (void)terminal;
    (void)stop;
}

/* Bytes of a console would be in its code page, and zero where that is UTF-8 and the character is
 * not ASCII (https://github.com/microsoft/terminal/issues/4551): so it is read as UTF-16. A unit
 * becomes at most three bytes. Ctrl-C ends the read with nothing; Ctrl-Z the input, and as people
 * are told everywhere, Ctrl-D. */
char *os_gets(char *text, int size, FILE *stream)
{
    enum { CTRL_D = 4, CTRL_Z = 26 };
    wchar_t wide[1024];
    DWORD n = 0, more = 0;
    if (!os_is_terminal(stream))
        return fgets(text, size, stream);
    HANDLE console = (HANDLE)_get_osfhandle(_fileno(stream));
    int room = (size - 1) / 3 < (int)ARRAY_LEN(wide) ? (size - 1) / 3 : (int)ARRAY_LEN(wide);
    SetLastError(ERROR_SUCCESS);
    if (room < 2 || !ReadConsoleW(console, wide, (DWORD)room - 1, &n, NULL) || n == 0 ||
        wide[0] == CTRL_Z || wide[0] == CTRL_D) {
        if (GetLastError() == ERROR_OPERATION_ABORTED)
            Sleep(100); /* until the handler of Ctrl-C was called, which is on another thread */
        return NULL;
    }
    if (IS_HIGH_SURROGATE(wide[n - 1]) && ReadConsoleW(console, wide + n, 1, &more, NULL))
        n += more;
    int length = WideCharToMultiByte(CP_UTF8, 0, wide, (int)n, text, size - 1, NULL, NULL);
    text[length > 0 ? length : 0] = '\0';
    return length > 0 ? text : NULL;
}

/* main's own are in the system's code page, which has no room for most characters. */
char **os_program_args(int *argc, char **argv)
{
    int n = 0, bytes = 0;
    wchar_t **wide = CommandLineToArgvW(GetCommandLineW(), &n);
    for (int i = 0; wide && i < n; i++)
        bytes += WideCharToMultiByte(CP_UTF8, 0, wide[i], -1, NULL, 0, NULL, NULL);
    char **list = wide ? mem_calloc((size_t)n + 1, sizeof *list) : NULL;
    char *text = list && bytes > 0 ? mem_alloc((size_t)bytes) : NULL;
    if (!text) { /* better the system's than none */
        mem_free(list);
        LocalFree(wide);
        return argv;
    }
    for (int i = 0, at = 0; i < n; i++) {
        list[i] = text + at;
        at += WideCharToMultiByte(CP_UTF8, 0, wide[i], -1, text + at, bytes - at, NULL, NULL);
    }
    LocalFree(wide);
    *argc = n;
    return list;
}

/* The console outlives the program: its code page and modes are given back as they were. */
static struct {
    UINT code_page, input_code_page;
    DWORD modes[2];
} console_before;
static const DWORD console_streams[] = {STD_OUTPUT_HANDLE, STD_ERROR_HANDLE};

static void restore_console(void)
{
    fflush(NULL);
    for (size_t i = 0; i < ARRAY_LEN(console_streams); i++)
        if (console_before.modes[i])
            SetConsoleMode(GetStdHandle(console_streams[i]), console_before.modes[i]);
    if (console_before.code_page)
        SetConsoleOutputCP(console_before.code_page);
    if (console_before.input_code_page)
        SetConsoleCP(console_before.input_code_page);
}

/* Colours and the progress bar are escape sequences, which a console follows on demand:
 * https://learn.microsoft.com/windows/console/console-virtual-terminal-sequences
 * Streams are buffered until they are flushed: without, printf hands on each byte alone, and a
 * console shows no character that comes in pieces. */
void os_program_start(void)
{
    _setmode(_fileno(stdin), _O_BINARY);
    _setmode(_fileno(stdout), _O_BINARY);
    _setmode(_fileno(stderr), _O_BINARY);
    setvbuf(stdout, NULL, _IOFBF, 1 << 14);
    setvbuf(stderr, NULL, _IOFBF, 1 << 12);
    console_before.code_page = GetConsoleOutputCP();
    console_before.input_code_page = GetConsoleCP();
    SetConsoleOutputCP(CP_UTF8);
    SetConsoleCP(CP_UTF8);
    for (size_t i = 0; i < ARRAY_LEN(console_streams); i++) {
        HANDLE stream = GetStdHandle(console_streams[i]);
        DWORD *mode = &console_before.modes[i];
        if (GetConsoleMode(stream, mode))
            SetConsoleMode(stream,
                           *mode | ENABLE_PROCESSED_OUTPUT | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
        else
            *mode = 0;
    }
    atexit(restore_console);
}

static void (*interrupt_fn)(void);

static BOOL WINAPI on_control(DWORD event)
{
    if (event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT)
        return FALSE;
    if (interrupt_fn)
        interrupt_fn();
    return TRUE;
}

void os_on_interrupt(void (*fn)(void))
{
    static bool installed;
    interrupt_fn = fn;
    if ((fn != NULL) != installed && SetConsoleCtrlHandler(on_control, fn != NULL))
        installed = fn != NULL;
}

void *os_library_open(const char *name)
{
    struct wide wide;
    HMODULE library = to_wide(&wide, name) ? LoadLibraryW(wide.text) : NULL;
    free_wide(&wide);
    return library;
}

void *os_library_symbol(void *library, const char *name)
{
    return (void *)(uintptr_t)GetProcAddress(library, name);
}

void os_library_close(void *library)
{
    if (library)
        FreeLibrary(library);
}

const char *os_error_text(void)
{
    static _Thread_local char text[512];
    wchar_t wide[256];
    DWORD error = GetLastError();
    DWORD n = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL,
                             error, 0, wide, (DWORD)ARRAY_LEN(wide), NULL);
    while (n > 0 && (wide[n - 1] == L'\r' || wide[n - 1] == L'\n' || wide[n - 1] == L'.'))
        n--;
    int len = WideCharToMultiByte(CP_UTF8, 0, wide, (int)n, text, (int)sizeof text - 1, NULL, NULL);
    text[len > 0 ? len : 0] = '\0';
    if (len <= 0)
        snprintf(text, sizeof text, "error %lu", error);
    return text;
}

bool os_cpu_has_arm_dot(void)
{
    return IsProcessorFeaturePresent(43); /* PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE */
}

void os_cpu_name(struct strbuf *out)
{
    const char *name = getenv("PROCESSOR_IDENTIFIER");
    strbuf_append(out, str_of(name ? name : ""));
}
