#include "logits.h"

#include <stdio.h>

#include "cpu/cpu_exec.h"
#include "engine/plan_part.h"
#include "engine/rows.h"
#include "engine/session_part.h"
#include "kv/kv.h"

/* How many dispatches a layer takes: small models are bound by them and by the barriers between. */

enum { DENSE_MOST = 7, MOE_MOST = 9, INPUTS = 4 };

/* Of the layers of all models: the most that one takes. */
struct count {
    int dense, moe, quantized;
    int n_layers;
    char dense_text[4096], moe_text[4096];
    /* the layer at hand */
    struct {
        int layer, steps, quantized;
        char text[4096];
    } now;
};

static void end_layer(struct count *c, bool moe)
{
    int *most = moe ? &c->moe : &c->dense;
    if (c->now.steps > *most) {
        *most = c->now.steps;
        memcpy(moe ? c->moe_text : c->dense_text, c->now.text, sizeof c->now.text);
    }
    c->quantized = c->now.quantized > c->quantized ? c->now.quantized : c->quantized;
    c->n_layers += c->now.steps > 0;
    memset(&c->now, 0, sizeof c->now);
}

/* Steps come in order, those behind a model's last layer without one. */
static void add(void *user, const struct row_step *step)
{
    struct count *c = user;
    if (step->layer != c->now.layer)
        end_layer(c, step->moe);
    c->now.layer = step->layer;
    if (step->layer < 0)
        return;
    size_t at = strlen(c->now.text);
    snprintf(c->now.text + at, sizeof c->now.text - at, "    %s: %s by %s\n", step->arch,
             step->label, step->row);
    c->now.steps++;
    c->now.quantized += strcmp(step->row, "quantize") == 0;
}

static struct count count(const char *model, const char *rows, int n_tokens)
{
    struct count c = {.now.layer = -1};
    const struct log *log = test_log();
    struct rows_options options = {.model = model,
                                   .device = {.device = test_device(),
                                              .rows = rows,
                                              .log = log->write,
                                              .log_user = log->user,
                                              .log_level = HTH_LOG_WARNING}};
    if (rows_steps(&options, n_tokens, add, &c) != HTH_OK)
        fail_msg("%s", test_log_text());
    assert_true(c.n_layers > 0);
    return c;
}

static void check(const char *model, const char *rows)
{
    struct count c = count(model, rows, 1);
    printf("%s by %s: dense %d, with experts %d dispatches a layer\n", model ? model : "all",
           rows ? rows : "selection", c.dense, c.moe);
    if (c.dense > DENSE_MOST)
        fail_msg("a dense layer takes %d dispatches:\n%s", c.dense, c.dense_text);
    if (c.moe > MOE_MOST)
        fail_msg("a layer with experts takes %d dispatches:\n%s", c.moe, c.moe_text);
}

/* Every architecture, by this device's rows and by those that most cards have. */
TEST(one_token)
{
    check(NULL, NULL);
    check(NULL, "matvec_f32");
}

/* Where the values' matrix has another format than those of queries and keys. */
TEST(one_token_of_mixed_formats)
{
    check("synth:tiny-llama:q4_k_m", NULL);
    check("synth:tiny-moe:q4_k_m", NULL);
}

static void count_step(void *user, const struct row_step *step)
{
    *(int *)user += step->layer >= 0;
}

/* Ops of all layers, for one token on the CPU. */
static int count_cpu(const struct model *model)
{
    struct kv_geom kv[64];
    struct graph graph;
    int n = 0;
    assert_true(model->hp.n_layer <= 64);
    model_kv_geometry(model, &dtype_f16, kv);
    assert_true(kv_layout(kv, model->hp.n_layer, test_log()) > 0);
    assert_int_equal(whole_build(model, kv, &graph, (struct batch_size){1, 1, 0}), HTH_OK);
    assert_int_equal(cpu_fuse(&graph), HTH_OK);
    for (size_t i = 0; i < graph.n_ops; i++)
        n += graph.ops[i]->layer >= 0;
    graph_free(&graph);
    return n;
}

/* What is planned for is what is done. */
TEST(one_token_as_planned)
{
    static const char *const models[] = {"synth:tiny-llama:q8_0", "synth:tiny-llama:q4_k_m",
                                         "synth:tiny-moe:q8_0", "synth:tiny-moe:q4_k_m"};
    const char *device = test_device(); /* or the test ends here */
    for (size_t m = 0; m < ARRAY_LEN(models); m++) {
        struct plan_report *report;
        struct plan_request request = {.model = models[m],
                                       .profile = test_data_path("machines/card-8.json")};
        assert_int_equal(plan_report_open(&report, &request), HTH_OK);
        int on_gpu = 0, on_cpu = 0, gpu = 0, cpu = count_cpu(report->model);
        for (int i = 0; i < report->units.n_units; i++) {
            const struct unit *unit = &report->units.items[i];
            bool head = unit->kind == UNIT_HEAD;
            on_gpu += head ? 0 : unit->n_ops;
            on_cpu += head ? 0 : unit->n_ops + unit->n_cpu_ops;
        }
        struct rows_options options = {.model = models[m], .device.device = device};
        assert_int_equal(rows_steps(&options, 1, count_step, &gpu), HTH_OK);
        printf("%s: %d dispatches, %d planned; %d ops of the CPU, %d planned\n", models[m], gpu,
               on_gpu, cpu, on_cpu);
        assert_int_equal(on_gpu, gpu);
        assert_int_equal(on_cpu, cpu);
        plan_report_close(report);
    }
}

/* Activations become bytes once, whoever reads them: for q k v, for the output, for gate and up,
 * for down. */
TEST(quantized_once)
{
    struct count c = count("synth:tiny-llama:q4_k_m", "matmul_int", 64);
    if (c.quantized == 0)
        test_skip("no integer dot products on this device");
    assert_int_equal(c.quantized, INPUTS);
}
