#include "engine/probe.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "cpu/cpu_exec.h"
#include "gpu/exec.h"

enum { SHORT, LONG, CHAINS, MANY_TOKENS = 512, BLOCK = 32 };

/* Products one after the other: the difference of two chains is free of what a batch costs. */
static const int n_products[CHAINS] = {1, 5};

/* A square matrix, and chains of products with it. */
struct trial {
    int device, n, n_tokens;
    unsigned char *bytes; /* of the matrix, and behind it a table of one row */
    struct weight matrix, table;
    struct graph graph[CHAINS];
    struct cpu_exec *cpu[CHAINS];
    struct gpu_exec *gpu[CHAINS];
    struct place place;
    bool ready;
};

struct chain {
    const struct trial *trial;
    int n_products;
};

struct machine_probe {
    struct pool *pool;
    struct vk *vk;
    struct trial trial;
    struct chain chains[CHAINS];
    int32_t zeros[MANY_TOKENS];
};

/* --- chains ----------------------------------------------------------------------------------- */

static enum hth_status build_chain(void *user, struct graph *graph, int n_tokens, int n_outputs)
{
    const struct chain *chain = user;
    graph_init(graph, n_tokens, n_outputs, NULL);
    struct tensor *matrix = graph_weight(graph, &chain->trial->matrix);
    struct tensor *x =
        op_get_rows(graph, "x", graph_weight(graph, &chain->trial->table), INDEX_TOKENS);
    for (int i = 0; i < chain->n_products; i++)
        x = op_matmul(graph, "y", matrix, x, NULL);
    graph->logits = op_get_rows(graph, "out", x, INDEX_OUTPUTS);
    return graph->status;
}

static void close_trial(struct trial *trial)
{
    for (int c = 0; c < CHAINS; c++) {
        gpu_exec_destroy(trial->gpu[c]);
        cpu_exec_destroy(trial->cpu[c]);
        graph_free(&trial->graph[c]);
    }
    place_free(&trial->place);
    mem_free(trial->bytes);
    *trial = (struct trial){.device = -1};
}

/* No byte may be one of a page that is only promised: all are written. */
static bool make_matrix(struct trial *trial)
{
    size_t n = (size_t)trial->n;
    size_t matrix = n * dtype_row_bytes(&dtype_q8_0, n), row = n * sizeof(float);
    trial->bytes = mem_alloc(matrix + row);
    if (!trial->bytes)
        return false;
    memset(trial->bytes, 1, matrix);
    memset(trial->bytes + matrix, 0x3c, row); /* 0.0115 */
    trial->matrix = (struct weight){.name = "matrix",
                                    .dtype = &dtype_q8_0,
                                    .ne = {trial->n, trial->n, 1, 1},
                                    .data = trial->bytes,
                                    .size_bytes = matrix};
    trial->table = (struct weight){.name = "table",
                                   .dtype = &dtype_f32,
                                   .ne = {trial->n, 1, 1, 1},
                                   .data = trial->bytes + matrix,
                                   .size_bytes = row,
                                   .index = 1};
    return true;
}

static enum hth_status open_cpu(struct machine_probe *probe, int c)
{
    struct trial *trial = &probe->trial;
    struct cpu_exec_options options = {.pool = probe->pool};
    enum hth_status status = build_chain(&probe->chains[c], &trial->graph[c], trial->n_tokens, 1);
    return status ? status : cpu_exec_create(&trial->cpu[c], &trial->graph[c], &options, NULL);
}

static enum hth_status open_gpu(struct machine_probe *probe, int c)
{
    struct trial *trial = &probe->trial;
    struct gpu_exec_options options = {.vk = probe->vk,
                                       .place = &trial->place,
                                       .build = build_chain,
                                       .user = &probe->chains[c],
                                       .n_seqs = 1,
                                       .table_stride = MANY_TOKENS / KV_PAGE,
                                       .max_tokens = trial->n_tokens,
                                       .n_kv_pages = MANY_TOKENS / KV_PAGE};
    const struct weight *const weights[] = {&trial->matrix, &trial->table};
    const struct place_options all = {0};
    enum hth_status status = HTH_OK;
    if (c == 0)
        status = place_weights(&trial->place, probe->vk, weights, 2, &all, NULL);
    return status ? status : gpu_exec_create(&trial->gpu[c], &options, NULL);
}

