#include "op/fuse.h"

#include "op/op_impl.h"

/* What a rewrite needs to know while it looks at one graph. */
struct fuser {
    struct graph *graph;
    bool (*fits)(void *user, const struct op *op);
    void *user;
};

static bool same_bytes(const struct tensor *a, const struct tensor *b)
{
    return a && b && tensor_base(a, NULL) == tensor_base(b, NULL);
}

static bool reads(const struct op *op, const struct tensor *tensor)
{
    for (int i = 0; i < OP_MAX_IN; i++)
        if (same_bytes(op->in[i], tensor))
            return true;
    return false;
}

static bool writes(const struct op *op, const struct tensor *tensor)
{
    for (int i = 0; i < OP_MAX_OUT; i++)
        if (same_bytes(op->out[i], tensor))
            return true;
    return false;
}

static bool is_part(const struct op *fused, const struct op *op)
{
    for (int i = 0; i < fused->n_parts; i++)
        if (fused->parts[i] == op)
            return true;
    return false;
}

static bool is_out(const struct op *fused, const struct tensor *tensor)
{
    for (int i = 0; i < OP_MAX_OUT; i++)
        if (fused->out[i] == tensor)
            return true;
    return false;
}

/* Does anyone but the parts read what the fused op would no longer give? */
static bool anything_lost(const struct graph *graph, const struct op *fused)
{
    for (int p = 0; p < fused->n_parts; p++)
        for (int i = 0; i < OP_MAX_OUT; i++) {
            const struct tensor *tensor = fused->parts[p]->out[i];
            if (!tensor || is_out(fused, tensor))
                continue;
            if (same_bytes(graph_result(graph), tensor))
                return true;
            for (size_t k = 0; k < graph->n_ops; k++)
                if (!is_part(fused, graph->ops[k]) && reads(graph->ops[k], tensor))
                    return true;
        }
    return false;
}

/* Does `op` give what the fused op reads? */
static bool must_precede(const struct op *op, const struct op *fused)
{
    for (int i = 0; i < OP_MAX_IN; i++)
        if (fused->in[i] && writes(op, fused->in[i]))
            return true;
    return false;
}

/* Does it read what that gives? (The cache is for `find_place` to judge.) */
static bool must_follow(const struct op *op, const struct op *fused)
{
    for (int i = 0; i < OP_MAX_OUT; i++)
        if (fused->out[i] && fused->out[i]->kind != TENSOR_KV && reads(op, fused->out[i]))
            return true;
    return false;
}

/* Where the fused op can stand: the place in the list before which it goes, or SIZE_MAX. As late as
 * its last part, unless someone needs it earlier. The cache is both read and written by others: who
 * touches it before or after the part that writes it keeps to that side. */
static size_t find_place(const struct graph *graph, const struct op *fused)
{
    size_t low = 0, high = graph->n_ops, last = 0;
    for (size_t i = 0; i < graph->n_ops; i++)
        if (is_part(fused, graph->ops[i]))
            last = i;
    for (size_t i = 0; i < graph->n_ops; i++) {
        const struct op *op = graph->ops[i];
        if (is_part(fused, op))
            continue;
        bool touches_kv = false;
        for (int k = 0; k < OP_MAX_OUT; k++)
            if (fused->out[k] && fused->out[k]->kind == TENSOR_KV)
                touches_kv |= reads(op, fused->out[k]) || writes(op, fused->out[k]);
        if (must_precede(op, fused) || (touches_kv && i < last))
            low = i + 1;
        if ((must_follow(op, fused) || (touches_kv && i > last)) && i < high)
            high = i;
    }
    if (low > high)
        return SIZE_MAX;
    size_t place = last + 1;
    return place > high ? high : place;
}

/* Replaces the parts by the fused op if that is possible and wanted. */
static bool fuse(struct fuser *fuser, const struct op *fused)
{
    struct graph *graph = fuser->graph;
    if (op_def_of(fused->kind)->check(fused) || (fuser->fits && !fuser->fits(fuser->user, fused)) ||
        anything_lost(graph, fused))
        return false; /* the last of them looks at the whole graph, and so does the next */
    size_t place = find_place(graph, fused);
    if (place == SIZE_MAX)
        return false;
    struct op *copy = arena_alloc(&graph->arena, sizeof *copy);
    if (!copy) {
        graph_fail(graph, HTH_ERROR_MEMORY, "out of memory: fusing ops needs %zu bytes",
                   sizeof *copy);
        return false;
    }
    *copy = *fused;
    size_t kept = 0, at = place;
    for (size_t i = 0; i < graph->n_ops; i++) {
        if (!is_part(fused, graph->ops[i]))
            graph->ops[kept++] = graph->ops[i];
        else if (i < place)
            at--;
    }
    for (size_t i = kept; i > at; i--) /* there is room: at least two parts went */
        graph->ops[i] = graph->ops[i - 1];
    graph->ops[at] = copy;
    graph->n_ops = kept + 1;
    return true;
}

