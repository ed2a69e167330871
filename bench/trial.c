#include "trial.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "gpu/batch.h"
#include "quant/random.h"

/* Caches of graphics cards hold up to 128 MiB (Navi 2x), of processors half of that; a card without
 * room for so much has smaller ones. */
static const int64_t SPREAD_BYTES = 256 << 20, SPREAD_WEIGHTS = 128 << 20;
static const int64_t VECTOR_BYTES = 64 << 20;

int trial_copies(const struct vk_caps *caps, const struct dtype *type,
                 const struct trial_shape *shape)
{
    /* with many columns nothing waits for memory */
    int64_t share = shape->columns > 16 ? shape->columns : 1;
    int64_t bytes = (int64_t)dtype_row_bytes(type, (uint64_t)shape->k) * shape->n * share;
    int64_t spread = (int64_t)(caps->device_bytes / 8);
    spread = spread < SPREAD_BYTES ? spread : SPREAD_BYTES;
    int64_t of_matrices = caps->kind == VK_KIND_SOFTWARE /* slow, so that less has to do */
                              ? SPREAD_WEIGHTS / (shape->n * shape->k * share)
                              : (spread + bytes - 1) / bytes;
    int64_t of_vectors = VECTOR_BYTES / (4 * shape->columns * (shape->n + shape->k));
    int64_t n = of_matrices < of_vectors ? of_matrices : of_vectors;
    return (int)(n < 1 ? 1 : n > TRIAL_MAX_COPIES ? TRIAL_MAX_COPIES : n);
}

/* A matrix put together at random from a store of encoded blocks. */
static enum hth_status make_matrix(struct trial *trial, uint64_t size_bytes)
{
    struct rng rng = rng_seed(trial->type->gguf_id + 1);
    uint64_t n = (uint64_t)trial->shape.n * (uint64_t)trial->shape.k;
    trial->matrix = mem_alloc(size_bytes);
    if (trial->matrix && dtype_random(trial->type, &rng, trial->matrix, n))
        return HTH_OK;
    return log_fail_memory(trial->log, "a matrix", size_bytes);
}

static enum hth_status build_graph(struct trial *trial)
{
    struct graph *graph = &trial->graph;
    graph_init(graph, trial->shape.columns, 1, trial->log);
    const int64_t ne[OP_MAX_DIMS] = {trial->shape.k, trial->shape.columns, 1, 1};
    for (int i = 0; i < trial->n_copies; i++) {
        char label[16];
        snprintf(label, sizeof label, "copy%d", i);
        struct tensor *x = graph_activation(graph, "x", &dtype_f32, ne, ROWS_TOKENS);
        trial->x[i] = x;
        trial->y[i] = op_matmul(graph, label, graph_weight(graph, &trial->weights[i]), x, NULL);
    }
    return graph->status;
}

static struct row_env env_of(const struct trial *trial)
{
    return (struct row_env){.caps = vk_get_caps(trial->vk),
                            .forced = trial->rows.forced,
                            .float_only = trial->rows.float_only,
                            .n_seqs = 1};
}

static void describe_weight(struct trial *trial, int i)
{
    const struct trial_shape *shape = &trial->shape;
    trial->weights[i] = (struct weight){
        .name = "w",
        .dtype = trial->type,
        .ne = {shape->k, shape->n, 1, 1},
        .size_bytes = dtype_row_bytes(trial->type, (uint64_t)shape->k) * (uint64_t)shape->n,
        .index = i,
    };
}

const struct row *trial_row(const struct trial *wanted)
{
    if (wanted->shape.k % wanted->type->block_elems)
        return NULL;
    struct trial one = *wanted;
    one.n_copies = 1;
    describe_weight(&one, 0);
    struct row_env env = env_of(&one);
    struct row_choice choice;
    const struct row *row =
        build_graph(&one) == HTH_OK ? row_select(&env, one.graph.ops[0], &choice) : NULL;
    graph_free(&one.graph);
    return row;
}

static enum hth_status place_copies(struct trial *trial)
{
    const struct weight *list[TRIAL_MAX_COPIES];
    describe_weight(trial, 0);
    enum hth_status status = make_matrix(trial, trial->weights[0].size_bytes);
    for (int i = 0; i < trial->n_copies; i++) {
        describe_weight(trial, i);
        trial->weights[i].data = trial->matrix;
        list[i] = &trial->weights[i];
    }
    const struct place_options options = {0};
    if (status == HTH_OK)
        status = place_weights(&trial->place, trial->vk, list, (size_t)trial->n_copies, &options,
                               trial->log);
    return status ? status : vk_transfer_wait(trial->vk);
}

