#include "op/partition.h"

#include "base/mem.h"
#include "op/op_impl.h"

enum { HOP_ALIGN = 256 };

/* A hop under way: which ops of its devices' lists write and read it. */
struct way {
    size_t written, read; /* SIZE_MAX: not yet */
};

struct splitter {
    struct graph *whole;
    struct partition *out;
    const struct partition_options *opt;
    struct tensor **here; /* [tensor × device]: what stands for it there, or NULL */
    struct tensor **sums; /* the same of what several devices made: the sum */
    int *coming;       /* [tensor × device × maker]: number of the hop that brings it, or −1 */
    uint32_t *makers;  /* [tensor]: bits of devices */
    uint32_t *readers; /* [tensor]: bits of devices that read the whole of it */
    struct way *ways;
    size_t cap_hops, cap_ways;
};

static size_t at(const struct splitter *s, const struct tensor *tensor, int device)
{
    return (size_t)tensor->id * (size_t)s->opt->n_devices + (size_t)device;
}

static int *coming_from(const struct splitter *s, const struct tensor *tensor, int device,
                        int maker)
{
    return &s->coming[at(s, tensor, device) * (size_t)s->opt->n_devices + (size_t)maker];
}

static enum hth_status fail_memory(struct splitter *s)
{
    return log_fail_memory(s->whole->log, "the parts of a graph", s->whole->arena.used_bytes);
}

/* --- hops ------------------------------------------------------------------------------------- */

/* Has hop `old` surely been read when the next op of its writer runs? The writer has then already
 * taken something out that the reader wrote after reading it. */
static bool surely_read(const struct splitter *s, int old)
{
    const struct hop *hop = &s->out->hops[old];
    if (s->ways[old].read == SIZE_MAX)
        return false;
    for (int i = old + 1; i < s->out->n_hops; i++) {
        const struct hop *back = &s->out->hops[i];
        if (back->from == hop->to && back->to == hop->from && s->ways[i].read != SIZE_MAX &&
            s->ways[i].written > s->ways[old].read)
            return true;
    }
    return false;
}

/* Is none of the hops since then, but the new one, in the same place? */
static bool is_latest(const struct splitter *s, int old)
{
    for (int i = old + 1; i < s->out->n_hops - 1; i++)
        if (s->out->hops[i].device == s->out->hops[old].device &&
            s->out->hops[i].offset == s->out->hops[old].offset)
            return false;
    return true;
}

/* A place for a hop: that of an earlier one which is done with, or a new one. */
static uint64_t hop_place(struct splitter *s, const struct hop *hop)
{
    for (int i = 0; i < s->out->n_hops - 1; i++) {
        const struct hop *old = &s->out->hops[i];
        if (old->from == hop->from && old->to == hop->to && old->size_bytes >= hop->size_bytes &&
            is_latest(s, i) && surely_read(s, i))
            return old->offset;
    }
    uint64_t *end = &s->out->hop_bytes[hop->device], offset = *end;
    *end += align_up(hop->size_bytes, HOP_ALIGN);
    return offset;
}

/* The number of a new hop; −1 after a failure. */
static int add_hop(struct splitter *s, int from, int to, uint64_t size_bytes)
{
    size_t n = (size_t)s->out->n_hops + 1;
    struct hop *hops = mem_grow(s->out->hops, &s->cap_hops, n, sizeof *hops);
    if (hops)
        s->out->hops = hops;
    struct way *ways = mem_grow(s->ways, &s->cap_ways, n, sizeof *ways);
    if (ways)
        s->ways = ways;
    if (!hops || !ways)
        return -1;
    int number = s->out->n_hops++;
    int device = from == s->opt->host ? to : from;
    hops[number] = (struct hop){.from = from, .to = to, .device = device, .size_bytes = size_bytes};
    ways[number] = (struct way){SIZE_MAX, SIZE_MAX};
    hops[number].offset = hop_place(s, &hops[number]);
    return number;
}

/* --- tensors ---------------------------------------------------------------------------------- */

