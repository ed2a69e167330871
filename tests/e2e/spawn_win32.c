#define WIN32_LEAN_AND_MEAN
#include "spawn_child.h"

#include <stdlib.h>
#include <windows.h>

#include "base/mem.h"
#include "base/os.h"

/* To be freed. */
static wchar_t *widen(const char *text)
{
    int n = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
    wchar_t *wide = mem_alloc((size_t)n * sizeof *wide);
    assert_non_null(wide);
    MultiByteToWideChar(CP_UTF8, 0, text, -1, wide, n);
    return wide;
}

/* One argument as CommandLineToArgvW reads it: backslashes count only before a quotation mark.
 * https://learn.microsoft.com/windows/win32/api/shellapi/nf-shellapi-commandlinetoargvw */
static void append_quoted(struct strbuf *line, const char *argument)
{
    size_t slashes = 0;
    strbuf_append_char(line, '"');
    for (const char *c = argument; *c; c++) {
        slashes = *c == '\\' ? slashes + 1 : 0;
        strbuf_append_char(line, *c);
        if (*c == '"') {
            line->ptr[line->len - 1] = '\\';
            strbuf_append_char(line, '"');
        }
        if (c[1] == '"' || !c[1])
            for (; slashes; slashes--)
                strbuf_append_char(line, '\\');
    }
    strbuf_append(line, STR("\" "));
}

static wchar_t *command_line(const char *program, const char *const *args)
{
    struct strbuf line = {0};
    append_quoted(&line, program);
    for (size_t i = 0; args[i] && i < SPAWN_MAX_ARGS; i++)
        append_quoted(&line, args[i]);
    assert_false(line.failed);
    wchar_t *wide = widen(line.ptr);
    strbuf_free(&line);
    return wide;
}

static HANDLE open_stream(const char *path, bool write)
{
    SECURITY_ATTRIBUTES inherited = {.nLength = sizeof inherited, .bInheritHandle = TRUE};
    wchar_t *wide = widen(path);
    HANDLE file = CreateFileW(wide, write ? GENERIC_WRITE : GENERIC_READ,
                              FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, &inherited,
                              write ? CREATE_ALWAYS : OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    mem_free(wide);
    assert_true(file != INVALID_HANDLE_VALUE);
    return file;
}

static HANDLE open_closed_pipe(void)
{
    HANDLE ends[2];
    assert_true(CreatePipe(&ends[0], &ends[1], NULL, 0));
    assert_true(SetHandleInformation(ends[1], HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT));
    CloseHandle(ends[0]);
    return ends[1];
}

/* Sets what the child shall inherit; the second call, with what the first returned, undoes it. */
static void exchange_environment(const struct spawn *spawn, wchar_t *kept[], bool restore)
{
    for (size_t i = 0; i < ARRAY_LEN(spawn->env) && spawn->env[i]; i++) {
        wchar_t *name = widen(spawn->env[i]), *value = wcschr(name, L'=');
        *value++ = 0;
        const wchar_t *now = _wgetenv(name);
        if (!restore)
            kept[i] = now ? _wcsdup(now) : NULL;
        _wputenv_s(name, !restore ? value : kept[i] ? kept[i] : L"");
        if (restore)
            free(kept[i]);
        mem_free(name);
    }
}

static bool start(const struct spawn *spawn, const char *const *args,
                  const struct spawn_files *files, PROCESS_INFORMATION *child)
{
    const char *program = spawn->program ? spawn->program : HEARTH_PROGRAM;
    STARTUPINFOW streams = {.cb = sizeof streams, .dwFlags = STARTF_USESTDHANDLES};
    streams.hStdInput = open_stream(files->in, false);
    streams.hStdOutput = spawn->closed_pipe ? open_closed_pipe() : open_stream(files->out, true);
    streams.hStdError = open_stream(files->err, true);
    wchar_t *line = command_line(program, args), *kept[ARRAY_LEN(spawn->env)];
    exchange_environment(spawn, kept, false);
    /* A group of its own is what one process alone can be interrupted by. */
    bool started = CreateProcessW(NULL, line, NULL, NULL, TRUE, CREATE_NEW_PROCESS_GROUP, NULL,
                                  NULL, &streams, child);
    exchange_environment(spawn, kept, true);
    mem_free(line);
    CloseHandle(streams.hStdInput);
    CloseHandle(streams.hStdOutput);
    CloseHandle(streams.hStdError);
    return started;
}

/* Waits until stdout's file is long enough, then presses Ctrl-Break: Ctrl-C reaches no single
 * process. Skips the test where no console is there to press it at. */
static void interrupt_when(const PROCESS_INFORMATION *child, const char *out, size_t bytes)
{
    uint64_t size = 0;
    for (int i = 0; i < SPAWN_MAX_SECONDS * 100 && size < bytes; i++) {
        if (WaitForSingleObject(child->hProcess, 10) == WAIT_OBJECT_0)
            return;
        os_stat(out, &size, NULL);
    }
    if (!GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, child->dwProcessId)) {
        TerminateProcess(child->hProcess, 1);
        WaitForSingleObject(child->hProcess, INFINITE);
        test_skip("no console through which a program can be interrupted");
    }
}

/* Under Wine drivers are found by the system's loader, which sees what this process was started
 * with. */
static void need_environment(const struct spawn *spawn)
{
    for (size_t i = 0; i < ARRAY_LEN(spawn->env) && spawn->env[i]; i++)
        if (strncmp(spawn->env[i], "VK_", 3) == 0 && getenv("WINELOADER"))
            test_skip("under Wine a program cannot choose another's Vulkan drivers");
}

int spawn_child(const struct spawn *spawn, const char *const *args, const struct spawn_files *files)
{
    PROCESS_INFORMATION child;
    DWORD code = (DWORD)-1;
    need_environment(spawn);
    if (spawn->interrupt_at && !GetConsoleWindow())
        AllocConsole(); /* such events travel through one */
    if (!start(spawn, args, files, &child))
        return SPAWN_NOT_STARTED;
    if (spawn->interrupt_at)
        interrupt_when(&child, files->out, spawn->interrupt_at);
    if (WaitForSingleObject(child.hProcess, SPAWN_MAX_SECONDS * 1000) == WAIT_OBJECT_0)
        GetExitCodeProcess(child.hProcess, &code);
    else
        TerminateProcess(child.hProcess, 1);
    CloseHandle(child.hThread);
    CloseHandle(child.hProcess);
    return (int)code;
}
