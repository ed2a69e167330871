#include "gpu/exec.h"

#include "base/mem.h"

struct row_env gpu_exec_env(const struct gpu_exec_options *options)
{
    return (struct row_env){.caps = vk_get_caps(options->vk),
                            .float_only = options->float_only,
                            .forced = options->forced_rows,
                            .bars = options->bars,
                            .tuned = options->tuned,
                            .plain = options->plain,
                            .n_seqs = options->n_seqs};
}

struct place_options gpu_exec_ring(const struct gpu_exec_options *options)
{
    const struct gpu_stream *stream = &options->stream;
    return (struct place_options){.wanted = stream->wanted,
                                  .user = stream->user,
                                  .ring_bytes = stream->ring_bytes,
                                  .resident = options->place};
}

/* The sizes of one bucket's program. */
static enum hth_status measure_bucket(const struct gpu_exec_options *options,
                                      const struct place *ring, int n_tokens, struct program *out,
                                      const struct log *log)
{
    struct batch_size size = {n_tokens, gpu_output_bucket(options->max_outputs, n_tokens),
                              options->n_best};
    struct graph graph;
    struct row_env env = gpu_exec_env(options);
    struct compile_options compile = {.vk = options->vk,
                                      .env = env,
                                      .place = options->place,
                                      .ring = n_tokens >= options->stream.from ? ring : NULL,
                                      .table_stride = options->table_stride};
    enum hth_status status = options->build(options->user, &graph, size);
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

/* Buffers are as large as the largest bucket wants. Few tokens run by other rows than many, some
 * more share pages of the cache among workgroups, and many run by another split where weights pass:
 * the most of each are asked. */
static enum hth_status measure_buckets(const struct gpu_exec_options *options,
                                       const struct place *ring, uint64_t *bytes,
                                       const struct log *log)
{
    uint64_t activations = 0, batch = 0;
    int most = gpu_bucket(options->max_tokens), from = ring ? gpu_bucket(options->stream.from) : 0;
    const int sizes[] = {most < ROW_FEW_TOKENS ? most : ROW_FEW_TOKENS,
                         most < SPLIT_TOKENS ? 0 : SPLIT_TOKENS, from <= most ? from / 2 : 0, most};
    enum hth_status status = HTH_OK;
    for (size_t i = 0; i < ARRAY_LEN(sizes) && status == HTH_OK; i++) {
        struct program program = {0};
        if (sizes[i] == 0 || (i > 0 && sizes[i] <= sizes[0]))
            continue;
        status = measure_bucket(options, ring, sizes[i], &program, log);
        activations = larger(activations, program.activation_bytes);
        batch = larger(batch, 4ull * program.batch.n_words);
    }
    *bytes = align_up(activations, VK_REF_ALIGN) + align_up(batch, VK_REF_ALIGN);
    return status;
}

enum hth_status gpu_exec_measure(const struct gpu_exec_options *options, struct gpu_need *need,
                                 const struct log *log)
{
    const struct gpu_stream *stream = &options->stream;
    struct place_options places = gpu_exec_ring(options);
    struct place ring = {0};
    enum hth_status status = HTH_OK;
    *need = (struct gpu_need){.cache = options->kv_page_bytes * (uint64_t)options->n_kv_pages};
    if (stream->ring_bytes)
        status = place_measure(&ring, vk_get_caps(options->vk), stream->weights, stream->n_weights,
                               &places, log);
    need->ring = ring.no_room ? UINT64_MAX / 4 : ring.resident_bytes;
    if (status == HTH_OK)
        status = measure_buckets(options, stream->ring_bytes ? &ring : NULL, &need->work, log);
    place_free(&ring);
    return status;
}
