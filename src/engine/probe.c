#include "engine/probe.h"

#include <math.h>
#include <string.h>

#include "base/attr.h"
#include "base/mem.h"
#include "base/os.h"
#include "cpu/cpu_exec.h"
#include "gpu/exec.h"

enum { SHORT, LONG, CHAINS, MANY_TOKENS = 512 };

/* Products one after the other: the difference of two chains is free of what a batch costs. */
struct shape {
    int device, n, n_tokens; /* the side of the matrix */
    const struct dtype *dtype;
    int n_products[CHAINS];
};

/* A square matrix, and chains of products with it. */
struct trial {
    struct shape shape;
    unsigned char *bytes; /* of the matrix, and behind it a table of one row */
    struct weight matrix, table;
    struct graph graph[CHAINS];
    struct interleaved *interleaved; /* the CPU's copy of the matrix, as models have it */
    struct cpu_exec *cpu[CHAINS];
    struct gpu_exec *gpu[CHAINS];
    struct place place;
    double least_s[CHAINS]; /* that they took so far; 0: nothing yet */
    bool ready;
};

struct chain {
    const struct trial *trial;
    int n_products;
};

struct machine_probe {
    struct pool *pool;
    struct vk *const *vk; /* by device */
    int n_devices;
    struct trial trial;
    struct chain chains[CHAINS];
    int32_t zeros[MANY_TOKENS];
};

/* --- chains ----------------------------------------------------------------------------------- */

static enum hth_status build_chain(void *user, struct graph *graph, struct batch_size size)
{
    const struct chain *chain = user;
    graph_init(graph, size.n_tokens, size.n_outputs, NULL);
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
    interleaved_destroy(trial->interleaved);
    place_free(&trial->place);
    mem_free(trial->bytes);
    *trial = (struct trial){.shape.device = -1};
}

/* A row that a product leaves about as large as what it is multiplied with; in formats that hearth
 * does not write, bytes that are small numbers in all. */
static void make_row(const struct dtype *dtype, size_t n, unsigned char *row)
{
    float block[256];
    memset(row, 0x11, dtype_row_bytes(dtype, n));
    if (!dtype->encode || dtype->block_elems > ARRAY_LEN(block))
        return;
    for (size_t i = 0; i < ARRAY_LEN(block); i++)
        block[i] = 1 / (float)n + (i % 2 ? 1.0f : -1.0f) / 16;
    for (size_t i = 0; i < n; i += dtype->block_elems)
        dtype->encode(block, row + dtype_row_bytes(dtype, i), dtype->block_elems);
}

/* No byte may be one of a page that is only promised: all are written. */
static bool make_matrix(struct trial *trial)
{
    size_t n = (size_t)trial->shape.n;
    const struct dtype *dtype = trial->shape.dtype;
    size_t row = dtype_row_bytes(dtype, n), matrix = n * row, table = n * sizeof(float);
    trial->bytes = mem_alloc(matrix + table);
    if (!trial->bytes)
        return false;
    make_row(dtype, n, trial->bytes);
    for (size_t r = 1; r < n; r++)
        memcpy(trial->bytes + r * row, trial->bytes, row);
    memset(trial->bytes + matrix, 0x3c, table); /* 0.0115 */
    trial->matrix = (struct weight){.name = "matrix",
                                    .dtype = dtype,
                                    .ne = {trial->shape.n, trial->shape.n, 1, 1},
                                    .data = trial->bytes,
                                    .size_bytes = matrix};
    trial->table = (struct weight){.name = "table",
                                   .dtype = &dtype_f32,
                                   .ne = {trial->shape.n, 1, 1, 1},
                                   .data = trial->bytes + matrix,
                                   .size_bytes = table,
                                   .index = 1};
    return true;
}

