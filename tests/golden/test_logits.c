#include "logits.h"

#include <stdio.h>

#include "base/mem.h"
#include "engine/engine.h"
#include "gpu/coop.h"

/* Logits of small random models against those of another program (rich/README.md, rich-quant):
 * in one batch, token by token and by sevens, on the CPU and on the device of the test run. */

static const int pieces[] = {0, 1, 7};

/* What the golden data allows: in float math with F32 cache, and where the cache or activations are
 * rounded to half floats. */
static const double tolerance_float = 1e-6, tolerance_f16 = 1e-4;

static void check(struct hth_model *model, const struct golden *golden,
                  const struct logits_run *run, double tolerance)
{
    float *logits = logits_compute(model, golden, run);
    double nmse =
        test_nmse(golden->logits, logits, (size_t)golden->n_rows * (size_t)golden->n_vocab);
    mem_free(logits);
    struct hth_model_info info = hth_model_get_info(model);
    printf("%s: pieces of %d, %s, cache %d: %.2e (at most %.0e)\n", info.device, run->piece,
           run->float_only ? "float" : "default", run->kv, nmse, tolerance);
    if (!(nmse <= tolerance))
        fail_msg("NMSE %g is above %g", nmse, tolerance);
}

static void check_float(struct hth_model *model, const struct golden *golden)
{
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct logits_run run = {.kv = HTH_KV_F32, .float_only = true, .piece = pieces[i]};
        check(model, golden, &run, tolerance_float);
    }
}

/* That the rows asked for by name are those that run: all matmuls but the F32 router's. */
static void check_rows(struct hth_model *model, const char *name, int n_tokens)
{
    struct hth_session *session;
    struct hth_session_options options = {.n_ctx = 64, .n_batch = 64};
    const struct batch_size size = {.n_tokens = n_tokens, .n_outputs = 1};
    const struct program *program = NULL;
    if (hth_session_open(&session, model, &options) != HTH_OK ||
        gpu_exec_program(session->gpu[1].exec, size, &program) != HTH_OK)
        fail_msg("%s", test_log_text());
    int n = 0;
    for (size_t i = 0; i < program->n_steps; i++) {
        const struct step *step = &program->steps[i];
        bool is_matmul = !strncmp(step->name, "matmul", 6) || !strncmp(step->name, "matvec", 6);
        if (!is_matmul || strstr(step->label, "router"))
            continue;
        assert_string_equal(step->name, name);
        n++;
    }
    assert_true(n > 0);
    hth_session_close(session);
}

/* Are there cooperative matrices of a type, for formats whose scales change every 16 columns?
 * Mesa's software device (26.1.6) ends with a segmentation fault where it multiplies them in 16
 * lanes. */
static bool multiplies(const struct hth_model *model, enum coop_type type)
{
    const struct vk_caps *caps = model->devices[1].vk ? vk_get_caps(model->devices[1].vk) : NULL;
    return caps && coop_products(caps, type, 16) > 0 &&
           (caps->kind != VK_KIND_SOFTWARE || caps->subgroup_max < 16);
}

/* --- rich: F16 matrices ------------------------------------------------------------------------
 */

static void check_rich(const char *name, struct hth_model_options options)
{
    struct golden golden;
    golden_open(&golden, test_golden_path("rich/logits/%s.gguf", name));
    struct hth_model *model = model_open(test_golden_path("rich/models/%s.gguf", name), options);
    check_float(model, &golden);
    const struct logits_run half[] = {
        {.kv = HTH_KV_F16, .float_only = true, .piece = 7},
        {.kv = HTH_KV_F16},
    };
    for (size_t i = 0; i < ARRAY_LEN(half); i++)
        check(model, &golden, &half[i], tolerance_f16);
    printf("llama.cpp's own error with F16 activations: %.2e\n", golden.nmse_f16);
    bool fp16 = model->devices[1].vk && vk_get_caps(model->devices[1].vk)->fp16;
    bool matrices = multiplies(model, COOP_F16);
    hth_model_close(model);
    /* Products in half floats, whether this device prefers them or not. */
    const char *const rows[] = {fp16 ? "matmul_f16" : NULL, matrices ? "matmul_coop_f16" : NULL};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        options.rows = rows[i];
        if (!rows[i])
            continue;
        model = model_open(test_golden_path("rich/models/%s.gguf", name), options);
        check_rows(model, options.rows, 48);
        check(model, &golden, &half[1], tolerance_f16);
        hth_model_close(model);
    }
    golden_close(&golden);
}