/* Chunks are named in the steps' arguments, so a first compile only learns the sizes. */
static enum hth_status compile_steps(struct trial *trial)
{
    struct compile_options options = {
        .vk = trial->vk, .env = env_of(trial), .place = &trial->place, .table_stride = 1};
    enum hth_status status =
        memmap_create(&trial->map, &trial->graph, VK_REF_ALIGN, true, trial->log);
    if (status == HTH_OK)
        status = compile_placed(&trial->program, &trial->graph, &trial->map, &options, trial->log);
    if (status)
        return status;
    uint64_t activation_bytes = trial->program.activation_bytes;
    uint64_t batch_bytes = 4ull * trial->program.batch.n_words;
    program_free(&trial->program);
    status = vk_chunk_create(trial->vk, activation_bytes, VK_MEMORY_DEVICE, "activations",
                             &trial->activations);
    if (status == HTH_OK)
        status = vk_chunk_create(trial->vk, batch_bytes, VK_MEMORY_DEVICE, "batch", &trial->batch);
    options.activations = trial->activations;
    options.batch_chunk = trial->batch;
    if (status == HTH_OK)
        status = compile_placed(&trial->program, &trial->graph, &trial->map, &options, trial->log);
    for (size_t i = 0; status == HTH_OK && i < trial->program.n_steps; i++)
        if (trial->program.steps[i].row)
            trial->row = trial->program.steps[i].name;
    return status;
}

static enum hth_status upload_vectors(struct trial *trial)
{
    size_t n = (size_t)trial->shape.k * (size_t)trial->shape.columns;
    uint32_t *words = mem_calloc(trial->program.batch.n_words, sizeof *words);
    int32_t *zeros = mem_calloc((size_t)trial->shape.columns, sizeof *zeros);
    trial->vectors = mem_alloc(n * sizeof(float));
    enum hth_status status = HTH_OK;
    if (!trial->vectors || !words || !zeros)
        status = log_fail_memory(trial->log, "vectors", n * sizeof(float));
    struct rng rng = rng_seed(1);
    for (size_t i = 0; status == HTH_OK && i < n; i++)
        trial->vectors[i] = rng_normal(&rng);
    for (int i = 0; status == HTH_OK && i < trial->n_copies; i++)
        status = vk_upload(trial->vk, trial->activations, trial->map.offsets[trial->x[i]->id],
                           trial->vectors, n * sizeof(float));
    if (status == HTH_OK) {
        struct batch batch = {
            .n_tokens = trial->shape.columns, .ids = zeros, .pos = zeros, .seq = zeros};
        batch_fill(&trial->program.batch, &batch, NULL, 0, words);
        status = vk_upload(trial->vk, trial->batch, 0, words, 4ull * trial->program.batch.n_words);
    }
    mem_free(words);
    mem_free(zeros);
    return status ? status : vk_transfer_wait(trial->vk);
}

/* A list for each copy: what helpers (activations in bytes) take is the op's time too. */
static enum hth_status record(struct trial *trial)
{
    uint64_t generation = vk_generation(trial->vk);
    if (trial->generation == generation)
        return HTH_OK;
    size_t at = 0;
    for (int i = 0; i < trial->n_copies; i++) {
        struct vk_cmd *cmd = trial->cmds[i];
        const char *label = trial->graph.ops[i]->label;
        vk_cmd_begin(cmd);
        vk_cmd_barrier(cmd);
        vk_cmd_timestamp(cmd, 0);
        for (; at < trial->program.n_steps; at++) {
            const struct step *step = &trial->program.steps[at];
            if (strcmp(step->label, label) != 0)
                break;
            if (step->access.barrier)
                vk_cmd_barrier(cmd);
            vk_cmd_dispatch(cmd, step->pipeline, step->args, step->args_bytes, step->groups);
        }
        vk_cmd_barrier(cmd);
        vk_cmd_timestamp(cmd, 1);
        enum hth_status status = vk_cmd_end(cmd);
        if (status)
            return status;
    }
    trial->generation = generation;
    return HTH_OK;
}

/* Runs all copies once; `*time_ns` is the mean of one. */
static enum hth_status run_copies(struct trial *trial, double *time_ns)
{
    uint64_t ticket = 0, device_ns = 0;
    enum hth_status status = record(trial);
    uint64_t began = os_time_ns();
    for (int i = 0; status == HTH_OK && i < trial->n_copies; i++)
        status = vk_submit(trial->vk, trial->cmds[i], &ticket);
    if (status == HTH_OK)
        status = vk_wait(trial->vk, ticket);
    uint64_t host_ns = os_time_ns() - began;
    for (int i = 0; status == HTH_OK && i < trial->n_copies; i++)
        device_ns += vk_cmd_time_ns(trial->vk, trial->cmds[i], 0, 1);
    *time_ns = (double)(device_ns ? device_ns : host_ns) / trial->n_copies;
    return status;
}