/* A tensor of a device's graph with the shape of one of the whole. */
static struct tensor *make_like(struct graph *graph, const struct tensor *like, const char *suffix)
{
    struct tensor *tensor = graph_activation(graph, like->name, like->dtype, like->ne, like->rows);
    if (graph->status != HTH_OK)
        return NULL;
    if (suffix && !(tensor->name = arena_printf(&graph->arena, "%s%s", like->name, suffix)))
        graph->status = HTH_ERROR_MEMORY;
    int id = tensor->id;
    const char *name = tensor->name;
    *tensor = *like;
    tensor->id = id;
    tensor->name = name;
    tensor->view_of = NULL;
    tensor->view_offset = 0;
    return tensor;
}

static struct tensor *make_hop(const struct splitter *s, struct graph *graph,
                               const struct tensor *like, int number)
{
    struct tensor *tensor = make_like(graph, like, ".hop");
    if (tensor) {
        tensor->kind = TENSOR_HOP;
        tensor->hop = number;
        tensor->hop_device = s->out->hops[number].device;
        tensor->hop_offset = s->out->hops[number].offset;
    }
    return tensor;
}

static void append_copy(struct graph *graph, struct tensor *from, struct tensor *to)
{
    if (!from || !to)
        return;
    struct op op = {.kind = OP_COPY, .label = to->name, .in = {from}, .out = {to}};
    graph_append(graph, &op);
}

static enum hth_status write_hop(struct splitter *s, int number, const struct tensor *what,
                                 struct tensor *from)
{
    struct graph *graph = &s->out->graphs[s->out->hops[number].from];
    append_copy(graph, from, make_hop(s, graph, what, number));
    s->ways[number].written = graph->n_ops - 1;
    return graph->status;
}

/* Sends a tensor that was just made on `device` to a reader elsewhere. */
static enum hth_status send(struct splitter *s, const struct tensor *what, int device, int reader)
{
    int host = s->opt->host, first = device == host || reader == host ? reader : host;
    uint64_t bytes = tensor_bytes(what);
    int number = add_hop(s, device, first, bytes);
    if (number < 0)
        return fail_memory(s);
    enum hth_status status = write_hop(s, number, what, s->here[at(s, what, device)]);
    if (status != HTH_OK || first == reader) {
        *coming_from(s, what, reader, device) = number;
        return status;
    }
    struct graph *graph = &s->out->graphs[host];
    struct tensor *arrived = make_hop(s, graph, what, number);
    s->ways[number].read = graph->n_ops;
    int onward = add_hop(s, host, reader, bytes);
    if (onward < 0)
        return fail_memory(s);
    *coming_from(s, what, reader, device) = onward;
    return write_hop(s, onward, what, arrived);
}

/* Takes a tensor out of the hop that brought it from its maker. */
static struct tensor *receive(struct splitter *s, const struct tensor *what, int device, int maker)
{
    struct graph *graph = &s->out->graphs[device];
    int number = *coming_from(s, what, device, maker);
    struct tensor *hop = make_hop(s, graph, what, number);
    struct tensor *tensor = make_like(graph, what, NULL);
    append_copy(graph, hop, tensor);
    s->ways[number].read = graph->n_ops - 1;
    return tensor;
}

static struct tensor *add_parts(struct graph *graph, const struct tensor *what, struct tensor *a,
                                struct tensor *b)
{
    if (!a || !b)
        return a ? a : b;
    struct op op = {.kind = OP_ADD, .in = {a, b}, .out = {make_like(graph, what, ".sum")}};
    return op.out[0] && graph_append(graph, &op) ? op.out[0] : NULL;
}

