#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spawn.h"

enum { MAX_ARGS = 40, PATIENCE_MS = 60000 };

/* In the child: a session of its own, whose terminal is the pseudo-terminal `name`. */
static void take_terminal(const char *name, const char *out_path)
{
    if (setsid() < 0)
        _exit(126);
    int fd = open(name, O_RDWR);
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    if (fd < 0 || ioctl(fd, TIOCSCTTY, 0) != 0 || ioctl(fd, TIOCSWINSZ, &size) != 0)
        _exit(126);
    int out = out_path ? open(out_path, O_WRONLY | O_CREAT | O_TRUNC, 0600) : fd;
    if (dup2(fd, 0) < 0 || dup2(out, 1) < 0 || dup2(fd, 2) < 0)
        _exit(126);
}

static void become(const struct terminal *terminal, const char *const *args)
{
    const char *list[MAX_ARGS + 3], *exec = getenv("HEARTH_EXEC");
    size_t n = 0;
    setenv("TERM", "xterm", 1);
    setenv("HEARTH_DATA", spawn_temp("data"), 1);
    unsetenv("NO_COLOR");
    for (size_t i = 0; i < ARRAY_LEN(terminal->env) && terminal->env[i]; i++)
        putenv((char *)(uintptr_t)terminal->env[i]);
    alarm(4 * PATIENCE_MS / 1000);
    if (exec && *exec)
        list[n++] = exec;
    list[n++] = HEARTH_PROGRAM;
    for (size_t i = 0; args[i] && n < MAX_ARGS + 2; i++)
        list[n++] = args[i];
    list[n] = NULL;
    execv(list[0], (char *const *)(uintptr_t)list);
    _exit(127);
}

void terminal_start(struct terminal *terminal, const char *const *args)
{
    terminal->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal->fd >= 0);
    assert_int_equal(grantpt(terminal->fd), 0);
    assert_int_equal(unlockpt(terminal->fd), 0);
    const char *name = ptsname(terminal->fd);
    assert_non_null(name);
    strbuf_append(&terminal->seen, STR(""));
    fflush(NULL);
    terminal->child = fork();
    assert_true(terminal->child >= 0);
    if (terminal->child == 0) {
        take_terminal(name, terminal->out_path);
        become(terminal, args);
    }
}

void terminal_type(struct terminal *terminal, const char *keys)
{
    size_t len = strlen(keys);
    assert_int_equal(write(terminal->fd, keys, len), len);
}

/* More of what is shown; false when the program has closed its terminal. */
static bool read_more(struct terminal *terminal, const char *awaited)
{
    char bytes[4096];
    struct pollfd ready = {.fd = terminal->fd, .events = POLLIN};
    if (poll(&ready, 1, PATIENCE_MS) <= 0)
        fail_msg("\"%s\" did not come; the terminal shows:\n%s", awaited, terminal->seen.ptr);
    ssize_t n = read(terminal->fd, bytes, sizeof bytes);
    if (n <= 0) /* EIO: nobody has the other end open */
        return false;
    strbuf_append(&terminal->seen, (struct str){bytes, (size_t)n});
    assert_false(terminal->seen.failed);
    return true;
}

void terminal_wait(struct terminal *terminal, const char *text)
{
    const char *found;
    while (!(found = strstr(terminal->seen.ptr + terminal->at, text)))
        if (!read_more(terminal, text))
            fail_msg("the program ended before \"%s\" came; the terminal shows:\n%s", text,
                     terminal->seen.ptr);
    terminal->at = (size_t)(found - terminal->seen.ptr) + strlen(text);
}

void terminal_wait_bytes(struct terminal *terminal, size_t count)
{
    while (terminal->seen.len < terminal->at + count)
        if (!read_more(terminal, "more text"))
            fail_msg("the program ended; the terminal shows:\n%s", terminal->seen.ptr);
    terminal->at += count;
}

void terminal_drain(struct terminal *terminal)
{
    struct pollfd ready = {.fd = terminal->fd, .events = POLLIN};
    while (poll(&ready, 1, 20) > 0 && read_more(terminal, "")) {
    }
}

int terminal_end(struct terminal *terminal)
{
    int status;
    while (read_more(terminal, "the program's end")) {
    }
    assert_int_equal(waitpid(terminal->child, &status, 0), terminal->child);
    close(terminal->fd);
    strbuf_free(&terminal->seen);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
