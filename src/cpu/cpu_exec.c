#include "cpu/cpu_exec.h"

#include <string.h>

#include "base/mem.h"
#include "cpu/cpu_check.h"
#include "cpu/cpu_op.h"
#include "op/fuse.h"
#include "op/rope.h"
#include "plan/memmap.h"

enum { ALIGN = 64 };

/* An op with its row and its bytes; batch and cache are filled in when it runs. */
struct cpu_step {
    const struct cpu_op *row;
    struct op_call call;
    float *fills; /* the rotary table that it makes, for itself and steps after it */
    struct ahead_product product;
};

struct cpu_exec {
    const struct graph *graph;
    const struct log *log;
    struct cpu_exec_options options;
    struct memmap map;
    char *activations;
    void *scratch;
    size_t scratch_bytes;
    float *ropes; /* rotary tables, one for all layers that turn alike */
    uint64_t ropes_bytes;
    struct cpu_step *steps;
};

/* The bytes of a tensor's base, or NULL for the cache and hops, which come with each batch. */
static void *base_bytes(const struct cpu_exec *exec, const struct tensor *tensor)
{
    const struct tensor *base = tensor_base(tensor, NULL);
    if (base->kind == TENSOR_WEIGHT)
        return (void *)base->weight->data;
    if (base->kind == TENSOR_KV || base->kind == TENSOR_HOP)
        return NULL;
    return exec->activations + exec->map.offsets[base->id];
}

static bool multiplies(const struct op *op)
{
    return op->kind == OP_MATMUL || op->kind == OP_MATMUL_GLU || op->kind == OP_MATMUL_QKV;
}

/* The matrices of a product, interleaved; in float they are read as they are. */
static void prepare_matrices(struct cpu_exec *exec, struct cpu_step *step)
{
    const struct op *op = step->call.op;
    if (!exec->options.interleaved || exec->options.float_only || !multiplies(op))
        return;
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i] && op->in[i]->kind == TENSOR_WEIGHT && !op->in[i]->view_of)
            step->call.in[i].interleaved =
                interleaved_get(exec->options.interleaved, op->in[i]->weight, exec->options.pool);
}

static enum hth_status prepare_step(struct cpu_exec *exec, struct cpu_step *step,
                                    const struct op *op)
{
    step->row = cpu_op_select(op, NULL);
    if (!step->row)
        return log_fail(exec->log, HTH_ERROR_UNSUPPORTED, "%s: the CPU has no kernel for %s",
                        op->label, op_def_of(op->kind)->name);
    step->call.op = op;
    step->product.index = (uint32_t)(step - exec->steps);
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i])
            step->call.in[i] = view_of(op->in[i], base_bytes(exec, op->in[i]));
    for (int i = 0; i < OP_MAX_OUT; i++)
        if (op->out[i])
            step->call.out[i] = view_of(op->out[i], base_bytes(exec, op->out[i]));
    prepare_matrices(exec, step);
    size_t scratch = step->row->scratch_bytes
                         ? step->row->scratch_bytes(op, pool_threads(exec->options.pool))
                         : 0;
    if (scratch > exec->scratch_bytes)
        exec->scratch_bytes = scratch;
    return HTH_OK;
}

static bool turn_alike(const struct op_call *a, const struct op_call *b)
{
    return b->op->kind == OP_ROPE && a->in[1].data == b->in[1].data &&
           memcmp(&a->op->p.rope, &b->op->p.rope, sizeof a->op->p.rope) == 0;
}

/* The first step that turns as step i does; i itself if none is before it. */
static size_t first_alike(const struct cpu_exec *exec, size_t i)
{
    size_t first = 0;
    while (first < i && !turn_alike(&exec->steps[i].call, &exec->steps[first].call))
        first++;
    return first;
}