/* What its makers made, or their parts' sum. */
static struct tensor *gather(struct splitter *s, const struct tensor *what, int device)
{
    struct graph *graph = &s->out->graphs[device];
    uint32_t makers = s->makers[what->id];
    struct tensor *sum = makers >> device & 1 ? s->here[at(s, what, device)] : NULL;
    for (int d = 0; d < s->opt->n_devices && graph->status == HTH_OK; d++)
        if (d != device && (makers >> d & 1))
            sum = add_parts(graph, what, sum, receive(s, what, device, d));
    if (makers == 0)
        graph_fail(graph, HTH_ERROR_UNSUPPORTED, "%s: no op makes it", what->name);
    return graph->status == HTH_OK ? sum : NULL;
}

/* How an op meets a tensor: it makes it, or takes the part that its devices made, or the whole. */
enum meeting { MAKES, TAKES_PART, TAKES };

/* What stands for `tensor` on a device. */
static struct tensor *bring(struct splitter *s, const struct tensor *tensor, int device,
                            enum meeting how)
{
    const struct tensor *base = tensor_base(tensor, NULL);
    bool whole = how == TAKES && !partition_is_one(s->makers[base->id]);
    struct tensor **there = &(whole ? s->sums : s->here)[at(s, tensor, device)];
    struct graph *graph = &s->out->graphs[device];
    if (*there || graph->status != HTH_OK)
        return *there;
    if (tensor->kind == TENSOR_WEIGHT) {
        *there = graph_weight(graph, tensor->weight);
    } else if (tensor->view_of) {
        struct tensor *own = bring(s, tensor->view_of, device, how);
        *there = own ? make_like(graph, tensor, NULL) : NULL;
        if (*there) {
            (*there)->view_of = own;
            (*there)->view_offset = tensor->view_offset;
        }
    } else if (how == MAKES || tensor->kind == TENSOR_KV) {
        *there = make_like(graph, tensor, NULL);
    } else {
        *there = gather(s, tensor, device);
    }
    return *there;
}

/* --- ops -------------------------------------------------------------------------------------- */

static enum hth_status check_cache(const struct splitter *s, const struct tensor *kv, int device)
{
    for (int d = 0; d < s->opt->n_devices; d++)
        if (d != device && s->here[at(s, kv, d)])
            return log_fail(s->whole->log, HTH_ERROR_UNSUPPORTED,
                            "%s: the cache of a layer is on one device, not on two", kv->name);
    return HTH_OK;
}

/* Hands what an op made on one of its devices to all readers that have not the whole of it. */
static enum hth_status send_all(struct splitter *s, const struct tensor *made, int device)
{
    enum hth_status status = HTH_OK;
    for (int d = 0; d < s->opt->n_devices && status == HTH_OK; d++)
        if (d != device && made->kind == TENSOR_ACTIVATION && (s->readers[made->id] >> d & 1))
            status = send(s, made, device, d);
    return status;
}

static enum hth_status place_op(struct splitter *s, const struct op *op, uint32_t devices,
                                int device)
{
    struct graph *graph = &s->out->graphs[device];
    struct op copy = *op;
    copy.label = arena_strdup(&graph->arena, op->label);
    if (!copy.label)
        return fail_memory(s);
    for (int i = 0; i < OP_MAX_IN; i++) {
        if (!op->in[i])
            continue;
        bool part = s->makers[tensor_base(op->in[i], NULL)->id] == devices;
        copy.in[i] = bring(s, op->in[i], device, part ? TAKES_PART : TAKES);
        if (!copy.in[i])
            return graph->status ? graph->status : fail_memory(s);
    }
    for (int i = 0; i < OP_MAX_OUT; i++)
        if (op->out[i] && !(copy.out[i] = bring(s, op->out[i], device, MAKES)))
            return graph->status ? graph->status : fail_memory(s);
    struct op *placed = graph_append(graph, &copy);
    if (!placed)
        return graph->status;
    placed->layer = op->layer;
    enum hth_status status = HTH_OK;
    for (int i = 0; i < OP_MAX_OUT && status == HTH_OK; i++) {
        const struct tensor *made = op->out[i] ? tensor_base(op->out[i], NULL) : NULL;
        if (made && made->kind == TENSOR_KV)
            status = check_cache(s, made, device);
        if (made && status == HTH_OK)
            status = send_all(s, made, device);
    }
    return status;
}