static void on_cpu(const char *name)
{
    check_rich(name, (struct hth_model_options){.device = "cpu"});
}

static void on_vulkan(const char *name)
{
    check_rich(name, (struct hth_model_options){.device = test_device()});
}

TEST(llama_gqa)
{
    on_cpu("llama-gqa");
}

TEST(llama_gqa_vulkan)
{
    on_vulkan("llama-gqa");
}

TEST(llama_yarn)
{
    on_cpu("llama-yarn");
}

TEST(llama_yarn_vulkan)
{
    on_vulkan("llama-yarn");
}

TEST(llama_linear)
{
    on_cpu("llama-linear");
}

TEST(llama_linear_vulkan)
{
    on_vulkan("llama-linear");
}

TEST(llama_moe)
{
    on_cpu("llama-moe");
}

TEST(llama_moe_vulkan)
{
    on_vulkan("llama-moe");
}

TEST(qwen2)
{
    on_cpu("qwen2");
}

TEST(qwen2_vulkan)
{
    on_vulkan("qwen2");
}

TEST(qwen3)
{
    on_cpu("qwen3");
}

TEST(qwen3_vulkan)
{
    on_vulkan("qwen3");
}

TEST(qwen3moe)
{
    on_cpu("qwen3moe");
}

TEST(qwen3moe_vulkan)
{
    on_vulkan("qwen3moe");
}

TEST(mistral3)
{
    on_cpu("mistral3");
}

TEST(mistral3_vulkan)
{
    on_vulkan("mistral3");
}

TEST(smollm3)
{
    on_cpu("smollm3");
}

TEST(smollm3_vulkan)
{
    on_vulkan("smollm3");
}

TEST(seed_oss)
{
    on_cpu("seed_oss");
}

TEST(seed_oss_vulkan)
{
    on_vulkan("seed_oss");
}

TEST(cohere2)
{
    on_cpu("cohere2");
}

TEST(cohere2_vulkan)
{
    on_vulkan("cohere2");
}

/* As if the device's memory were not the host's: everything is staged, logits are read back. */
TEST(discrete_vulkan)
{
    struct hth_model_options options = {.device = test_device(), .treat_as_discrete = true};
    check_rich("qwen3moe", options);
    check_rich("llama-gqa", options);
}

/* --- rich-quant: each matrix in one block format -----------------------------------------------
 */

/* llama.cpp's own error with activations in bytes, doubled. */
static double tolerance_int(const struct golden *golden)
{
    assert_true(golden->nmse_f16 > 0);
    return 2 * golden->nmse_f16;
}

/* The default, as it comes; and integer kernels by name, for every number of columns. */
static void check_int(const char *path, struct hth_model *model, const struct golden *golden,
                      struct hth_model_options options)
{
    const struct logits_run whole = {.kv = HTH_KV_F32}, single = {.kv = HTH_KV_F32, .piece = 1};
    check(model, golden, &whole, tolerance_int(golden));
    check(model, golden, &single, tolerance_int(golden));
    if (model->devices[1].vk && vk_get_caps(model->devices[1].vk)->int_dot_any) {
        options.rows = "matmul_int";
        struct hth_model *forced = model_open(path, options);
        check_rows(forced, options.rows, 1);
        check_rows(forced, options.rows, 48);
        for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
            struct logits_run run = {.kv = HTH_KV_F32, .piece = pieces[i]};
            check(forced, golden, &run, tolerance_int(golden));
        }
        hth_model_close(forced);
    }
    if (multiplies(model, COOP_S8)) {
        options.rows = "matmul_coop_s8";
        struct hth_model *forced = model_open(path, options);
        check_rows(forced, options.rows, 48);
        check(forced, golden, &whole, tolerance_int(golden));
        hth_model_close(forced);
    }
}

static void check_quant_model(const char *name, struct hth_model_options options)
{
    struct golden golden;
    char path[1024];
    golden_open(&golden, test_golden_path("rich-quant/logits/%s.gguf", name));
    snprintf(path, sizeof path, "%s", test_golden_path("rich-quant/models/%s.gguf", name));
    struct hth_model *model = model_open(path, options);
    printf("%s\n", name);
    check_float(model, &golden);
    check_int(path, model, &golden, options);
    hth_model_close(model);
    golden_close(&golden);
}

