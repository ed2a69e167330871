#include "engine/probe.h"

#include <math.h>
#include <string.h>

#include "base/attr.h"
#include "base/mem.h"
#include "base/os.h"
#include "cpu/cpu_exec.h"
#include "gpu/exec.h"
#include "kv/kv.h"

enum {
    SHORT,
    LONG,
    CHAINS,
    MANY_TOKENS = 512,
    MOST_LAYERS = 17,
    MOST_MATRICES = 512,
    MOST_TIMES = 9
};
enum { MORE_THAN_CACHES = 64 << 20 }; /* bytes */

/* Products with square matrices, in turn, feed-forward blocks, norms with gates, or attention where
 * there are pages of a cache, each with those of a layer of its own, one after the other: the
 * difference of two chains is free of what a batch costs. */
struct shape {
    int device, n, n_tokens; /* n: the side of the matrix; of attention the width of queries */
    const struct dtype *dtype;
    struct cache_shape cache;
    int n_pages;
    bool links;     /* of what is no product: a norm, and a gate of it */
    int n_matrices; /* of products */
    int n_ff;       /* of blocks, each with three of the matrices: their inner width; else 0 */
    int n_products[CHAINS];
};

/* What is computed with, and the chains. */
struct trial {
    struct shape shape;
    unsigned char *bytes; /* of the matrices, and behind them a table of one row */
    struct kv_geom layers[MOST_LAYERS];
    unsigned char *pages;
    uint64_t page_bytes;
    uint32_t *page_numbers;
    void **page_places;
    struct weight table, matrices[MOST_MATRICES];
    struct graph graph[CHAINS];
    struct interleaved *interleaved; /* the CPU's copy of the matrices, as models have them */
    struct cpu_exec *cpu[CHAINS];
    struct gpu_exec *gpu[CHAINS];
    struct place place;
    double times[CHAINS][MOST_TIMES]; /* seconds that they took so far, ascending */
    int n_times;
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
    int32_t zeros[MANY_TOKENS], positions[MANY_TOKENS];
};

/* --- chains ----------------------------------------------------------------------------------- */

/* Each waits for the one before where its result can be the next one's queries. */
static struct tensor *attend(struct graph *graph, const struct trial *trial, int layer,
                             struct tensor *x)
{
    const struct kv_geom *kv = &trial->layers[layer];
    int n_head = trial->shape.cache.n_head;
    const struct attention_params params = {.n_head = n_head, .scale = 1 / sqrtf((float)kv->k_dim)};
    struct tensor *q = graph_reshape(graph, x, kv->k_dim, n_head, graph->n_tokens);
    struct tensor *y = op_attention(graph, "y", q, graph_kv(graph, "kv", kv), NULL, &params);
    return kv->k_dim == kv->v_dim ? y : x;
}

static struct tensor *multiply(struct graph *graph, const struct trial *trial, int i,
                               struct tensor *x)
{
    const struct weight *matrix = &trial->matrices[i % trial->shape.n_matrices];
    return op_matmul(graph, "y", graph_weight(graph, matrix), x, NULL);
}

static struct tensor *next_of(struct graph *graph, const struct trial *trial, int i,
                              struct tensor *x, struct tensor *norm)
{
    const struct shape *shape = &trial->shape;
    if (shape->n_pages)
        return attend(graph, trial, i, x);
    if (shape->links)
        return op_glu(graph, "y", x, op_rms_norm(graph, "n", x, norm, 1e-5f), GLU_SILU);
    if (!shape->n_ff)
        return multiply(graph, trial, i, x);
    struct tensor *normed = op_rms_norm(graph, "n", x, norm, 1e-5f);
    struct tensor *gate = multiply(graph, trial, 3 * i, normed);
    struct tensor *up = multiply(graph, trial, 3 * i + 1, normed);
    struct tensor *inner = op_glu(graph, "g", gate, up, GLU_SILU);
    return op_add(graph, "r", x, multiply(graph, trial, 3 * i + 2, inner));
}