static struct op begin_fused(enum op_kind kind, struct op *const *parts, int n_parts)
{
    struct op fused = {.kind = kind, .layer = parts[0]->layer, .n_parts = n_parts};
    for (int i = 0; i < n_parts; i++)
        fused.parts[i] = parts[i];
    return fused;
}

/* The op that makes a tensor, or NULL. */
static struct op *maker(const struct graph *graph, const struct tensor *tensor)
{
    for (size_t i = 0; i < graph->n_ops; i++)
        for (int k = 0; k < OP_MAX_OUT; k++)
            if (graph->ops[i]->out[k] == tensor && tensor->kind == TENSOR_ACTIVATION)
                return graph->ops[i];
    return NULL;
}

static bool fuse_add_rms_norm(struct fuser *fuser, struct op *norm)
{
    struct op *add =
        norm->kind == OP_RMS_NORM && norm->in[1] ? maker(fuser->graph, norm->in[0]) : NULL;
    if (!add || add->kind != OP_ADD)
        return false;
    struct op fused = begin_fused(OP_ADD_RMS_NORM, (struct op *[]){add, norm}, 2);
    fused.in[0] = add->in[0];
    fused.in[1] = add->in[1];
    fused.in[2] = norm->in[1];
    fused.out[0] = add->out[0];
    fused.out[1] = norm->out[0];
    fused.p.rms_norm = norm->p.rms_norm;
    fused.label = norm->label;
    return fuse(fuser, &fused);
}

static bool fuse_matmul_glu(struct fuser *fuser, struct op *glu)
{
    if (glu->kind != OP_GLU)
        return false;
    struct op *gate = maker(fuser->graph, glu->in[0]), *up = maker(fuser->graph, glu->in[1]);
    if (!gate || !up || gate == up || gate->kind != OP_MATMUL || up->kind != OP_MATMUL)
        return false;
    struct op fused = begin_fused(OP_MATMUL_GLU, (struct op *[]){gate, up, glu}, 3);
    fused.in[0] = gate->in[0];
    fused.in[1] = gate->in[1];
    fused.in[2] = gate->in[2];
    fused.in[4] = gate->in[4];
    fused.in[5] = up->in[0];
    fused.in[6] = up->in[2];
    fused.out[0] = glu->out[0];
    fused.p.glu = glu->p.glu;
    fused.label = glu->label;
    return fuse(fuser, &fused);
}

static bool is_plain_matmul(const struct op *op)
{
    return op->kind == OP_MATMUL && !op->in[3] && !op->in[4];
}

static bool fuse_parts_qkv(struct fuser *fuser, struct op *const *parts, int n_parts)
{
    struct op fused = begin_fused(OP_MATMUL_QKV, parts, n_parts);
    fused.in[0] = parts[0]->in[1];
    for (int i = 0; i < n_parts; i++) {
        fused.in[1 + 2 * i] = parts[i]->in[0];
        fused.in[2 + 2 * i] = parts[i]->in[2];
        fused.out[i] = parts[i]->out[0];
    }
    fused.label = parts[0]->label;
    return fuse(fuser, &fused);
}

/* A matmul and the next one or two of the same input; three if possible, else the first two. */
static bool fuse_matmul_qkv(struct fuser *fuser, struct op *first)
{
    if (!is_plain_matmul(first))
        return false;
    const struct graph *graph = fuser->graph;
    struct op *parts[3];
    int n = 0;
    bool seen = false;
    for (size_t i = 0; i < graph->n_ops && n < 3; i++) {
        struct op *op = graph->ops[i];
        seen |= op == first;
        if (seen && is_plain_matmul(op) && op->in[1] == first->in[1])
            parts[n++] = op;
    }
    return (n == 3 && fuse_parts_qkv(fuser, parts, 3)) ||
           (n >= 2 && fuse_parts_qkv(fuser, parts, 2));
}