static enum hth_status prepare_ropes(struct cpu_exec *exec)
{
    const struct graph *graph = exec->graph;
    uint64_t floats = 0;
    for (size_t i = 0; i < graph->n_ops; i++)
        if (graph->ops[i]->kind == OP_ROPE && first_alike(exec, i) == i)
            floats += (uint64_t)graph->n_tokens * (uint64_t)graph->ops[i]->p.rope.n_rot;
    exec->ropes_bytes = floats * sizeof(float);
    exec->ropes = mem_alloc(exec->ropes_bytes + 1);
    if (!exec->ropes)
        return log_fail_memory(exec->log, "rotary tables", exec->ropes_bytes);
    float *next = exec->ropes;
    for (size_t i = 0; i < graph->n_ops; i++) {
        if (graph->ops[i]->kind != OP_ROPE)
            continue;
        size_t first = first_alike(exec, i);
        if (first == i) {
            exec->steps[i].fills = next;
            next += (int64_t)graph->n_tokens * graph->ops[i]->p.rope.n_rot;
        }
        exec->steps[i].call.cos_sin = exec->steps[first].fills;
    }
    return HTH_OK;
}

static enum hth_status prepare(struct cpu_exec *exec)
{
    const struct graph *graph = exec->graph;
    enum hth_status status = memmap_create(&exec->map, graph, ALIGN, false, exec->log);
    if (status != HTH_OK)
        return status;
    exec->activations = mem_alloc_aligned((size_t)exec->map.size_bytes + ALIGN, ALIGN);
    if (!exec->activations)
        return log_fail_memory(exec->log, "the activations of a batch", exec->map.size_bytes);
    exec->steps = mem_calloc(graph->n_ops + 1, sizeof *exec->steps);
    if (!exec->steps)
        return log_fail_memory(exec->log, "the steps of a graph",
                               graph->n_ops * sizeof *exec->steps);
    for (size_t i = 0; i < graph->n_ops && status == HTH_OK; i++)
        status = prepare_step(exec, &exec->steps[i], graph->ops[i]);
    if (status == HTH_OK)
        status = prepare_ropes(exec);
    if (status != HTH_OK)
        return status;
    exec->scratch = mem_alloc_aligned(exec->scratch_bytes + ALIGN, ALIGN);
    if (!exec->scratch)
        return log_fail_memory(exec->log, "the scratch memory of a batch", exec->scratch_bytes);
    return HTH_OK;
}

static bool has_row(void *user, const struct op *op)
{
    (void)user;
    return cpu_op_select(op, NULL) != NULL;
}

enum hth_status cpu_fuse(struct graph *graph)
{
    return fuse_graph(graph, FUSE_MATMUL_GLU | FUSE_MATMUL_QKV, has_row, NULL);
}

enum hth_status cpu_exec_create(struct cpu_exec **out, const struct graph *graph,
                                const struct cpu_exec_options *options, const struct log *log)
{
    *out = NULL;
    if (graph->status != HTH_OK)
        return graph->status;
    struct cpu_exec *exec = mem_calloc(1, sizeof *exec);
    if (!exec)
        return log_fail_memory(log, "an executor", sizeof *exec);
    exec->graph = graph;
    exec->log = log;
    exec->options = *options;
    enum hth_status status = prepare(exec);
    if (status != HTH_OK) {
        cpu_exec_destroy(exec);
        return status;
    }
    *out = exec;
    return HTH_OK;
}

void cpu_exec_destroy(struct cpu_exec *exec)
{
    if (!exec)
        return;
    mem_free(exec->steps);
    mem_free(exec->ropes);
    mem_free_aligned(exec->scratch);
    mem_free_aligned(exec->activations);
    memmap_free(&exec->map);
    mem_free(exec);
}