static enum hth_status build_chain(void *user, struct graph *graph, struct batch_size size)
{
    const struct chain *chain = user;
    graph_init(graph, size.n_tokens, size.n_outputs, NULL);
    struct tensor *table = graph_weight(graph, &chain->trial->table);
    struct tensor *x = op_get_rows(graph, "x", table, INDEX_TOKENS);
    for (int i = 0; i < chain->n_products; i++)
        x = next_of(graph, chain->trial, i, x, table);
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
    mem_free(trial->pages);
    mem_free(trial->page_numbers);
    mem_free(trial->page_places);
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

/* Matrix i of a trial, which has no bytes yet. */
static struct weight matrix_of(const struct shape *shape, int i)
{
    int64_t from = shape->n, to = shape->n;
    if (shape->n_ff && i % 3 < 2)
        to = shape->n_ff;
    else if (shape->n_ff)
        from = shape->n_ff;
    return (struct weight){.name = "matrix",
                           .dtype = shape->dtype,
                           .ne = {from, to, 1, 1},
                           .size_bytes = (size_t)to * dtype_row_bytes(shape->dtype, (size_t)from),
                           .index = 1 + i};
}

/* No byte may be one of a page that is only promised: all are written. */
static bool make_matrices(struct trial *trial)
{
    const struct shape *shape = &trial->shape;
    size_t table = (size_t)shape->n * sizeof(float), all = 0, at = 0;
    for (int i = 0; i < shape->n_matrices; i++)
        all += matrix_of(shape, i).size_bytes;
    trial->bytes = mem_alloc(all + table);
    if (!trial->bytes)
        return false;
    for (int i = 0; i < shape->n_matrices; i++) {
        struct weight *matrix = &trial->matrices[i];
        *matrix = matrix_of(shape, i);
        unsigned char *bytes = trial->bytes + at;
        size_t row = matrix->size_bytes / (size_t)matrix->ne[1];
        make_row(shape->dtype, (size_t)matrix->ne[0], bytes);
        for (size_t r = 1; r < (size_t)matrix->ne[1]; r++)
            memcpy(bytes + r * row, bytes, row);
        matrix->data = bytes;
        at += matrix->size_bytes;
    }
    for (int i = 0; i < shape->n; i++) {
        const float one = 1;
        memcpy(trial->bytes + all + (size_t)i * sizeof one, &one, sizeof one);
    }
    trial->table = (struct weight){.name = "table",
                                   .dtype = &dtype_f32,
                                   .ne = {shape->n, 1, 1, 1},
                                   .data = trial->bytes + all,
                                   .size_bytes = table};
    return true;
}

/* Whatever the format, 0x11 everywhere are small numbers. */
static bool make_cache(struct trial *trial)
{
    size_t n = (size_t)trial->shape.n_pages;
    int n_layers = trial->shape.n_products[LONG];
    for (int i = 0; i < n_layers; i++)
        trial->layers[i] = trial->shape.cache.kv;
    trial->page_bytes = kv_layout(trial->layers, n_layers, NULL);
    trial->pages = trial->page_bytes ? mem_alloc(n * trial->page_bytes) : NULL;
    trial->page_numbers = mem_calloc(n, sizeof *trial->page_numbers);
    trial->page_places = mem_calloc(n, sizeof *trial->page_places);
    if (!trial->pages || !trial->page_numbers || !trial->page_places || !make_matrices(trial))
        return false;
    memset(trial->pages, 0x11, n * trial->page_bytes);
    for (size_t i = 0; i < n; i++) {
        trial->page_numbers[i] = (uint32_t)i;
        trial->page_places[i] = trial->pages + i * trial->page_bytes;
    }
    return true;
}

/* Pages that batches have a table for: products look at none. */
static int n_pages_of(const struct trial *trial)
{
    return trial->shape.n_pages ? trial->shape.n_pages : MANY_TOKENS / KV_PAGE;
}

static enum hth_status fill_pages(const struct trial *trial, struct gpu_exec *exec)
{
    enum hth_status status = HTH_OK;
    for (int i = 0; i < trial->shape.n_pages && status == HTH_OK; i++)
        status = gpu_exec_write_page(exec, i, trial->page_places[i]);
    return status;
}

static enum hth_status open_cpu(struct machine_probe *probe, int c)
{
    struct trial *trial = &probe->trial;
    const size_t n = (size_t)trial->shape.n_matrices;
    const struct interleaved_options room = {.most_bytes = UINT64_MAX};
    enum hth_status status = HTH_OK;
    if (c == 0 && n > 0)
        status = interleaved_create(&trial->interleaved, 1 + n, &room, NULL);
    struct cpu_exec_options options = {.pool = probe->pool, .interleaved = trial->interleaved};
    const struct batch_size size = {.n_tokens = trial->shape.n_tokens, .n_outputs = 1};
    if (status == HTH_OK)
        status = build_chain(&probe->chains[c], &trial->graph[c], size);
    if (status == HTH_OK)
        status = cpu_fuse(&trial->graph[c]);
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
                                       .table_stride = n_pages_of(trial),
                                       .max_tokens = trial->shape.n_tokens,
                                       .kv_page_bytes = trial->page_bytes,
                                       .n_kv_pages = n_pages_of(trial)};
    const struct weight *weights[1 + MOST_MATRICES] = {&trial->table};
    const size_t n = (size_t)trial->shape.n_matrices;
    const struct place_options all = {0};
    enum hth_status status = HTH_OK;
    for (size_t i = 0; i < n; i++)
        weights[1 + i] = &trial->matrices[i];
    if (c == 0)
        status = place_weights(&trial->place, vk, weights, 1 + n, &all, NULL);
    if (status == HTH_OK)
        status = gpu_exec_create(&trial->gpu[c], &options, NULL);
    return status ? status : fill_pages(trial, trial->gpu[c]);
}

