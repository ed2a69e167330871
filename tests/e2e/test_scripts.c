#define _POSIX_C_SOURCE 200809L

#include "spawn.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/os.h"

static char output[16384]; /* of the last command, both streams */

/* Runs a shell command in the source tree; returns its exit status. */
ATTR_PRINTF(1, 2) static int run(const char *fmt, ...)
{
    char command[8192];
    struct strbuf line = {0};
    va_list args;
    va_start(args, fmt);
    int needed = vsnprintf(command, sizeof command, fmt, args);
    va_end(args);
    assert_true(needed > 0 && (size_t)needed < sizeof command);
    strbuf_printf(&line, "cd '%s' && { %s\n} 2>&1", HEARTH_SOURCE_DIR, command);
    FILE *pipe = popen(line.ptr, "r");
    assert_non_null(pipe);
    size_t n = fread(output, 1, sizeof output - 1, pipe);
    output[n] = 0;
    int status = pclose(pipe);
    strbuf_free(&line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void assert_says(const char *text)
{
    if (!strstr(output, text))
        fail_msg("the output lacks \"%s\"; it is:\n%s", text, output);
}

static const char *prefix(void)
{
    static char path[1024];
    const char *given = getenv("HEARTH_PREFIX");
    snprintf(path, sizeof path, "%s", given && *given ? given : HEARTH_SOURCE_DIR "/.prefix");
    return path;
}

static bool is_file(const char *folder, const char *name)
{
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return os_stat(path, NULL, NULL) == OS_FILE_REGULAR;
}

static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

TEST(fuzz_explains_itself)
{
    assert_int_equal(run("scripts/fuzz --help"), 0);
    assert_says("--minutes N");
    assert_int_equal(run("scripts/fuzz nothing"), 2);
    assert_says("there is no target nothing; there are eval gguf");
    assert_int_equal(run("scripts/fuzz --minutes soon gguf"), 2);
    assert_says("a whole number of minutes");
}

TEST(setup_explains_itself)
{
    assert_int_equal(run("scripts/setup --help"), 0);
    assert_says("never calls sudo");
    assert_int_equal(run("scripts/setup --for nothing"), 2);
    assert_says("--for wants");
    assert_int_equal(run("scripts/setup --wrong"), 2);
    assert_says("--wrong");
}

TEST(setup_says_what_it_would_fetch)
{
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", test_temp_path("prefix"));
    int status = run("HEARTH_PREFIX='%s' scripts/setup --for test --dry-run", folder);
    if (status == 1)
        test_skip("setup has no way to fetch anything on this distribution");
    assert_int_equal(status, 0);
    assert_says(" MB");
    assert_false(os_stat(folder, NULL, NULL) == OS_FILE_FOLDER); /* and fetches nothing */
}

TEST(setup_ends_at_once_when_all_is_there)
{
    if (!is_file(prefix(), "stamps/tools"))
        test_skip("this machine needed no private prefix");
    uint64_t start = os_time_ns();
    assert_int_equal(run("scripts/setup"), 0);
    assert_string_equal(output, "");
    assert_true(os_time_ns() - start < 3000000000u); /* a second is meant, on a machine at rest */
}

TEST(build_windows_explains_itself)
{
    assert_int_equal(run("scripts/build-windows --help"), 0);
    assert_int_equal(run("scripts/build-arm --help"), 0);
    assert_says("--prefix DIR");
    assert_int_equal(run("scripts/build-windows --wrong"), 2);
    assert_int_equal(run("scripts/build-arm --wrong"), 2);
    assert_says("--wrong");
    assert_int_equal(run("scripts/with-wine"), 2);
    assert_says("usage");
}

TEST(gpu_check_explains_itself)
{
    assert_int_equal(run("scripts/gpu-check --help"), 0);
    assert_says("--parts LIST");
    assert_int_equal(run("scripts/gpu-check --wrong"), 2);
    assert_says("--wrong");
    assert_int_equal(run("scripts/gpu-check --parts devices,nothing"), 2);
    assert_says("there is no part \"nothing\"");
    assert_int_equal(run("scripts/gpu-check --device"), 2);
    assert_says("--device wants a value");
    assert_int_equal(run("scripts/gpu-check --seconds soon"), 2);
    assert_says("--seconds wants a whole number");
}

static bool has_software_device(void)
{
    const char *software = getenv("HEARTH_TEST_SOFTWARE");
    return software && strcmp(software, "1") == 0;
}

/* The smallest of what a machine with a GPU would do, on the software device: packed, as if for
 * another machine. */
TEST(gpu_check_packed)
{
    char pack[1024], out[1024], kept[2048];
    if (!has_software_device())
        test_skip("no software device: scripts/with-lavapipe shows it to tests");
    snprintf(pack, sizeof pack, "%s", test_temp_path("packed"));
    snprintf(out, sizeof out, "%s", test_temp_path("gpu-check"));
    if (run("scripts/gpu-check --build '%s' --pack '%s'", HEARTH_BINARY_DIR, pack) != 0)
        fail_msg("%s", output);
    assert_true(is_file(pack, "commit"));
    assert_false(is_file(pack, "lib/libc.so.6"));
    int status = run("cd / && '%s/gpu-check' --out '%s' --device vulkan:0 --quick", pack, out);
    if (status != 0)
        fail_msg("%s", output);
    static const char *const parts[] = {"devices",  "roof", "opbench", "bench",
                                        "selftest", "ops",  "tune"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        char line[64];
        snprintf(line, sizeof line, "%-10s ok", parts[i]);
        assert_says(line);
    }
    assert_says("results are in");
    static const char *const files[] = {"summary.txt",  "devices.json", "roof.json",
                                        "opbench.txt",  "bench.txt",    "selftest.txt",
                                        "op-tests.txt", "tuned.txt"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        assert_true(is_file(out, files[i]));
    snprintf(kept, sizeof kept, "%s/cache/selftest", out); /* what it found comes back */
    assert_int_equal(os_stat(kept, NULL, NULL), OS_FILE_FOLDER);
    assert_int_equal(run("grep 'of the roof (read)' '%s/bench.txt'", out), 0);
    assert_int_equal(run("tar -tzf '%s.tar.gz' | grep 'gpu-check/cache/selftest/.*json'", out), 0);
}

/* A part that fails is said, and the others go on. */
TEST(gpu_check_tells_what_failed)
{
    assert_int_equal(
        run("scripts/gpu-check --build '%s' --out '%s' --device vulkan:99 --quick --parts "
            "selftest,devices",
            HEARTH_BINARY_DIR, test_temp_path("gpu-check")),
        1);
    assert_says("selftest   FAILED");
    assert_says("devices    ok");
}

/* A folder with a program of ours in the place of all that gpu-check starts. */
static const char *fakes(void)
{
    static char folder[1024];
    snprintf(folder, sizeof folder, "%s", test_temp_path("fakes"));
    assert_int_equal(
        run("mkdir -p '%s' && for name in hearth roof opbench op_rows op_fused op_cache "
            "op_matmul op_matmul_experts; do cp tests/e2e/fake_gpu.sh '%s'/$name; done; "
            "echo 'MemAvailable: 33554432 kB' > '%s/meminfo'",
            folder, folder, folder),
        0);
    return folder;
}

static int check_fakes(const char *folder, const char *options)
{
    return run("rm -f '%s/calls'; HEARTH_EXEC= HEARTH_TEST_MEMINFO='%s/meminfo' "
               "scripts/gpu-check --build '%s' --out '%s' %s",
               folder, folder, folder, test_temp_path("of-fakes"), options);
}

/* Every program and test gets the same device, whatever stands first. */
TEST(gpu_check_takes_one_device)
{
    static const struct {
        const char *option, *device, *number;
    } cases[] = {{"", "vulkan:1", "1"},
                 {"--device vulkan:rtx", "vulkan:1", "1"},
                 {"--device vulkan:4090", "vulkan:1", "1"},
                 {"--device vulkan:UHD", "vulkan:0", "0"},
                 {"--device vulkan:0", "vulkan:0", "0"}};
    const char *folder = fakes();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (check_fakes(folder, cases[i].option) != 0)
            fail_msg("%s", output);
        run("grep -c -- '--device %s ' '%s/calls'", cases[i].device, folder);
        assert_string_equal(
            output, "9\n"); /* roof, opbench, four models and one again, self-test, tuning */
        run("grep -- '--device ' '%s/calls' | grep -vc -- '--device %s '", folder, cases[i].device);
        assert_string_equal(output, "0\n");
        run("grep -c 'test=%s$' '%s/calls'", cases[i].number, folder);
        assert_string_equal(output, "5\n");
        run("grep -vc 'cache=.*/of-fakes/cache ' '%s/calls'", folder);
        assert_string_equal(output, "0\n");
    }
    assert_int_equal(check_fakes(folder, "--device vulkan:radeon"), 0);
    assert_says("vulkan:radeon is not among those that hearth devices lists");
}

TEST(gpu_check_compares_with_goals)
{
    const char *folder = fakes();
    assert_int_equal(check_fakes(folder, ""), 0);
    assert_says(
        "llama-8b:q4_k_m answer, of reading memory                    90 %    93.4 %  reached");
    assert_says(
        "llama-8b:q8_0 prompt, of the fastest arithmetic              60 %    41.0 %  NOT reached");
    assert_says(
        "llama-8b:q8_0 prompt, of matrices of halves                  60 %    82.0 %  reached");
    assert_says(
        "llama-8b:q4_k_m answer, tuned                                90 %    93.4 %  reached");
    assert_int_equal(check_fakes(folder, "--parts devices"), 0);
    assert_says("llama-8b:q8_0 answer, of reading memory                      90 %         -  not "
                "measured");
}

/* A model that the host has no room for is left out, and its goals are not measured. */
TEST(gpu_check_without_room)
{
    const char *folder = fakes();
    assert_int_equal(run("echo 'MemAvailable: 9000000 kB' > '%s/meminfo'", folder), 0);
    assert_int_equal(check_fakes(folder, "--parts bench"), 0);
    assert_says("llama-8b:q4_k_m answer, of reading memory                    90 %    93.4 %");
    assert_says("llama-8b:q8_0 answer, of reading memory                      90 %         -");
    assert_int_equal(check_fakes(folder, "--parts bench --device vulkan:0"), 0);
    run("grep -c 'bench synth:llama-8b' '%s/calls'", folder);
    assert_string_equal(output, "0\n"); /* there it would be twice in that memory */
}

/* Models are compared with a roof only where there is one. */
TEST(gpu_check_without_a_roof)
{
    const char *folder = fakes();
    assert_int_equal(run("touch '%s/fails-roof'", folder), 0);
    assert_int_equal(check_fakes(folder, ""), 1);
    assert_says("roof       FAILED (3)");
    assert_says("bench      ok");
    run("grep -c -- '--roof' '%s/calls'", folder);
    assert_string_equal(output, "0\n");
}

/* One end for all of it: what takes too long is ended, and what has no time left is said. */
TEST(gpu_check_ends_in_time)
{
    const char *folder = fakes();
    uint64_t start = os_time_ns();
    assert_int_equal(run("touch '%s/hangs-opbench'", folder), 0);
    assert_int_equal(check_fakes(folder, "--seconds 04"), 1);
    assert_true(os_time_ns() - start < 30000000000u);
    assert_says("roof       ok");
    assert_says("opbench    took too long");
    assert_says("bench      NOT RUN: no time was left");
    assert_says("tune       NOT RUN: no time was left");
}

TEST(gpu_check_packs_all_or_says_what_lacks)
{
    const char *folder = fakes();
    assert_int_equal(run("rm '%s/roof' '%s/op_cache' && scripts/gpu-check --build '%s' --pack '%s'",
                         folder, folder, folder, test_temp_path("packed")),
                     1);
    assert_says("--target roof op_cache");
    assert_says("is not whole");
    assert_int_equal(run("scripts/gpu-check --build '%s' --pack '%s' --parts devices,opbench",
                         folder, test_temp_path("part")),
                     0);
    assert_true(is_file(test_temp_path("part"), "opbench"));
    assert_false(is_file(test_temp_path("part"), "op_rows"));
}

TEST(with_lavapipe_refuses_nonsense)
{
    assert_int_equal(run("scripts/with-lavapipe"), 2);
    assert_says("usage");
    assert_int_equal(run("scripts/with-lavapipe --width 100 true"), 2);
    assert_says("128, 256 or 512");
    assert_int_equal(run("scripts/with-lavapipe --wrong true"), 2);
    assert_says("--wrong");
}

TEST(with_lavapipe_passes_arguments_and_status)
{
    assert_int_equal(run("scripts/with-lavapipe --or-without sh -c 'echo \"$1\"; exit 7' x 'a  b'"),
                     7);
    assert_says("a  b");
    assert_int_equal(run("scripts/with-lavapipe --or-without ./no-such-program"), 127);
}

TEST(with_lavapipe_shows_one_device)
{
    if (!is_file(prefix(), "drivers/lavapipe.json"))
        test_skip("no software device in the private prefix");
    assert_int_equal(run("scripts/with-lavapipe --width 512 sh -c 'echo $LP_NATIVE_VECTOR_WIDTH; "
                         "test -x \"$HEARTH_EXEC\" && test -r \"$VK_DRIVER_FILES\"'"),
                     0);
    assert_string_equal(output, "512\n");
}

TEST(stand_ins_are_35_cards)
{
    if (!is_file(prefix(), "hw/hw"))
        test_skip("no stand-in GPUs: scripts/setup --for test builds them");
    assert_int_equal(run("'%s/hw/hw' list", prefix()), 0);
    assert_int_equal(count_lines(output), 35);
    assert_int_not_equal(run("'%s/hw/hw' no_such_card --info", prefix()), 0);
    assert_says("no GPU named");
}

TEST(stand_ins_compile_a_shader)
{
    if (!is_file(prefix(), "hw/hw"))
        test_skip("no stand-in GPUs: scripts/setup --for test builds them");
    assert_int_equal(
        run("'%s/hw/hw' skl,navi21,rtx3090 --no-spills tests/fuzz/corpus/spirv/subgroup.spv",
            prefix()),
        0);
    assert_says("== navi21");
    assert_says("subgroup=");
}

#define MODEL_NAME "SmolLM2-135M-Instruct.Q4_1.gguf"

/* Scripts with a cache folder of their own that reach nothing but this machine: nobody listens. */
#define OFFLINE                                                                                    \
    "HEARTH_CACHE='%s' no_proxy= NO_PROXY= http_proxy=http://127.0.0.1:9 "                         \
    "https_proxy=http://127.0.0.1:9 HTTP_PROXY=http://127.0.0.1:9 "                                \
    "HTTPS_PROXY=http://127.0.0.1:9 "

static const char *fresh_cache(void)
{
    static char folder[1024];
    snprintf(folder, sizeof folder, "%s",
             test_temp_path("cache-%llu", (unsigned long long)os_time_ns()));
    assert_true(os_make_folders(folder));
    return folder;
}

static const char *cache_with_model(void)
{
    const char *folder = fresh_cache();
    assert_int_equal(run("ln -s '%s' '%s/" MODEL_NAME "'", test_real_model(), folder), 0);
    return folder;
}

TEST(fetch_model_does_not_trust_a_size)
{
    const char *cache = fresh_cache();
    assert_int_equal(run("truncate -s 98362432 '%s/" MODEL_NAME "'", cache), 0);
    assert_int_equal(run(OFFLINE "scripts/fetch-model", cache), 1);
    assert_says(MODEL_NAME " is not the model (its checksum differs)");
    assert_says("the model could not be fetched");
    assert_false(is_file(cache, MODEL_NAME ".verified"));
}

TEST(fetch_model_verifies_what_is_there)
{
    const char *cache = cache_with_model();
    assert_int_equal(run(OFFLINE "scripts/fetch-model", cache), 0);
    assert_says(cache);
    assert_true(is_file(cache, MODEL_NAME ".verified"));

    /* another file of that size takes its place */
    assert_int_equal(run("cd '%s' && rm " MODEL_NAME " && truncate -s 98362432 " MODEL_NAME, cache),
                     0);
    assert_int_equal(run(OFFLINE "scripts/fetch-model --path", cache), 1);
    assert_says("its checksum differs");
}

TEST(fetch_model_uses_no_folder_of_everybody)
{
    assert_int_equal(run("env -u HOME -u XDG_CACHE_HOME -u HEARTH_CACHE scripts/fetch-model"), 1);
    assert_string_equal(output, "fetch-model: there is no folder for the model, as HOME is not "
                                "set: name one with HEARTH_CACHE\n");
}

TEST(quickstart_wants_one_prompt)
{
    assert_int_equal(run("scripts/quickstart"), 2);
    assert_says("scripts/quickstart \"Why is the sky blue?\"");
    assert_int_equal(run("scripts/quickstart why is"), 2);
    assert_says("in quotes");
}

/* From the build that is there and a model that is there to an answer, in one command. */
TEST(quickstart_answers)
{
#if defined(__SANITIZE_ADDRESS__)
    test_skip("the whole model on a software device is slow under sanitizers");
#endif
    const char *cache = cache_with_model();
    int status = run(
        OFFLINE "HEARTH_BUILD='%s' scripts/quickstart 'What is the capital of France?' 2>'%s/talk'",
        cache, HEARTH_BINARY_DIR, cache);
    if (status == 0)
        assert_says("Paris");
    assert_int_equal(run("cat '%s/talk'", cache), 0);
    if (status != 0)
        fail_msg("quickstart ended with %d and said:\n%s", status, output);

    double first_s = 0, prompt_per_s = 0, answer_per_s = 0;
    const char *line = strstr(output, ": first word ");
    assert_non_null(line);
    assert_true(line > output && line[-1] != '\n'); /* after the device's name */
    assert_int_equal(sscanf(line, ": first word %lf s, prompt %*d tokens at %lf tokens/s", &first_s,
                            &prompt_per_s),
                     2);
    line = strstr(line, ", answer ");
    assert_non_null(line);
    assert_int_equal(sscanf(line, ", answer %*d tokens at %lf tokens/s", &answer_per_s), 1);
    assert_true(first_s > 0 && prompt_per_s > 0 && answer_per_s > 0);
    assert_non_null(strstr(line, "What next:"));
}

TEST(quickstart_says_that_the_network_refuses)
{
    assert_int_equal(
        run(OFFLINE "HEARTH_BUILD='%s' scripts/quickstart x", fresh_cache(), HEARTH_BINARY_DIR), 1);
    const char *last = strstr(output, "fetch-model: the model could not be fetched (https_proxy: "
                                      "http://127.0.0.1:9): connect this machine, or put");
    assert_non_null(last);
    assert_int_equal(count_lines(last), 1);
}

/* docs/example.c, as its first lines say, with nothing but what `cmake --install` gave. */
TEST(the_example_builds_with_what_is_installed)
{
    char to[1024];
    snprintf(to, sizeof to, "%s", test_temp_path("installed"));
    if (run("'%s' --install '%s' --prefix '%s'", HEARTH_CMAKE, HEARTH_BINARY_DIR, to) != 0)
        fail_msg("%s", output);
    int status = run("export PKG_CONFIG_PATH=$(dirname \"$(find '%s' -name hearth.pc)\")\n"
                     "'%s' docs/example.c $(pkg-config --static --cflags --libs hearth) "
                     "-o '%s/example'",
                     to, HEARTH_CC, to);
    if (status != 0)
        fail_msg("%s", output);
    assert_string_equal(output, ""); /* no warning, either */
    assert_int_equal(
        run("'%s/example' '%s' 'Why is the sky blue?' 2>/dev/null", to, spawn_tiny_model()), 0);
    assert_true(strlen(output) > 8);
}

TEST(test_refuses_unknown_options)
{
    assert_int_equal(run("scripts/test --wrong"), 2);
    assert_says("--wrong");
}