/* Kernels trust the batch: what it says is checked once, here. */
static enum hth_status check_batch(const struct cpu_exec *exec, const struct batch *batch)
{
    const struct graph *graph = exec->graph;
    if (batch->n_tokens < 1 || batch->n_tokens > graph->n_tokens || batch->n_outputs < 0 ||
        batch->n_outputs > graph->n_outputs)
        return log_fail(exec->log, HTH_ERROR_ARGUMENT,
                        "a batch of %d tokens with %d outputs does not fit into %d and %d",
                        batch->n_tokens, batch->n_outputs, graph->n_tokens, graph->n_outputs);
    for (int i = 0; i < batch->n_outputs; i++)
        if (batch->outputs[i] < 0 || batch->outputs[i] >= batch->n_tokens)
            return log_fail(exec->log, HTH_ERROR_ARGUMENT,
                            "output %d of a batch of %d tokens is row %d", i, batch->n_tokens,
                            batch->outputs[i]);
    for (size_t k = 0; k < graph->n_ops; k++) {
        const struct op *op = graph->ops[k];
        if (op->kind != OP_GET_ROWS || op->p.get_rows.index != INDEX_TOKENS)
            continue;
        for (int i = 0; i < batch->n_tokens; i++)
            if (batch->ids[i] < 0 || batch->ids[i] >= op->in[0]->ne[1])
                return log_fail(exec->log, HTH_ERROR_ARGUMENT,
                                "token %d is out of range: the vocabulary has %lld", batch->ids[i],
                                (long long)op->in[0]->ne[1]);
    }
    return HTH_OK;
}

static void run_step(struct cpu_exec *exec, struct cpu_step *step)
{
    struct cpu_scratch scratch = {.pool = exec->options.pool,
                                  .bytes = exec->scratch,
                                  .float_only = exec->options.float_only,
                                  .row = step->row,
                                  .ahead = interleaved_ahead(exec->options.interleaved),
                                  .product = &step->product};
    if (step->fills) {
        const float *factors = step->call.op->in[1] ? step->call.in[1].data : NULL;
        rope_fill(&step->call.op->p.rope, factors, step->call.batch, step->fills);
    }
    step->row->run(&step->call, &scratch);
}

/* A copy between devices waits for what it reads, and says when it has written. */
static enum hth_status run_copy(struct cpu_exec *exec, struct cpu_step *step,
                                const struct cpu_hops *hops)
{
    const struct tensor *in = step->call.op->in[0], *out = step->call.op->out[0];
    enum hth_status status = HTH_OK;
    if (in->kind == TENSOR_HOP) {
        status = hops->before_read(hops->user, in->hop_device, in->hop);
        step->call.in[0].data = (char *)hops->memory[in->hop_device] + in->hop_offset;
    }
    if (out->kind == TENSOR_HOP)
        step->call.out[0].data = (char *)hops->memory[out->hop_device] + out->hop_offset;
    if (status == HTH_OK)
        run_step(exec, step);
    if (status == HTH_OK && out->kind == TENSOR_HOP)
        status = hops->after_write(hops->user, out->hop_device, out->hop);
    return status;
}

/* Says what a layer's experts are when the first of its products comes. */
static void say_routed(const struct cpu_step *step, const struct cpu_hops *hops, int *layer)
{
    const struct op *op = step->call.op;
    bool by_expert = (op->kind == OP_MATMUL || op->kind == OP_MATMUL_GLU) && op->in[4];
    if (!by_expert || !hops || !hops->routed || op->layer == *layer)
        return;
    *layer = op->layer;
    hops->routed(hops->user, op->layer, step->call.in[4].data, step->call.batch->n_tokens);
}

enum hth_status cpu_exec_run(struct cpu_exec *exec, const struct batch *batch,
                             void *const *kv_pages, const struct cpu_hops *hops)
{
    int routed = -1;
    enum hth_status status = check_batch(exec, batch);
    for (size_t i = 0; i < exec->graph->n_ops && status == HTH_OK; i++) {
        struct cpu_step *step = &exec->steps[i];
        step->call.batch = batch;
        step->call.kv_pages = kv_pages;
        say_routed(step, hops, &routed);
        if (step->call.op->kind == OP_COPY)
            status = run_copy(exec, step, hops);
        else
            run_step(exec, step);
        if (exec->options.check && status == HTH_OK)
            status = cpu_check(&step->call, exec->options.float_only, exec->log);
    }
    return status;
}

const void *cpu_exec_result(const struct cpu_exec *exec)
{
    const struct tensor *result = graph_result(exec->graph);
    return result ? view_of(result, base_bytes(exec, result)).data : NULL;
}

uint64_t cpu_exec_bytes(const struct cpu_exec *exec)
{
    return exec->map.size_bytes + exec->scratch_bytes + exec->ropes_bytes;
}
