#include "cpu/cpu_check.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* What one output is compared by. */
struct comparison {
    double error, power; /* Σ (a−b)², Σ a² */
    double worst;        /* largest |a−b|, at: */
    int64_t worst_index;
    float expected, got;
};

static void compare(struct comparison *sums, const float *expected, const float *got, int64_t n,
                    int64_t index)
{
    for (int64_t i = 0; i < n; i++) {
        double difference = fabs((double)got[i] - expected[i]);
        if (isnan(difference))
            difference = INFINITY;
        sums->error += difference * difference;
        sums->power += (double)expected[i] * expected[i];
        if (difference > sums->worst) {
            sums->worst = difference;
            sums->worst_index = index + i;
            sums->expected = expected[i];
            sums->got = got[i];
        }
    }
}

static enum hth_status judge(const struct op_call *call, const struct comparison *sums,
                             bool float_only, const struct log *log)
{
    const struct op_def *def = op_def_of(call->op->kind);
    double limit = float_only ? def->tolerance_f32 : def->tolerance_int;
    double nmse = sums->power > 0 ? sums->error / sums->power : sums->error > 0 ? INFINITY : 0;
    if (nmse <= limit)
        return HTH_OK;
    return log_fail(log, HTH_ERROR_DEVICE,
                    "%s (%s) differs from its reference: NMSE %.3g, allowed %.3g; most at element "
                    "%lld, %.9g instead of %.9g",
                    call->op->label, def->name, nmse, limit, (long long)sums->worst_index,
                    (double)sums->got, (double)sums->expected);
}

static enum hth_status compare_integers(const struct op_call *call, const struct view *expected,
                                        const struct view *got, int64_t rows, const struct log *log)
{
    for (int64_t row = 0; row < rows; row++) {
        const int32_t *a = view_row_flat(expected, row), *b = view_row_flat(got, row);
        for (int64_t i = 0; i < got->ne[0]; i++)
            if (a[i] != b[i])
                return log_fail(log, HTH_ERROR_DEVICE,
                                "%s (%s) differs from its reference: element %lld is %d instead of "
                                "%d",
                                call->op->label, op_def_of(call->op->kind)->name,
                                (long long)(row * got->ne[0] + i), b[i], a[i]);
    }
    return HTH_OK;
}

static enum hth_status check_outputs(const struct op_call *call, bool float_only,
                                     const struct log *log)
{
    struct op_call again = *call;
    void *bytes[OP_MAX_OUT] = {0};
    enum hth_status status = HTH_OK;
    for (int i = 0; i < OP_MAX_OUT; i++) {
        const struct tensor *out = call->op->out[i];
        if (!out)
            continue;
        uint64_t size = dtype_row_bytes(out->dtype, (uint64_t)tensor_elems(out));
        bytes[i] = mem_calloc(1, (size_t)size);
        if (!bytes[i]) {
            status = log_fail_memory(log, "checking an op", size);
            goto end;
        }
        again.out[i].data = bytes[i];
    }
    status = op_reference(&again);
    for (int i = 0; i < OP_MAX_OUT && status == HTH_OK; i++) {
        const struct tensor *out = call->op->out[i];
        if (!out)
            continue;
        int64_t rows = batch_rows_flat(call->batch, out);
        if (out->dtype->is_integer) {
            status = compare_integers(call, &again.out[i], &call->out[i], rows, log);
            continue;
        }
        struct comparison sums = {0};
        for (int64_t row = 0; row < rows; row++)
            compare(&sums, view_row_flat(&again.out[i], row), view_row_flat(&call->out[i], row),
                    out->ne[0], row * out->ne[0]);
        status = judge(call, &sums, float_only, log);
    }
end:
    for (int i = 0; i < OP_MAX_OUT; i++)
        mem_free(bytes[i]);
    return status;
}

/* The cache of one token and head, encoded anew and compared with what is there. */
static void check_cache_row(struct comparison *sums, const struct dtype *type, const float *x,
                            const void *cached, float *scratch, int n)
{
    float *expected = scratch, *got = scratch + n;
    void *encoded = scratch + 2 * n;
    type->encode(x, encoded, (size_t)n);
    type->decode(encoded, expected, (size_t)n);
    type->decode(cached, got, (size_t)n);
    compare(sums, expected, got, n, 0);
}

static enum hth_status check_cache(const struct op_call *call, bool float_only,
                                   const struct log *log)
{
    const struct kv_geom *kv = &call->op->out[0]->kv;
    const struct batch *batch = call->batch;
    int widest = kv->k_dim > kv->v_dim ? kv->k_dim : kv->v_dim;
    /* No type that caches use takes more than 8 bytes for an element. */
    float *scratch = mem_calloc((size_t)widest * 4, sizeof *scratch);
    if (!scratch)
        return log_fail_memory(log, "checking an op", (unsigned long long)widest * 16);
    struct comparison sums = {0};
    for (int t = 0; t < batch->n_tokens; t++)
        for (int h = 0; h < kv->n_head_kv; h++) {
            check_cache_row(&sums, kv->k_type, view_row(&call->in[0], h, t),
                            call_k_row(call, kv, batch->pos[t], batch->seq[t], h), scratch,
                            kv->k_dim);
            check_cache_row(&sums, kv->v_type, view_row(&call->in[1], h, t),
                            call_v_row(call, kv, batch->pos[t], batch->seq[t], h), scratch,
                            kv->v_dim);
        }
    mem_free(scratch);
    return judge(call, &sums, float_only, log);
}

enum hth_status cpu_check(const struct op_call *call, bool float_only, const struct log *log)
{
    if (call->op->kind == OP_KV_WRITE)
        return check_cache(call, float_only, log);
    return check_outputs(call, float_only, log);
}