/* The op that reads a tensor and has this kind, or NULL. */
static struct op *reader(const struct graph *graph, const struct tensor *tensor, enum op_kind kind)
{
    for (size_t i = 0; i < graph->n_ops; i++)
        if (graph->ops[i]->kind == kind && reads(graph->ops[i], tensor))
            return graph->ops[i];
    return NULL;
}

/* Of the two operands of an addition the other one. */
static struct tensor *other_operand(const struct op *add, const struct tensor *operand)
{
    return add->in[add->in[0] == operand];
}

/* Experts and their sum, with the residual if that is added next. */
static bool fuse_matmul_sum(struct fuser *fuser, struct op *sum)
{
    if (sum->kind != OP_EXPERT_SUM)
        return false;
    struct op *product = maker(fuser->graph, sum->in[0]);
    if (!product || product->kind != OP_MATMUL || !product->in[4])
        return false;
    struct op *add = reader(fuser->graph, sum->out[0], OP_ADD);
    struct op fused = begin_fused(OP_MATMUL_SUM, (struct op *[]){product, sum, add}, add ? 3 : 2);
    for (int i = 0; i < 5; i++)
        fused.in[i] = product->in[i];
    fused.in[5] = sum->in[1];
    fused.p.matmul = product->p.matmul;
    if (add) {
        fused.in[3] = other_operand(add, sum->out[0]);
        fused.out[0] = add->out[0];
        fused.label = add->label;
        if (fuse(fuser, &fused))
            return true;
        fused.n_parts = 2;
        fused.parts[2] = NULL;
        fused.in[3] = NULL;
    }
    fused.out[0] = sum->out[0];
    fused.label = sum->label;
    return fuse(fuser, &fused);
}

static bool fuse_matmul_add(struct fuser *fuser, struct op *add)
{
    if (add->kind != OP_ADD)
        return false;
    for (int i = 0; i < 2; i++) {
        struct op *product = maker(fuser->graph, add->in[i]);
        if (!product || !is_plain_matmul(product))
            continue;
        struct op fused = begin_fused(OP_MATMUL, (struct op *[]){product, add}, 2);
        for (int k = 0; k < 3; k++)
            fused.in[k] = product->in[k];
        fused.in[3] = other_operand(add, product->out[0]);
        fused.out[0] = add->out[0];
        fused.label = add->label;
        if (fuse(fuser, &fused))
            return true;
    }
    return false;
}

/* A matmul, plain or fused, that takes what a norm gives, as one that norms by itself. */
static bool norm_reader(const struct fuser *fuser, struct op *norm, struct op *product,
                        struct op *fused)
{
    int x = op_product_x(product->kind);
    if (x < 0 || product->in[x] != norm->out[0] || product->in[OP_NORM_W])
        return false;
    *fused = *product;
    fused->kind = OP_NORM_MATMUL;
    fused->in[x] = norm->in[0];
    fused->in[OP_NORM_W] = norm->in[1];
    for (int i = 0; i < OP_MAX_PARTS; i++)
        fused->parts[i] = i == 0 ? norm : i == 1 ? product : NULL;
    fused->n_parts = 2;
    return !reads(fused, norm->out[0]) && !op_def_of(OP_NORM_MATMUL)->check(fused) &&
           (!fuser->fits || fuser->fits(fuser->user, fused));
}

enum { MAX_READERS = 4 };

/* A norm that only matmuls read becomes part of each of them; of all or of none. */
static bool fuse_norm_matmul(struct fuser *fuser, struct op *norm)
{
    struct graph *graph = fuser->graph;
    struct op *copies;
    size_t at[MAX_READERS], kept = 0;
    int n = 0;
    if (norm->kind != OP_RMS_NORM || !norm->in[1] || same_bytes(graph_result(graph), norm->out[0]))
        return false;
    struct op fused[MAX_READERS];
    for (size_t i = 0; i < graph->n_ops; i++) {
        if (!reads(graph->ops[i], norm->out[0]))
            continue;
        if (n == MAX_READERS || !norm_reader(fuser, norm, graph->ops[i], &fused[n]))
            return false;
        at[n++] = i;
    }
    copies = n ? arena_alloc(&graph->arena, (size_t)n * sizeof *copies) : NULL;
    if (n && !copies)
        graph_fail(graph, HTH_ERROR_MEMORY, "out of memory: fusing ops needs %zu bytes",
                   (size_t)n * sizeof *copies);
    if (!copies)
        return false;
    for (int i = 0; i < n; i++) {
        copies[i] = fused[i];
        graph->ops[at[i]] = &copies[i];
    }
    for (size_t i = 0; i < graph->n_ops; i++)
        if (graph->ops[i] != norm)
            graph->ops[kept++] = graph->ops[i];
    graph->n_ops = kept;
    return true;
}

