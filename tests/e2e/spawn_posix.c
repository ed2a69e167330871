#include "spawn_child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_or_die(const char *path, int flags)
{
    int fd = open(path, flags, 0600);
    if (fd < 0)
        _exit(SPAWN_NOT_STARTED);
    return fd;
}

/* In the child: its three streams, its environment, and the program. */
static void become(const struct spawn *spawn, const char *const *args,
                   const struct spawn_files *files)
{
    const char *list[SPAWN_MAX_ARGS + 3];
    size_t n = 0;
    dup2(open_or_die(files->in, O_RDONLY), 0);
    if (spawn->closed_pipe) {
        int ends[2];
        if (pipe(ends))
            _exit(SPAWN_NOT_STARTED);
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
    } else {
        dup2(open_or_die(files->out, O_WRONLY | O_CREAT), 1);
    }
    dup2(open_or_die(files->err, O_WRONLY | O_CREAT), 2);
    for (size_t i = 0; i < ARRAY_LEN(spawn->env) && spawn->env[i]; i++)
        putenv((char *)(uintptr_t)spawn->env[i]);
    signal(SIGPIPE, SIG_DFL);
    alarm(SPAWN_MAX_SECONDS);
    const char *exec = getenv("HEARTH_EXEC");
    if (exec && *exec)
        list[n++] = exec;
    list[n++] = spawn->program ? spawn->program : HEARTH_PROGRAM;
    for (size_t i = 0; args[i] && n < SPAWN_MAX_ARGS + 2; i++)
        list[n++] = args[i];
    list[n] = NULL;
    execv(list[0], (char *const *)(uintptr_t)list);
    _exit(SPAWN_NOT_STARTED);
}

/* Waits until stdout's file is long enough, then presses Ctrl-C. */
static void interrupt_when(pid_t child, const char *out, size_t bytes)
{
    for (int i = 0; i < SPAWN_MAX_SECONDS * 100; i++) {
        struct stat info;
        if (stat(out, &info) == 0 && (size_t)info.st_size >= bytes)
            break;
        siginfo_t ended = {0};
        if (waitid(P_PID, (id_t)child, &ended, WEXITED | WNOHANG | WNOWAIT) || ended.si_pid)
            return;
        usleep(10000);
    }
    kill(child, SIGINT);
}

int spawn_child(const struct spawn *spawn, const char *const *args, const struct spawn_files *files)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        become(spawn, args, files);
    if (spawn->interrupt_at)
        interrupt_when(child, files->out, spawn->interrupt_at);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