/* Makes the trial be the one that is asked for, unless it is. */
static bool want_trial(struct machine_probe *probe, int device, int n, int n_tokens)
{
    struct trial *trial = &probe->trial;
    if (trial->device == device && trial->n == n && trial->n_tokens == n_tokens)
        return trial->ready;
    close_trial(trial);
    *trial = (struct trial){.device = device, .n = n, .n_tokens = n_tokens};
    bool good = (device == 0 || probe->vk) && make_matrix(trial);
    for (int c = 0; c < CHAINS && good; c++) {
        probe->chains[c] = (struct chain){trial, n_products[c]};
        good = (device ? open_gpu(probe, c) : open_cpu(probe, c)) == HTH_OK;
    }
    trial->ready = good;
    return good;
}

/* --- timing ----------------------------------------------------------------------------------- */

/* Seconds of one batch through a chain; 0 on failure. */
static double chain_s(struct machine_probe *probe, int c)
{
    struct trial *trial = &probe->trial;
    const int32_t last = trial->n_tokens - 1;
    const uint32_t pages[MANY_TOKENS / KV_PAGE] = {0};
    struct batch batch = {.n_tokens = trial->n_tokens,
                          .ids = probe->zeros,
                          .pos = probe->zeros,
                          .seq = probe->zeros,
                          .n_outputs = 1,
                          .outputs = &last,
                          .page_table = pages,
                          .table_stride = MANY_TOKENS / KV_PAGE,
                          .n_seqs = 1};
    const float *logits;
    uint64_t began = os_time_ns();
    enum hth_status status = trial->device ? gpu_exec_run(trial->gpu[c], &batch, &logits)
                                           : cpu_exec_run(trial->cpu[c], &batch, NULL, NULL);
    return status == HTH_OK ? (double)(os_time_ns() - began) / 1e9 : 0;
}

static double product_s(struct machine_probe *probe)
{
    double once = chain_s(probe, SHORT), often = chain_s(probe, LONG);
    bool good = once > 0 && often > once;
    return good ? (often - once) / (n_products[LONG] - n_products[SHORT]) : 0;
}

/* The side of a square matrix of so many elements. */
static int side_of(double elems)
{
    int blocks = (int)(sqrt(elems) / BLOCK + 0.5);
    return (blocks > 0 ? blocks : 1) * BLOCK;
}

static double copy_s(struct machine_probe *probe, uint64_t bytes)
{
    uint32_t chunk;
    double seconds = 0;
    unsigned char *data = mem_alloc((size_t)bytes);
    if (data && vk_chunk_create(probe->vk, bytes, VK_MEMORY_DEVICE, "probe", &chunk) == HTH_OK) {
        memset(data, 1, (size_t)bytes);
        uint64_t began = os_time_ns();
        if (vk_upload(probe->vk, chunk, 0, data, bytes) == HTH_OK &&
            vk_transfer_wait(probe->vk) == HTH_OK)
            seconds = (double)(os_time_ns() - began) / 1e9;
        vk_chunk_destroy(probe->vk, chunk);
    }
    mem_free(data);
    return seconds;
}

double machine_probe_time_s(void *user, enum probe_kind kind, int device, uint64_t amount)
{
    struct machine_probe *probe = user;
    double bytes_per_elem = (double)dtype_q8_0.block_bytes / BLOCK;
    if (device > 0 && (!probe->vk || device > 1))
        return 0;
    switch (kind) {
    case PROBE_READ:
        return want_trial(probe, device, side_of((double)amount / bytes_per_elem), 1)
                   ? product_s(probe)
                   : 0;
    case PROBE_MATRIX:
        return want_trial(probe, device, side_of((double)amount / (2 * MANY_TOKENS)), MANY_TOKENS)
                   ? product_s(probe)
                   : 0;
    case PROBE_COPY: return copy_s(probe, amount);
    case PROBE_HOP: /* the smallest batch there is: a row in, its product out */
        return want_trial(probe, device, side_of((double)amount / sizeof(float) / BLOCK), 1)
                   ? chain_s(probe, SHORT)
                   : 0;
    case PROBE_DIRECT: break; /* no kernel does that yet */
    }
    return 0;
}

enum hth_status machine_probe_open(struct machine_probe **out, struct pool *pool, struct vk *vk,
                                   const struct log *log)
{
    struct machine_probe *probe = *out = mem_calloc(1, sizeof *probe);
    if (!probe)
        return log_fail_memory(log, "the measuring of this machine", sizeof *probe);
    probe->pool = pool;
    probe->vk = vk;
    probe->trial.device = -1;
    return HTH_OK;
}

void machine_probe_close(struct machine_probe *probe)
{
    if (!probe)
        return;
    close_trial(&probe->trial);
    mem_free(probe);
}