static bool same_shape(const struct shape *a, const struct shape *b)
{
    char name[2][MACHINE_CACHE_NAME];
    if (a->device != b->device || a->n != b->n || a->n_tokens != b->n_tokens ||
        a->dtype != b->dtype || a->n_pages != b->n_pages || a->links != b->links ||
        a->n_matrices != b->n_matrices || a->n_ff != b->n_ff ||
        a->n_products[LONG] != b->n_products[LONG])
        return false;
    return !a->n_pages || strcmp(machine_cache_name(&a->cache, name[0]),
                                 machine_cache_name(&b->cache, name[1])) == 0;
}

/* Makes the trial be the one that is asked for, unless it is. */
static bool want_trial(struct machine_probe *probe, const struct shape *shape)
{
    struct trial *trial = &probe->trial;
    if (same_shape(&trial->shape, shape))
        return trial->ready;
    close_trial(trial);
    trial->shape = *shape;
    bool good = shape->n_pages ? make_cache(trial) : make_matrices(trial);
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
    const int n_tokens = trial->shape.n_tokens, n_pages = trial->shape.n_pages;
    const int32_t last = n_tokens - 1, first = n_pages ? n_pages * KV_PAGE - n_tokens : 0;
    static const uint32_t none[MANY_TOKENS / KV_PAGE];
    for (int i = 0; i < n_tokens; i++)
        probe->positions[i] = n_pages ? first + i : 0;
    struct batch batch = {.n_tokens = n_tokens,
                          .ids = probe->zeros,
                          .pos = probe->positions,
                          .seq = probe->zeros,
                          .n_outputs = 1,
                          .outputs = &last,
                          .page_table = n_pages ? trial->page_numbers : none,
                          .table_stride = n_pages_of(trial),
                          .n_seqs = 1};
    const void *result;
    uint64_t began = os_time_ns();
    enum hth_status status = trial->shape.device
                                 ? gpu_exec_run(trial->gpu[c], &batch, &result)
                                 : cpu_exec_run(trial->cpu[c], &batch, trial->page_places, NULL);
    return status == HTH_OK ? (double)(os_time_ns() - began) / 1e9 : 0;
}

/* Keeps the times in order; of more than there is room for the slowest goes. */
static void keep_time(struct trial *trial, int c, double seconds)
{
    double *times = trial->times[c];
    int i = trial->n_times < MOST_TIMES ? trial->n_times : MOST_TIMES - 1;
    for (; i > 0 && times[i - 1] > seconds; i--)
        times[i] = times[i - 1];
    times[i] = seconds;
}

/* One product of a chain, by the medians of what chains took so far, the lower of two: the first
 * found its data in no cache. On a machine so busy that the short chain's is the longer, by the
 * least of both. */
static double product_s(struct machine_probe *probe, const struct shape *shape)
{
    if (!want_trial(probe, shape))
        return 0;
    struct trial *trial = &probe->trial;
    for (int c = 0; c < CHAINS; c++) {
        double now = chain_s(probe, c);
        if (now <= 0)
            return 0;
        keep_time(trial, c, now);
    }
    const double *times_short = trial->times[SHORT], *times_long = trial->times[LONG];
    int middle = trial->n_times / 2;
    trial->n_times += trial->n_times < MOST_TIMES - 1;
    double seconds = times_long[middle] - times_short[middle];
    seconds = seconds > 0 ? seconds : times_long[0] - times_short[0];
    return seconds > 0 ? seconds / (shape->n_products[LONG] - shape->n_products[SHORT]) : 0;
}

/* Elements of `bytes` in a format. */
static double elems_of(const struct dtype *dtype, uint64_t bytes)
{
    return (double)bytes / dtype->block_bytes * dtype->block_elems;
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
                          .n_matrices = 1,
                          .n_products = {1, 5}};
}

/* What the product with a square matrix takes, as of one of exactly so many elements. */
static double square_s(struct machine_probe *probe, int device, const struct dtype *dtype,
                       double elems, int n_tokens)
{
    struct shape shape = square(device, dtype, elems, n_tokens);
    return product_s(probe, &shape) * elems / ((double)shape.n * shape.n);
}

/* A square matrix of this width, or a feed-forward block. Others come before it again, so that its
 * weights are in no cache. */
