/* The program with one of its calls failed: memory, files, Vulkan. */
/* cost: 40 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "layer_use.h"
#include "attempt.h"
#include "stride.h"

/* Of a function that is called more often than so, not each call fails. */
enum { MOST_CALLS = 100 };

static const char conversation[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}";

/* Without these what was written is not, or perhaps not, on the disk. */
static bool must_be_noticed(const char *function)
{
    return strcmp(function, "fwrite") == 0 || strcmp(function, "fflush") == 0 ||
           strcmp(function, "fsync") == 0 || strcmp(function, "rename") == 0;
}

/* Fails each of the named functions, with each error, at each call of the stride. */
static void fail_calls(struct attempt *c, const char *const *functions, const int *errors,
                       int usual)
{
    const int stride = stride_or(usual);
    int n = 0, n_tried = 0, n_ended = 0;
    attempt_use_interposer();
    attempt_learn(c, "HEARTH_FAIL_REPORT");
    for (; *functions; functions++) {
        int n_calls = attempt_calls(c, *functions);
        for (int k = 0; k < n_calls; k += 1 + n_calls / MOST_CALLS)
            for (int e = 0; errors[e]; e++) {
                char plan[64];
                if (n++ % stride != 0)
                    continue;
                snprintf(plan, sizeof plan, "%s:%d:%d", *functions, k, errors[e]);
                attempt_fail(c, "HEARTH_FAIL", plan, "HEARTH_FAIL_REPORT");
                n_tried += c->failed_a_call;
                n_ended += c->code != 0;
                if (c->file && c->failed_a_call && c->code == 0 && must_be_noticed(*functions))
                    fail_msg("%s: went unnoticed", plan);
            }
    }
    printf("%s: %d of %d calls failed, %d runs ended so\n", c->args[0], n_tried, n, n_ended);
    attempt_free(c);
    unsetenv("LD_PRELOAD");
    if (n == 0)
        test_skip("under sanitizers memory is theirs");
    assert_true(n_tried > 0);
}

static const char *const memory[] = {"malloc", "calloc", "realloc", NULL};
static const int no_memory[] = {ENOMEM, 0};

TEST(memory_of_run)
{
    fail_calls(&(struct attempt){.args = {"run", spawn_tiny_model(), "-p", "Hello", "-n", "3",
                                          "--device", "cpu", "--ctx", "64"}},
               memory, no_memory, 9);
}

TEST(memory_of_chat)
{
    fail_calls(&(struct attempt){.args = {"chat", spawn_tiny_model(), "-n", "3", "--device", "cpu",
                                          "--ctx", "128"},
                                 .input = STR("Hello\nAnd now?\n/quit\n"),
                                 .talks = true},
               memory, no_memory, 9);
}

