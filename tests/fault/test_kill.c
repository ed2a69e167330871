/* The program killed (SIGKILL) while it writes, and at random moments: the next start is as always.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempt.h"
#include "base/os.h"
#include "base/rng.h"
#include "stride.h"

static char folder[1024]; /* where killed programs may leave temporary files */

static const char *written_file(void)
{
    static char path[1100];
    snprintf(folder, sizeof folder, "%s", test_fresh_folder("killed"));
    snprintf(path, sizeof path, "%s/out.gguf", folder);
    return path;
}

static const char *const writing[] = {"mkdir",  "fopen", "fwrite", "fflush",
                                      "fclose", "fsync", "rename", NULL};

static void kill_at_each_call(struct attempt *c, int usual)
{
    enum { MOST_CALLS = 20, MOST_STRIDE = 8 }; /* there are few calls: some of them always */
    const int stride = stride_or(usual) < MOST_STRIDE ? stride_or(usual) : MOST_STRIDE;
    int n = 0, n_killed = 0;
    attempt_use_interposer();
    attempt_learn(c, "HEARTH_FAIL_REPORT");
    c->keeps_cache = true;
    for (const char *const *name = writing; *name; name++) {
        int n_calls = attempt_calls(c, *name);
        for (int k = 0; k < n_calls; k += 1 + n_calls / MOST_CALLS) {
            char plan[64];
            if (n++ % stride != 0)
                continue;
            snprintf(plan, sizeof plan, "%s:%d:0", *name, k);
            attempt_kill(c, plan, NULL);
            n_killed++;
        }
    }
    printf("%s: killed at %d of %d calls\n", c->args[0], n_killed, n);
    assert_true(n_killed > 2);
    attempt_free(c);
    unsetenv("LD_PRELOAD");
}

TEST(while_writing_files)
{
    const char *model = spawn_tiny_model(), *out = written_file();
    kill_at_each_call(
        &(struct attempt){.args = {"synth", "--like", "tiny-llama", "--quant", "q4_0", "-o", out},
                          .file = out},
        3);
    kill_at_each_call(&(struct attempt){.args = {"eval", model, "--ids", "1,2", "--logits", out,
                                                 "--device", "cpu"},
                                        .file = out},
                      2);
    if (stride_or(2) == 1) /* measuring takes seconds each time */
        kill_at_each_call(&(struct attempt){.args = {"devices", "--measure"}, .varies = true}, 1);
    test_remove_folder(folder);
}

TEST(while_writing_the_cache)
{
    spawn_need_device();
    kill_at_each_call(&(struct attempt){.args = {"run", spawn_tiny_model(), "-p", "Hello", "-n",
                                                 "2", "--device", "vulkan:0", "--ctx", "64"}},
                      3);
}

/* --- random moments --------------------------------------------------------------------------- */

static struct rng rng;
static double longest_s; /* of an undisturbed run */

/* Starts the program with these arguments; NULL ends them. */
static pid_t start(const char *const *args)
{
    const char *list[20], *exec = getenv("HEARTH_EXEC");
    size_t n = 0;
    if (exec && *exec)
        list[n++] = exec;
    list[n++] = HEARTH_PROGRAM;
    for (size_t i = 0; args[i]; i++)
        list[n++] = args[i];
    list[n] = NULL;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (freopen("/dev/null", "w", stdout) && freopen("/dev/null", "w", stderr))
            execv(list[0], (char *const *)(uintptr_t)list);
        _exit(127);
    }
    return child;
}

static void end(pid_t child)
{
    int status;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
}

static void kill_soon(const struct attempt *c)
{
    pid_t child = start(c->args);
    usleep((useconds_t)(rng_double(&rng) * longest_s * 1e6));
    end(child);
}

static void kill_at_random(struct attempt *c, int n)
{
    uint64_t seed = os_time_ns(), began = seed;
    printf("seed %llu\n", (unsigned long long)seed);
    rng = rng_seed(seed);
    attempt_use_interposer(); /* for its report */
    attempt_learn(c, "HEARTH_FAIL_REPORT");
    longest_s = (double)(os_time_ns() - began) * 1e-9;
    c->keeps_cache = true;
    for (int i = 0; i < n; i++)
        attempt_kill(c, NULL, kill_soon);
    attempt_free(c);
    unsetenv("LD_PRELOAD");
}

TEST(at_random_moments)
{
    const char *out = written_file();
    kill_at_random(&(struct attempt){.args = {"eval", spawn_tiny_model(), "--ids", "1,2",
                                              "--logits", out, "--device", "cpu"},
                                     .file = out},
                   30 / stride_or(3));
    test_remove_folder(folder);
}

TEST(at_random_moments_on_vulkan)
{
    spawn_need_device();
    kill_at_random(&(struct attempt){.args = {"run", spawn_tiny_model(), "-p", "Hello", "-n", "2",
                                              "--device", "vulkan:0", "--ctx", "64"}},
                   30 / stride_or(3));
}

/* --- kernels that end the process ------------------------------------------------------------- */

#define TUNE                                                                                       \
    "tune", "synth:tiny-llama:q4_0", "--device", "vulkan:0", "--ctx", "64", "--minutes", "0.0001", \
        "--kernels-seconds"

static void take_name(void *user, const char *name)
{
    char *path = user;
    if (strstr(name, ".json") && !strstr(name, ".tmp."))
        snprintf(path, 2048, "%s/kernels/%s", getenv("HEARTH_CACHE"), name);
}

/* What is kept of them; "": nothing. */
static const char *kept_kernels(void)
{
    static char text[1 << 16];
    char path[2048] = "", kernels[1200];
    snprintf(kernels, sizeof kernels, "%s/kernels", getenv("HEARTH_CACHE"));
    (void)!os_list_folder(kernels, take_name, path);
    FILE *file = path[0] ? fopen(path, "rb") : NULL;
    text[file ? fread(text, 1, sizeof text - 1, file) : 0] = '\0';
    if (file)
        fclose(file);
    return text;
}

static void kill_once_kept(const char *text)
{
    static const char *const args[] = {TUNE, "600", NULL};
    enum { MOST_TRIES = 20000, WAIT_US = 10000 };
    pid_t child = start(args);
    for (int tries = 0; !strstr(kept_kernels(), text); tries++) {
        assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
        assert_true(tries < MOST_TRIES);
        usleep(WAIT_US);
    }
    end(child);
}

/* What a driver does not survive twice is not tried again, which is said once. */
TEST(while_measuring_kernels)
{
    struct spawn s = {0};
    spawn_need_device();
    kill_once_kept("\"begun\": 1");
    kill_once_kept("\"begun\": 2");
    assert_null(strstr(kept_kernels(), "\"whole\": true"));
    for (int i = 0; i < 2; i++) {
        RUN(&s, TUNE, "0.1");
        assert_code(&s, 0);
        bool said = strstr(s.err.ptr, "hearth was ended 2 times while it measured them");
        assert_true(said == (i == 0));
        spawn_free(&s);
    }
    assert_non_null(strstr(kept_kernels(), "\"whole\": true"));
    assert_null(strstr(kept_kernels(), "\"begun\": 2"));
}
