/* Any bytes as a model: what opens may bind, and what binds may be built, but nothing breaks. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "fuzz_log.h"
#include "gguf/gguf.h"
#include "kv/kv.h"
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void build(const struct model *model)
{
    struct kv_geom *kv = mem_calloc((size_t)model->hp.n_layer, sizeof *kv);
    struct graph graph;
    if (!kv)
        return;
    model_kv_geometry(model, &dtype_f16, kv);
    if (kv_layout(kv, model->hp.n_layer, NULL) > 0) {
        if (fuzz_log_check(model_build(model, &graph, 3, 2, kv)) == HTH_OK && !graph.logits)
            abort();
        graph_free(&graph);
    }
    mem_free(kv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *gguf;
    struct model *model;
    if (fuzz_log_check(gguf_open_memory(&gguf, data, size, "fuzz", fuzz_log())) != HTH_OK)
        return 0;
    if (fuzz_log_check(model_load(&model, gguf, fuzz_log())) == HTH_OK)
        build(model);
    else if (model)
        abort();
    model_free(model);
    gguf_close(gguf);
    return 0;
}