/* Who makes each tensor, and who reads the whole of it. */
static void find_readers(struct splitter *s)
{
    const uint32_t *devices = s->opt->devices;
    for (size_t i = 0; i < s->whole->n_ops; i++)
        for (int k = 0; k < OP_MAX_OUT; k++)
            if (s->whole->ops[i]->out[k])
                s->makers[tensor_base(s->whole->ops[i]->out[k], NULL)->id] = devices[i];
    for (size_t i = 0; i < s->whole->n_ops; i++)
        for (int k = 0; k < OP_MAX_IN; k++) {
            const struct tensor *in = s->whole->ops[i]->in[k];
            int id = in ? tensor_base(in, NULL)->id : 0;
            if (in && s->makers[id] != devices[i])
                s->readers[id] |= devices[i];
        }
}

static enum hth_status split(struct splitter *s)
{
    size_t n = s->whole->n_tensors + 1, n_devices = (size_t)s->opt->n_devices;
    size_t cells = n * n_devices, ways = cells * n_devices;
    s->here = mem_calloc(cells, sizeof *s->here);
    s->sums = mem_calloc(cells, sizeof *s->sums);
    s->coming = mem_calloc(ways, sizeof *s->coming);
    s->makers = mem_calloc(n, sizeof *s->makers);
    s->readers = mem_calloc(n, sizeof *s->readers);
    if (!s->here || !s->sums || !s->coming || !s->makers || !s->readers)
        return fail_memory(s);
    for (size_t i = 0; i < ways; i++)
        s->coming[i] = -1;
    find_readers(s);
    for (size_t i = 0; i < s->whole->n_ops; i++)
        for (int d = 0; d < s->opt->n_devices; d++) {
            if (!(s->opt->devices[i] >> d & 1))
                continue;
            enum hth_status status = place_op(s, s->whole->ops[i], s->opt->devices[i], d);
            if (status != HTH_OK)
                return status;
        }
    for (int d = 0; d < s->opt->n_devices && s->whole->logits; d++) {
        s->out->graphs[d].logits = s->here[at(s, s->whole->logits, d)];
        if (s->whole->best)
            s->out->graphs[d].best = s->here[at(s, s->whole->best, d)];
    }
    return HTH_OK;
}

/* The device of all ops, or −1. */
static int only_device(const struct graph *graph, const struct partition_options *options)
{
    for (size_t i = 1; i < graph->n_ops; i++)
        if (options->devices[i] != options->devices[0])
            return -1;
    for (int d = 0; d < options->n_devices && graph->n_ops; d++)
        if (options->devices[0] == 1u << d)
            return d;
    return graph->n_ops ? -1 : options->host;
}

enum hth_status partition_graph(struct partition *out, struct graph *graph,
                                const struct partition_options *options)
{
    *out = (struct partition){.n_devices = options->n_devices};
    enum hth_status status = graph->status;
    for (int d = 0; d < options->n_devices; d++)
        graph_init(&out->graphs[d], graph->n_tokens, graph->n_outputs, graph->log);
    int only = status == HTH_OK ? only_device(graph, options) : 0;
    if (status == HTH_OK && only >= 0) {
        out->graphs[only] = *graph;
        graph_init(graph, 0, 0, out->graphs[only].log);
        return HTH_OK;
    }
    struct splitter s = {.whole = graph, .out = out, .opt = options};
    if (status == HTH_OK)
        status = split(&s);
    mem_free(s.here);
    mem_free(s.sums);
    mem_free(s.coming);
    mem_free(s.makers);
    mem_free(s.readers);
    mem_free(s.ways);
    graph_free(graph);
    if (status != HTH_OK)
        partition_free(out);
    return status;
}

void partition_free(struct partition *partition)
{
    for (int d = 0; d < partition->n_devices; d++)
        graph_free(&partition->graphs[d]);
    mem_free(partition->hops);
    *partition = (struct partition){0};
}
