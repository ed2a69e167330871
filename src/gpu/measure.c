#include "gpu/exec.h"

#include "base/mem.h"

struct row_env gpu_exec_env(const struct gpu_exec_options *options)
{
    return (struct row_env){.caps = vk_get_caps(options->vk),
                            .float_only = options->float_only,
                            .forced = options->forced_rows,
                            .bars = options->bars,
                            .plain = options->plain,
                            .n_seqs = options->n_seqs};
}

/* The sizes of one bucket's program. */
static enum hth_status measure_bucket(const struct gpu_exec_options *options, int n_tokens,
                                      int n_outputs, struct program *out, const struct log *log)
{
    struct graph graph;
    struct row_env env = gpu_exec_env(options);
    struct compile_options compile = {.vk = options->vk,
                                      .env = env,
                                      .place = options->place,
                                      .table_stride = options->table_stride};
    enum hth_status status = options->build(options->user, &graph, n_tokens, n_outputs);
    if (status == HTH_OK)
        status = compile_fuse(&graph, &env);
    if (status == HTH_OK)
        status = compile_measure(out, &graph, &compile, log);
    graph_free(&graph);
    return status;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Buffers are as large as the largest bucket wants. Few tokens run by other rows than many: the
 * most of both are asked. */
enum hth_status gpu_exec_measure(const struct gpu_exec_options *options, uint64_t *cache,
                                 uint64_t *work, const struct log *log)
{
    uint64_t activations = 0, batch = 0;
    int most = gpu_bucket(options->max_tokens), few = most < ROW_FEW_TOKENS ? most : ROW_FEW_TOKENS;
    int n_outputs = options->max_outputs > 1 ? options->max_outputs : 1;
    enum hth_status status = HTH_OK;
    for (int n = few; n > 0 && status == HTH_OK; n = n < most ? most : 0) {
        struct program sizes = {0};
        status = measure_bucket(options, n, gpu_output_bucket(n_outputs, n), &sizes, log);
        activations = larger(activations, sizes.activation_bytes);
        batch = larger(batch, 4ull * sizes.batch.n_words);
    }
    *cache = options->kv_page_bytes * (uint64_t)options->n_kv_pages;
    *work = align_up(activations, VK_REF_ALIGN) + align_up(batch, VK_REF_ALIGN);
    return status;
}