static double wide_s(struct machine_probe *probe, enum probe_kind kind, int device,
                     const struct dtype *dtype, double width)
{
    enum { LEAST = 5 };
    struct shape shape = square(device, dtype, width * width, 1);
    int each = 1;
    if (kind == PROBE_FFN) {
        each = 3;
        shape.n_ff = machine_ffn_width(shape.n);
    }
    double elems = (double)each * shape.n * (shape.n_ff ? shape.n_ff : shape.n);
    int n = (int)fmin(elems_of(dtype, MORE_THAN_CACHES) / elems, MOST_MATRICES / each);
    shape.n_matrices = each * (n > 0 ? n : 1);
    shape.n_products[LONG] = n < LEAST ? LEAST : n;
    return product_s(probe, &shape);
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

/* An op with next to no work, of which many fit into the time of a batch. */
static double op_s(struct machine_probe *probe, int device)
{
    enum { SMALL = 256, MANY = 101 };
    struct shape shape = square(device, &dtype_q8_0, SMALL * SMALL, 1);
    shape.n_products[LONG] = MANY;
    return product_s(probe, &shape);
}

/* A norm reads and writes a row, a gate reads two and writes one. */
static double activation_s(struct machine_probe *probe, int device, uint64_t bytes)
{
    const uint64_t column_bytes = 5 * sizeof(float) * MANY_TOKENS;
    int n = (int)(bytes / column_bytes) / 32 * 32;
    const struct shape shape = {.device = device,
                                .n = n > 0 ? n : 32,
                                .n_tokens = MANY_TOKENS,
                                .dtype = &dtype_f32,
                                .links = true,
                                .n_products = {1, 5}};
    return product_s(probe, &shape) * (double)bytes / (double)(shape.n * column_bytes);
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
    if (kind == PROBE_MATRIX)
        return square_s(probe, device, dtype, (double)amount / (2 * MANY_TOKENS), MANY_TOKENS);
    if (kind == PROBE_READ)
        return square_s(probe, device, dtype, elems_of(dtype, amount), 1);
    return wide_s(probe, kind, device, dtype, (double)amount);
}

/* As models have it: of each page a layer's part alone. Tokens are the last of the positions. */
double machine_probe_cache_s(void *user, enum probe_kind kind, int device,
                             const struct cache_shape *cache, uint64_t amount)
{
    enum { SOME_TOKENS = 128, LEAST_PAGES = 4, MOST_BYTES = 80 << 20 };
    struct machine_probe *probe = user;
    struct kv_geom kv = cache->kv;
    const bool one = kind != PROBE_MATRIX;
    const int n_tokens = one ? 1 : SOME_TOKENS, n_long = one ? MOST_LAYERS : 3;
    const double page_bytes = (double)kv_layout(&kv, 1, NULL);
    const double flop = 2.0 * n_tokens * cache->n_head * (kv.k_dim + kv.v_dim);
    const double position = one ? page_bytes / KV_PAGE : flop; /* how much it is of the amount */
    if (device >= probe->n_devices || page_bytes <= 0)
        return 0;
    double pages = floor((double)amount / position / KV_PAGE / (n_long - 1));
    double most = floor(MOST_BYTES / page_bytes / n_long);
    pages = pages < most ? pages : most;
    pages = pages > LEAST_PAGES ? pages : LEAST_PAGES;
    if (kind == PROBE_OP)
        pages = 1;
    const struct shape shape = {.device = device,
                                .n = cache->n_head * kv.k_dim,
                                .n_tokens = n_tokens,
                                .dtype = &dtype_f32,
                                .cache = {kv, cache->n_head},
                                .n_pages = (int)pages,
                                .n_products = {1, n_long}};
    double seen = pages * KV_PAGE - (n_tokens - 1) / 2.0; /* by a token, in the mean */
    double seconds = product_s(probe, &shape);
    return kind == PROBE_OP ? seconds : seconds * (double)amount / (seen * position);
}

double machine_probe_time_s(void *user, enum probe_kind kind, int device, uint64_t amount)
{
    struct machine_probe *probe = user;
    if (device >= probe->n_devices)
        return 0;
    switch (kind) {
    case PROBE_OP: return op_s(probe, device);
    case PROBE_READ:
    case PROBE_PRODUCT:
    case PROBE_FFN:
    case PROBE_MATRIX: return machine_probe_format_s(probe, kind, device, &dtype_q8_0, amount);
    case PROBE_COPY: return device ? copy_s(probe->vk[device], amount) : 0;
    case PROBE_HOP: return hop_s(probe, device, amount);
    case PROBE_ACTIVATION: return activation_s(probe, device, amount);
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