/* Some rows of the last copy's last column. A kernel that did less than its work would look fast.
 * Halves and bytes as activations move a sum by about a hundredth of sqrt(sum of squares). */
static enum hth_status check(struct trial *trial)
{
    enum { SAMPLES = 8 };
    const struct trial_shape *shape = &trial->shape;
    size_t n = (size_t)shape->n, k = (size_t)shape->k, column = (size_t)shape->columns - 1;
    uint64_t at = trial->map.offsets[trial->y[trial->n_copies - 1]->id] + 4ull * column * n;
    float *y = mem_alloc(n * sizeof *y), *row = mem_alloc(k * sizeof *row);
    enum hth_status status = HTH_OK;
    if (!y || !row)
        status = log_fail_memory(trial->log, "a column", (n + k) * sizeof *y);
    if (status == HTH_OK)
        status = vk_download(trial->vk, trial->activations, at, y, n * sizeof *y);
    for (size_t i = 0; status == HTH_OK && i < SAMPLES; i++) {
        size_t r = i * (n - 1) / (SAMPLES - 1);
        trial->type->decode(trial->matrix + r * dtype_row_bytes(trial->type, k), row, k);
        double sum = 0, squares = 0;
        for (size_t j = 0; j < k; j++) {
            double term = (double)row[j] * (double)trial->vectors[column * k + j];
            sum += term;
            squares += term * term;
        }
        if (!(fabs((double)y[r] - sum) <= 0.05 * sqrt(squares)))
            status = log_fail(trial->log, HTH_ERROR_DEVICE,
                              "%s of %s: row %zu of column %zu is %g, but %g is right", trial->row,
                              trial->type->name, r, column, (double)y[r], sum);
    }
    mem_free(y);
    mem_free(row);
    return status;
}

enum hth_status trial_open(struct trial *trial)
{
    trial->n_copies = trial_copies(vk_get_caps(trial->vk), trial->type, &trial->shape);
    enum hth_status status = place_copies(trial);
    if (status == HTH_OK)
        status = build_graph(trial);
    if (status == HTH_OK)
        status = compile_steps(trial);
    if (status == HTH_OK)
        status = upload_vectors(trial);
    for (size_t i = 0; status == HTH_OK && i < trial->program.n_steps; i++)
        status = vk_pipeline_wait(trial->vk, trial->program.steps[i].pipeline);
    for (int i = 0; status == HTH_OK && i < trial->n_copies; i++)
        status = vk_cmd_create(trial->vk, 2, &trial->cmds[i]);
    double time_ns;
    if (status == HTH_OK)
        status = run_copies(trial, &time_ns);
    return status ? status : check(trial);
}

void trial_close(struct trial *trial)
{
    if (!trial->vk)
        return;
    for (int i = 0; i < trial->n_copies; i++)
        vk_cmd_destroy(trial->vk, trial->cmds[i]);
    if (trial->activations)
        vk_chunk_destroy(trial->vk, trial->activations);
    if (trial->batch)
        vk_chunk_destroy(trial->vk, trial->batch);
    program_free(&trial->program);
    memmap_free(&trial->map);
    graph_free(&trial->graph);
    place_free(&trial->place);
    mem_free(trial->matrix);
    mem_free(trial->vectors);
    *trial = (struct trial){0};
}

/* --- measuring
 * ----------------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

enum hth_status trial_measure(struct trial *base, struct trial *trial,
                              const struct trial_effort *effort, struct trial_times *out)
{
    static double times[TRIAL_MAX_ROUNDS], ratios[TRIAL_MAX_ROUNDS];
    uint64_t began = 0;
    int n = 0;
    for (int round = -1; round < effort->rounds; round++) {
        double base_ns = 0, ns = 0;
        bool base_first = base && round % 2 == 0;
        enum hth_status status = base_first ? run_copies(base, &base_ns) : HTH_OK;
        if (status == HTH_OK)
            status = run_copies(trial, &ns);
        if (status == HTH_OK && base && !base_first)
            status = run_copies(base, &base_ns);
        if (status)
            return status;
        if (round < 0) {
            began = os_time_ns();
            continue;
        }
        times[n] = ns;
        ratios[n++] = base ? base_ns / ns : 1;
        if (n >= TRIAL_MIN_ROUNDS && (double)(os_time_ns() - began) > effort->seconds * 1e9)
            break;
    }
    out->rounds = n;
    out->time_ns = median(times, n);
    out->ratio = median(ratios, n);
    return HTH_OK;
}