/* `names`: the models in this format, NULL at the end. */
static void check_format(const char *format, bool vulkan, const char *const *names)
{
    char blob[64];
    const struct dtype *type = dtype_by_name(str_of(format));
    snprintf(blob, sizeof blob, "matvec_%s", type && type->shader ? type->shader : "");
    if (!type || !type->decode || (vulkan && !shader_blob_find(blob)))
        fail_msg("%s: not a format of this build", format);
    struct hth_model_options options = {.device = vulkan ? test_device() : "cpu"};
    for (; *names; names++)
        check_quant_model(*names, options);
}

#define QUANT(format, vulkan, ...)                                                                 \
    {                                                                                              \
        static const char *const names[] = {__VA_ARGS__, NULL};                                    \
        check_format(format, vulkan, names);                                                       \
    }

/* clang-format off */
TEST(quant_iq3_s) QUANT("IQ3_S", false, "iq3_s-dense")
TEST(quant_iq3_s_vulkan) QUANT("IQ3_S", true, "iq3_s-dense")
TEST(quant_iq4_nl) QUANT("IQ4_NL", false, "iq4_nl-dense")
TEST(quant_iq4_nl_vulkan) QUANT("IQ4_NL", true, "iq4_nl-dense")
TEST(quant_iq4_xs) QUANT("IQ4_XS", false, "iq4_xs-dense")
TEST(quant_iq4_xs_vulkan) QUANT("IQ4_XS", true, "iq4_xs-dense")
TEST(quant_mxfp4) QUANT("MXFP4", false, "mxfp4-dense", "mxfp4-moe")
TEST(quant_mxfp4_vulkan) QUANT("MXFP4", true, "mxfp4-dense", "mxfp4-moe")
TEST(quant_q2_k) QUANT("Q2_K", false, "q2_K-dense")
TEST(quant_q2_k_vulkan) QUANT("Q2_K", true, "q2_K-dense")
TEST(quant_q3_k) QUANT("Q3_K", false, "q3_K-dense", "q3_K-moe")
TEST(quant_q3_k_vulkan) QUANT("Q3_K", true, "q3_K-dense", "q3_K-moe")
TEST(quant_q4_0) QUANT("Q4_0", false, "q4_0-dense", "q4_0-moe")
TEST(quant_q4_0_vulkan) QUANT("Q4_0", true, "q4_0-dense", "q4_0-moe")
TEST(quant_q4_1) QUANT("Q4_1", false, "q4_1-dense", "q4_1-moe")
TEST(quant_q4_1_vulkan) QUANT("Q4_1", true, "q4_1-dense", "q4_1-moe")
TEST(quant_q4_k) QUANT("Q4_K", false, "q4_K-dense", "q4_K-moe")
TEST(quant_q4_k_vulkan) QUANT("Q4_K", true, "q4_K-dense", "q4_K-moe")
TEST(quant_q5_0) QUANT("Q5_0", false, "q5_0-dense")
TEST(quant_q5_0_vulkan) QUANT("Q5_0", true, "q5_0-dense")
TEST(quant_q5_1) QUANT("Q5_1", false, "q5_1-dense")
TEST(quant_q5_1_vulkan) QUANT("Q5_1", true, "q5_1-dense")
TEST(quant_q5_k) QUANT("Q5_K", false, "q5_K-dense")
TEST(quant_q5_k_vulkan) QUANT("Q5_K", true, "q5_K-dense")
TEST(quant_q6_k) QUANT("Q6_K", false, "q6_K-dense", "q6_K-moe")
TEST(quant_q6_k_vulkan) QUANT("Q6_K", true, "q6_K-dense", "q6_K-moe")
TEST(quant_q8_0) QUANT("Q8_0", false, "q8_0-dense", "q8_0-moe")
TEST(quant_q8_0_vulkan) QUANT("Q8_0", true, "q8_0-dense", "q8_0-moe")
TEST(quant_tq1_0) QUANT("TQ1_0", false, "tq1_0-dense")
TEST(quant_tq1_0_vulkan) QUANT("TQ1_0", true, "tq1_0-dense")
TEST(quant_tq2_0) QUANT("TQ2_0", false, "tq2_0-dense")
TEST(quant_tq2_0_vulkan) QUANT("TQ2_0", true, "tq2_0-dense")
    /* clang-format on */