static bool same_rope(const struct op *a, const struct op *b)
{
    const struct rope_params *p = &a->p.rope, *q = &b->p.rope;
    return a->in[1] == b->in[1] && p->kind == q->kind && p->n_rot == q->n_rot &&
           p->freq_base == q->freq_base && p->freq_scale == q->freq_scale &&
           p->ext_factor == q->ext_factor && p->attn_factor == q->attn_factor &&
           p->beta_fast == q->beta_fast && p->beta_slow == q->beta_slow &&
           p->n_ctx_orig == q->n_ctx_orig;
}

/* The same with the norms of the heads before it. */
static bool fuse_normed_rope_kv(struct fuser *fuser, const struct op *rope_kv)
{
    struct op *q = maker(fuser->graph, rope_kv->in[0]), *k = maker(fuser->graph, rope_kv->in[1]);
    if (!q || !k || q->kind != OP_RMS_NORM || k->kind != OP_RMS_NORM || !q->in[1] || !k->in[1])
        return false;
    struct op fused = *rope_kv;
    fused.in[0] = q->in[0];
    fused.in[1] = k->in[0];
    fused.in[4] = q->in[1];
    fused.in[5] = k->in[1];
    fused.parts[0] = q;
    fused.parts[1] = k;
    for (int i = 0; i < rope_kv->n_parts; i++)
        fused.parts[2 + i] = rope_kv->parts[i];
    fused.n_parts = 2 + rope_kv->n_parts;
    return fuse(fuser, &fused);
}

static bool fuse_rope_kv(struct fuser *fuser, struct op *write)
{
    struct op *k = write->kind == OP_KV_WRITE ? maker(fuser->graph, write->in[0]) : NULL;
    if (!k || k->kind != OP_ROPE)
        return false;
    for (size_t i = 0; i < fuser->graph->n_ops; i++) {
        struct op *q = fuser->graph->ops[i];
        if (q->kind != OP_ROPE || q == k || q->layer != k->layer || !same_rope(q, k))
            continue;
        struct op fused = begin_fused(OP_ROPE_KV, (struct op *[]){q, k, write}, 3);
        fused.in[0] = q->in[0];
        fused.in[1] = k->in[0];
        fused.in[2] = write->in[1];
        fused.in[3] = q->in[1];
        fused.out[0] = q->out[0];
        fused.out[1] = write->out[0];
        fused.p.rope = q->p.rope;
        fused.label = q->label;
        if (fuse_normed_rope_kv(fuser, &fused) || fuse(fuser, &fused))
            return true;
    }
    return false;
}

/* In this order: gate and up are two matmuls of one input, too; and a residual that no matmul takes
 * goes with the norm after it. */
static const struct rule {
    enum fuse_flags flag;
    bool (*apply)(struct fuser *fuser, struct op *op);
} rules[] = {
    {FUSE_MATMUL_GLU, fuse_matmul_glu},   {FUSE_MATMUL_QKV, fuse_matmul_qkv},
    {FUSE_MATMUL_SUM, fuse_matmul_sum},   {FUSE_MATMUL_ADD, fuse_matmul_add},
    {FUSE_NORM_MATMUL, fuse_norm_matmul}, {FUSE_ADD_RMS_NORM, fuse_add_rms_norm},
    {FUSE_ROPE_KV, fuse_rope_kv},
};

enum hth_status fuse_graph(struct graph *graph, unsigned flags,
                           bool (*fits)(void *user, const struct op *op), void *user)
{
    struct fuser fuser = {graph, fits, user};
    for (size_t r = 0; r < ARRAY_LEN(rules); r++) {
        if (!(flags & rules[r].flag))
            continue;
        /* A rewrite moves what comes after it: after one, look at the same place again. */
        for (size_t i = 0; i < graph->n_ops && graph->status == HTH_OK;)
            if (!rules[r].apply(&fuser, graph->ops[i]))
                i++;
            else if (i > 0)
                i--;
    }
    return graph->status;
}