TEST(memory_of_tools)
{
    const char *model = spawn_tiny_model(), *out = spawn_temp("out.gguf");
    const char *chat = spawn_file("chat.json", conversation, sizeof conversation - 1);
    struct attempt cases[] = {
        {.args = {"eval", model, "--ids", "1,2", "--logits", out, "--device", "cpu"}, .file = out},
        {.args = {"tokenize", model}, .input = STR("Hello, world")},
        {.args = {"template", model, "--context", chat}},
        {.args = {"inspect", model, "--json"}},
        {.args = {"inspect", model}},
        {.args = {"synth", "--like", "tiny-llama", "--quant", "q4_0", "-o", out}, .file = out},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        fail_calls(&cases[i], memory, no_memory, 13);
}

static const char *const files[] = {"fopen", "fwrite", "vprintf", "fflush", "fclose",
                                    "fsync", "rename", "mkdir",   "fchmod", "open",
                                    "fread", "fstat",  "mmap",    NULL};
static const int disk[] = {ENOSPC, EIO, EACCES, 0};

TEST(files_of_tools)
{
    const char *model = spawn_tiny_model(), *out = spawn_temp("out.gguf");
    const char *chat = spawn_file("chat.json", conversation, sizeof conversation - 1);
    char machine[1024];
    snprintf(machine, sizeof machine, "%s", test_data_path("machines/card-12.json"));
    struct attempt cases[] = {
        {.args = {"synth", "--like", "tiny-llama", "--quant", "q4_0", "-o", out}, .file = out},
        {.args = {"eval", model, "--ids", "1,2", "--logits", out, "--device", "cpu"}, .file = out},
        {.args = {"plan", model, "--profile", machine, "--svg", out}, .file = out},
        {.args = {"inspect", model, "--tensor", "output_norm.weight", "--raw-f32"}},
        {.args = {"inspect", model, "--json"}},
        {.args = {"tokenize", model, "-f", chat}},
        {.args = {"template", model, "--context", chat}},
        {.args = {"run", model, "-f", chat, "-n", "2", "--device", "cpu", "--ctx", "64"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        fail_calls(&cases[i], files, disk, 11);
}

/* What is measured is kept, and where it cannot be measured again next time. */
TEST(files_of_what_was_measured)
{
    static const char *const writing[] = {"mkdir", "fwrite", "fflush", "fclose",
                                          "fsync", "rename", NULL};
    fail_calls(&(struct attempt){.args = {"devices", "--measure"}, .varies = true}, writing, disk,
               13);
}

TEST(files_of_chat)
{
    char input[1200];
    const char *out = spawn_temp("talk.json");
    snprintf(input, sizeof input, "Hello\n/save %s\n/quit\n", out);
    fail_calls(&(struct attempt){.args = {"chat", spawn_tiny_model(), "-n", "3", "--device", "cpu",
                                          "--ctx", "128"},
                                 .input = str_of(input),
                                 .file = out,
                                 .talks = true},
               files, disk, 7);
}

/* The pipeline cache is a comfort, and so is what a self-test found: without them the program ends
 * as well, with a warning. */
TEST(files_of_the_pipeline_cache)
{
    spawn_need_device();
    fail_calls(&(struct attempt){.args = {"run", spawn_tiny_model(), "-p", "Hello", "-n", "2",
                                          "--device", "vulkan:0", "--ctx", "64"},
                                 .talks = true},
               files, disk, 29);
}

/* That there is no driver, or no device, is nothing that `hearth devices` fails for. */
static bool means_none(VkResult result)
{
    return result == VK_ERROR_INCOMPATIBLE_DRIVER || result == VK_ERROR_INITIALIZATION_FAILED;
}

static void fail_vulkan(struct attempt *c, int stride)
{
    const struct layer *layer = layer_use();
    bool lists = strcmp(c->args[0], "devices") == 0;
    int n = 0, n_tried = 0, n_ended = 0;
    attempt_learn(c, "HEARTH_LAYER_REPORT");
    for (size_t f = 0; f < layer->n_calls; f++) {
        const struct layer_call *call = &layer->calls[f];
        int n_calls = attempt_calls(c, call->name);
        for (const VkResult *result = call->results; *result != VK_SUCCESS; result++)
            for (int k = 0; k < n_calls; k++) {
                char plan[96];
                if ((lists && means_none(*result)) || n++ % stride != 0)
                    continue;
                snprintf(plan, sizeof plan, "%s:%d:%d", call->name, k, (int)*result);
                attempt_fail(c, "HEARTH_LAYER_FAIL", plan, "HEARTH_LAYER_REPORT");
                n_tried += c->failed_a_call;
                n_ended += c->code != 0;
            }
    }
    printf("%s: %d of %d calls failed, %d runs ended so\n", c->args[0], n_tried, n, n_ended);
    assert_true(n_tried > 0);
    attempt_free(c);
}

TEST(vulkan_of_run)
{
    fail_vulkan(
        &(struct attempt){.args = {"run", spawn_tiny_model(), "-p", "Hello", "-n", "2", "--device",
                                   "vulkan:0", "--ctx", "64", "--discrete", "--no-self-test"}},
        stride_or(17));
}

TEST(vulkan_of_eval)
{
    const char *out = spawn_temp("out.gguf");
    fail_vulkan(&(struct attempt){.args = {"eval", spawn_tiny_model(), "--ids", "1,2", "--logits",
                                           out, "--device", "vulkan:0", "--no-self-test"},
                                  .file = out},
                stride_or(37));
}

TEST(vulkan_of_devices)
{
    fail_vulkan(&(struct attempt){.args = {"devices"}, .varies = true}, stride_or(5));
}
