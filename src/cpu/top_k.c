#include "op/top_k.h"

#include <string.h>

#include "cpu/rows.h"

/* A block is looked at one by one only where its largest is larger than the least that is kept, and
 * soon few are. */
enum { BLOCK = 256 };

struct best {
    const float *x;
    int32_t *ids; /* [k], the largest first */
    int k, kept;
};

/* Integers that are ordered as floats are: of negative ones all bits but the sign are turned. */
static int32_t order_of(int32_t bits)
{
    return bits ^ (int32_t)((uint32_t)(bits >> 31) >> 1);
}

/* The largest of a block, as an order, and the bits of the largest magnitude so far. */
static int32_t look_over(const float *restrict x, int64_t n, uint32_t *largest)
{
    int32_t most = INT32_MIN;
    uint32_t magnitude = *largest;
    for (int64_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        int32_t order = order_of(bits);
        uint32_t own = (uint32_t)bits & INT32_MAX;
        most = order > most ? order : most;
        magnitude = own > magnitude ? own : magnitude;
    }
    *largest = magnitude;
    return most;
}

static void offer(struct best *best, int64_t i)
{
    int at = best->kept;
    while (at > 0 && best->x[i] > best->x[best->ids[at - 1]])
        at--;
    if (at == best->k)
        return;
    best->kept += best->kept < best->k;
    memmove(best->ids + at + 1, best->ids + at, (size_t)(best->kept - 1 - at) * sizeof *best->ids);
    best->ids[at] = (int32_t)i;
}

/* Can nothing of this order come to be kept? */
static bool is_hopeless(const struct best *best, int32_t most)
{
    int32_t least;
    if (best->kept < best->k)
        return false;
    memcpy(&least, &best->x[best->ids[best->k - 1]], sizeof least);
    return most <= order_of(least);
}

static void choose(const float *x, int64_t n, int k, int32_t *out)
{
    struct best best = {.x = x, .ids = out, .k = k};
    uint32_t largest = 0; /* NaN's bits are above those of infinity */
    for (int64_t from = 0; from < n; from += BLOCK) {
        int64_t to = from + BLOCK < n ? from + BLOCK : n;
        if (is_hopeless(&best, look_over(x + from, to - from, &largest)))
            continue;
        for (int64_t i = from; i < to; i++)
            offer(&best, i);
    }
    bool usable = largest > 0 && largest < 0x7f800000;
    for (int j = 0; j < k; j++) {
        float logit = usable ? x[out[j]] + 0.0f : 0;
        if (!usable)
            out[j] = -1;
        if (k > 1)
            memcpy(&out[k + j], &logit, sizeof logit);
    }
}

static void rows(const struct op_call *call, const struct cpu_op *op, int64_t begin, int64_t end)
{
    (void)op;
    for (int64_t row = begin; row < end; row++)
        choose(view_row(&call->in[0], row, 0), call->in[0].ne[0], call->op->p.top_k.k,
               view_row(&call->out[0], row, 0));
}

static void run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    cpu_rows(call, scratch, batch_rows(call->batch, call->op->out[0]), call->in[0].ne[0] / 4, rows);
}

const struct cpu_op cpu_op_top_k_scalar = {
    .name = "top_k_scalar", .kind = OP_TOP_K, .level = CPU_SCALAR, .run = run};
