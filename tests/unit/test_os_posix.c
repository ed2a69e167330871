/* What base promises of POSIX systems: files, processes, signals, the environment. */
#define _POSIX_C_SOURCE 200809L
#include "harness/test.h"

#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/os.h"

TEST(file_says_that_the_disk_is_full)
{
    if (os_stat("/dev/full", NULL, NULL) != OS_FILE_OTHER)
        test_skip("no /dev/full");
    static char data[100000];
    for (size_t size = 1; size <= sizeof data;
         size += sizeof data - 1) { /* at the flush, the put */
        struct file_writer writer;
        test_log_clear();
        assert_int_equal(file_begin(&writer, "/dev/full", test_log()), HTH_OK);
        file_put(&writer, data, size);
        file_put(&writer, data, size);
        assert_int_equal(file_commit(&writer), HTH_ERROR_IO);
        assert_string_equal(test_log_text(),
                            "/dev/full: cannot be written: No space left on device\n");
    }
    assert_int_equal(os_stat("/dev/full", NULL, NULL), OS_FILE_OTHER);
    test_put_text("/dev/null", "nothing");
    assert_int_equal(os_stat("/dev/null", NULL, NULL), OS_FILE_OTHER);
}

/* A process that has begun to write `path` and waits; fills in its temporary file's name. */
static pid_t start_writer(const char *path, char *temp, size_t size)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t id = fork();
    assert_true(id >= 0);
    if (id == 0) {
        struct file_writer writer;
        alarm(60); /* ends it should the test fail */
        if (file_begin(&writer, path, NULL) == HTH_OK && write(ends[1], "", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    snprintf(temp, size, "%s.tmp.%ld", path, (long)id);
    char begun;
    close(ends[1]);
    assert_int_equal(read(ends[0], &begun, 1), 1);
    close(ends[0]);
    assert_int_equal(os_stat(temp, NULL, NULL), OS_FILE_REGULAR);
    return id;
}

static void stop_writer(pid_t id)
{
    assert_int_equal(kill(id, SIGKILL), 0);
    assert_int_equal(waitpid(id, NULL, 0), id);
}

TEST(file_left_by_a_killed_process_goes_with_the_next_write)
{
    char path[1024], dead[1100], alive[1100], locked[1100], other[1100];
    snprintf(path, sizeof path, "%s", test_temp_path("left.txt"));
    pid_t first = start_writer(path, dead, sizeof dead);
    stop_writer(first);
    pid_t second = start_writer(path, alive, sizeof alive);
    assert_int_equal(os_stat(dead, NULL, NULL), OS_FILE_NONE); /* by the second's beginning */
    test_put_text(dead, "");
    /* As from another container: no process here has the number, but somebody holds the file. */
    snprintf(locked, sizeof locked, "%s.tmp.%d", path, INT_MAX);
    snprintf(other, sizeof other, "%s.tmp.%ldx", path, (long)first);
    test_put_text(other, "");
    FILE *file = os_fopen(locked, "wb");
    assert_non_null(file);
    assert_true(os_lock(file));
    test_put_text(path, "new");
    assert_int_equal(os_stat(dead, NULL, NULL), OS_FILE_NONE);
    assert_int_equal(os_stat(alive, NULL, NULL), OS_FILE_REGULAR);
    assert_int_equal(os_stat(locked, NULL, NULL), OS_FILE_REGULAR);
    assert_int_equal(os_stat(other, NULL, NULL), OS_FILE_REGULAR);
    fclose(file);
    stop_writer(second);
    test_put_text(path, "newer");
    assert_int_equal(os_stat(alive, NULL, NULL), OS_FILE_NONE);
    assert_int_equal(os_stat(locked, NULL, NULL), OS_FILE_NONE);
    test_assert_text(path, "newer");
}

TEST(does_not_wait_for_pipes)
{
    const char *path = test_temp_path("pipe");
    struct os_mapping mapping;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(os_stat(path, NULL, NULL), OS_FILE_OTHER);
    assert_false(os_map_file(&mapping, path));
    assert_false(os_map_file(&mapping, "/"));
    assert_string_equal(os_error_text(), "Is a directory");
    FILE *reader = fopen(path, "r+b"); /* both ends: no open waits for the other */
    char text[8] = "";
    assert_non_null(reader);
    test_put_text(path, "through");
    assert_int_equal(read(fileno(reader), text, 7), 7);
    assert_string_equal(text, "through");
    fclose(reader);
    assert_int_equal(os_stat(path, NULL, NULL), OS_FILE_OTHER);
}

static atomic_bool pressed;

static void press(void)
{
    atomic_store(&pressed, true);
}

static bool was_pressed(void)
{
    return atomic_load(&pressed);
}

static void press_later(void *arg)
{
    (void)arg;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    kill(getpid(), SIGINT);
}

/* Before the wait, and during it, whichever thread it came from; the alarm ends a wait that misses
 * it. Nothing ever comes through the pipe. */
TEST(wait_line_misses_no_interrupt)
{
    int ends[2];
    struct os_thread thread;
    assert_int_equal(pipe(ends), 0);
    FILE *silent = fdopen(ends[0], "r");
    os_on_interrupt(press);
    alarm(10);
    raise(SIGINT);
    os_wait_line(silent, was_pressed);
    assert_true(was_pressed());
    atomic_store(&pressed, false);
    assert_true(os_thread_start(&thread, press_later, NULL));
    os_wait_line(silent, was_pressed);
    assert_true(was_pressed());
    os_thread_join(&thread);
    alarm(0);
    os_on_interrupt(NULL);
    assert_int_equal(write(ends[1], "x\n", 2), 2);
    atomic_store(&pressed, false);
    os_wait_line(silent, was_pressed);
    assert_int_equal(fgetc(silent), 'x');
    fclose(silent);
    close(ends[1]);
}

TEST(cache_folder_follows_the_environment)
{
    static const char *const cases[][4] = {
        {"/own", "/xdg", "/home/u", "/own"},
        {"", "/xdg", "/home/u", "/xdg/hearth"},
        {"", "relative", "/home/u", "/home/u/.cache/hearth"},
        {"", "", "/home/u", "/home/u/.cache/hearth"},
        {"", "", "", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct strbuf buf = {0};
        test_set_env("HEARTH_CACHE", cases[i][0]);
        test_set_env("XDG_CACHE_HOME", cases[i][1]);
        test_set_env("HOME", cases[i][2]);
        assert_int_equal(os_cache_folder(&buf), cases[i][3] != NULL);
        if (cases[i][3])
            assert_string_equal(buf.ptr, cases[i][3]);
        strbuf_free(&buf);
    }
}