static enum hth_status open_cpu(struct machine_probe *probe, int c)
{
    struct trial *trial = &probe->trial;
    const struct interleaved_options room = {.most_bytes = 2 * trial->matrix.size_bytes};
    enum hth_status status = HTH_OK;
    if (c == 0)
        status = interleaved_create(&trial->interleaved, 2, &room, NULL);
    struct cpu_exec_options options = {.pool = probe->pool, .interleaved = trial->interleaved};
    const struct batch_size size = {.n_tokens = trial->shape.n_tokens, .n_outputs = 1};
    if (status == HTH_OK)
        status = build_chain(&probe->chains[c], &trial->graph[c], size);
    return status ? status : cpu_exec_create(&trial->cpu[c], &trial->graph[c], &options, NULL);
}

static enum hth_status open_gpu(struct machine_probe *probe, int c)
{
    struct trial *trial = &probe->trial;
    struct vk *vk = probe->vk[trial->shape.device];
    struct gpu_exec_options options = {.vk = vk,
                                       .place = &trial->place,
                                       .build = build_chain,
                                       .user = &probe->chains[c],
                                       .n_seqs = 1,
                                       .table_stride = MANY_TOKENS / KV_PAGE,
                                       .max_tokens = trial->shape.n_tokens,
                                       .n_kv_pages = MANY_TOKENS / KV_PAGE};
    const struct weight *const weights[] = {&trial->matrix, &trial->table};
    const struct place_options all = {0};
    enum hth_status status = HTH_OK;
    if (c == 0)
        status = place_weights(&trial->place, vk, weights, 2, &all, NULL);
    return status ? status : gpu_exec_create(&trial->gpu[c], &options, NULL);
}

static bool same_shape(const struct shape *a, const struct shape *b)
{
    return a->device == b->device && a->n == b->n && a->n_tokens == b->n_tokens &&
           a->dtype == b->dtype && a->n_products[LONG] == b->n_products[LONG];
}

/* Makes the trial be the one that is asked for, unless it is. */
static bool want_trial(struct machine_probe *probe, const struct shape *shape)
{
    struct trial *trial = &probe->trial;
    if (same_shape(&trial->shape, shape))
        return trial->ready;
    close_trial(trial);
    trial->shape = *shape;
    bool good = make_matrix(trial);
    for (int c = 0; c < CHAINS && good; c++) {
        probe->chains[c] = (struct chain){trial, shape->n_products[c]};
        good = (shape->device ? open_gpu(probe, c) : open_cpu(probe, c)) == HTH_OK;
    }
    trial->ready = good;
    return good;
}

/* --- timing ----------------------------------------------------------------------------------- */

/* Seconds of one batch through a chain; 0 on failure. */
static double chain_s(struct machine_probe *probe, int c)
{
    struct trial *trial = &probe->trial;
    const int32_t last = trial->shape.n_tokens - 1;
    const uint32_t pages[MANY_TOKENS / KV_PAGE] = {0};
    struct batch batch = {.n_tokens = trial->shape.n_tokens,
                          .ids = probe->zeros,
                          .pos = probe->zeros,
                          .seq = probe->zeros,
                          .n_outputs = 1,
                          .outputs = &last,
                          .page_table = pages,
                          .table_stride = MANY_TOKENS / KV_PAGE,
                          .n_seqs = 1};
    const void *result;
    uint64_t began = os_time_ns();
    enum hth_status status = trial->shape.device ? gpu_exec_run(trial->gpu[c], &batch, &result)
                                                 : cpu_exec_run(trial->cpu[c], &batch, NULL, NULL);
    return status == HTH_OK ? (double)(os_time_ns() - began) / 1e9 : 0;
}

/* One product of a chain, by the least that chains took so far: what a busy machine adds is not the
 * product's. */
static double product_s(struct machine_probe *probe, const struct shape *shape)
{
    if (!want_trial(probe, shape))
        return 0;
    double *least = probe->trial.least_s;
    for (int c = 0; c < CHAINS; c++) {
        double now = chain_s(probe, c);
        least[c] = least[c] > 0 && least[c] < now ? least[c] : now;
    }
    bool good = least[SHORT] > 0 && least[LONG] > least[SHORT];
    return good
               ? (least[LONG] - least[SHORT]) / (shape->n_products[LONG] - shape->n_products[SHORT])
               : 0;
}

