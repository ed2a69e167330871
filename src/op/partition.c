#include "op/partition.h"

#include "base/mem.h"

static int device_of_all(const struct graph *graph, int (*device_of)(void *, const struct op *),
                         void *user)
{
    if (!device_of)
        return 0;
    int first = graph->n_ops ? device_of(user, graph->ops[0]) : 0;
    for (size_t i = 1; i < graph->n_ops; i++)
        if (device_of(user, graph->ops[i]) != first)
            return -1;
    return first;
}

enum hth_status partition_graph(struct partition *out, struct graph *graph,
                                int (*device_of)(void *user, const struct op *op), void *user)
{
    const struct log *log = graph->log;
    *out = (struct partition){0};
    enum hth_status status = graph->status;
    if (status != HTH_OK)
        goto fail;
    int device = device_of_all(graph, device_of, user);
    if (device < 0) {
        status = log_fail(log, HTH_ERROR_UNSUPPORTED,
                          "a model over several devices is not possible yet: choose one");
        goto fail;
    }
    out->graphs = mem_calloc(1, sizeof *out->graphs);
    out->devices = mem_calloc(1, sizeof *out->devices);
    struct graph *part = mem_alloc(sizeof *part);
    if (!out->graphs || !out->devices || !part) {
        mem_free(part);
        status = log_fail_memory(log, "the parts of a graph", sizeof *part);
        goto fail;
    }
    *part = *graph;
    graph_init(graph, 0, 0, log);
    out->graphs[0] = part;
    out->devices[0] = device;
    out->n_parts = 1;
    return HTH_OK;
fail:
    graph_free(graph);
    partition_free(out);
    return status;
}

void partition_free(struct partition *partition)
{
    for (int i = 0; i < partition->n_parts; i++) {
        graph_free(partition->graphs[i]);
        mem_free(partition->graphs[i]);
    }
    mem_free(partition->graphs);
    mem_free(partition->devices);
    *partition = (struct partition){0};
}