/* A square matrix of so many elements. */
static struct shape square(int device, const struct dtype *dtype, double elems, int n_tokens)
{
    int block = (int)dtype->block_elems > 32 ? (int)dtype->block_elems : 32;
    int blocks = (int)(sqrt(elems) / block + 0.5);
    return (struct shape){.device = device,
                          .n = (blocks > 0 ? blocks : 1) * block,
                          .n_tokens = n_tokens,
                          .dtype = dtype,
                          .n_products = {1, 5}};
}

/* What the product with a square matrix takes, as of one of exactly so many elements. */
static double square_s(struct machine_probe *probe, int device, const struct dtype *dtype,
                       double elems, int n_tokens)
{
    struct shape shape = square(device, dtype, elems, n_tokens);
    return product_s(probe, &shape) * elems / ((double)shape.n * shape.n);
}

static double copy_s(struct vk *vk, uint64_t bytes)
{
    uint32_t chunk;
    double seconds = 0;
    unsigned char *data = mem_alloc((size_t)bytes);
    if (data && vk_chunk_create(vk, bytes, VK_MEMORY_DEVICE, "probe", &chunk) == HTH_OK) {
        memset(data, 1, (size_t)bytes);
        uint64_t began = os_time_ns();
        if (vk_upload(vk, chunk, 0, data, bytes) == HTH_OK && vk_transfer_wait(vk) == HTH_OK)
            seconds = (double)(os_time_ns() - began) / 1e9;
        vk_chunk_destroy(vk, chunk);
    }
    mem_free(data);
    return seconds;
}

/* Elements of `bytes` in a format. */
static double elems_of(const struct dtype *dtype, uint64_t bytes)
{
    return (double)bytes / dtype->block_bytes * dtype->block_elems;
}

/* An op with next to no work, of which many fit into the time of a batch. */
static double op_s(struct machine_probe *probe, int device)
{
    enum { SMALL = 256, MANY = 101 };
    struct shape shape = square(device, &dtype_q8_0, SMALL * SMALL, 1);
    shape.n_products[LONG] = MANY;
    return product_s(probe, &shape);
}

/* The smallest batch there is: a row in, its product out. */
static double hop_s(struct machine_probe *probe, int device, uint64_t bytes)
{
    struct shape shape = square(device, &dtype_q8_0, (double)bytes / sizeof(float) / 32, 1);
    return want_trial(probe, &shape) ? chain_s(probe, SHORT) : 0;
}

double machine_probe_format_s(void *user, enum probe_kind kind, int device,
                              const struct dtype *dtype, uint64_t amount)
{
    struct machine_probe *probe = user;
    if (device >= probe->n_devices)
        return 0;
    return kind == PROBE_READ
               ? square_s(probe, device, dtype, elems_of(dtype, amount), 1)
               : square_s(probe, device, dtype, (double)amount / (2 * MANY_TOKENS), MANY_TOKENS);
}

double machine_probe_time_s(void *user, enum probe_kind kind, int device, uint64_t amount)
{
    struct machine_probe *probe = user;
    if (device >= probe->n_devices)
        return 0;
    switch (kind) {
    case PROBE_OP: return op_s(probe, device);
    case PROBE_READ:
    case PROBE_MATRIX: return machine_probe_format_s(probe, kind, device, &dtype_q8_0, amount);
    case PROBE_COPY: return device ? copy_s(probe->vk[device], amount) : 0;
    case PROBE_HOP: return hop_s(probe, device, amount);
    case PROBE_DIRECT: break; /* no kernel does that yet */
    }
    return 0;
}

enum hth_status machine_probe_open(struct machine_probe **out, struct pool *pool,
                                   struct vk *const *vk, int n_devices, const struct log *log)
{
    struct machine_probe *probe = *out = mem_calloc(1, sizeof *probe);
    if (!probe)
        return log_fail_memory(log, "the measuring of this machine", sizeof *probe);
    probe->pool = pool;
    probe->vk = vk;
    probe->n_devices = n_devices;
    probe->trial.shape.device = -1;
    return HTH_OK;
}

void machine_probe_close(struct machine_probe *probe)
{
    if (!probe)
        return;
    close_trial(&probe->trial);
    mem_free(probe);
}
