#include "op_gpu.h"
#include "op_test.h"

/* Tests of the tests: devices that are wrong in ways that happen, each of which must be found. A
 * fault is the reference on a call that was changed. */

static enum hth_status (*fault)(struct op_call *call, struct op *op);

static size_t one_row(void)
{
    return 1;
}

static const char *fault_name(size_t row)
{
    (void)row;
    return "fault";
}

static bool fits(size_t row, const struct op *op)
{
    (void)row;
    (void)op;
    return true;
}

static enum op_precision precision(size_t row, const struct op *op)
{
    (void)row;
    (void)op;
    return OP_PRECISION_F32;
}

static enum hth_status run(size_t row, const struct op_run *op_run)
{
    (void)row;
    struct op_call call = *op_run->call;
    struct op op = *call.op;
    call.op = &op;
    return fault(&call, &op);
}

static const struct op_device wrong = {
    .name = "wrong",
    .n_rows = one_row,
    .row_name = fault_name,
    .fits = fits,
    .precision = precision,
    .run = run,
};

static enum hth_status no_fault(struct op_call *call, struct op *op)
{
    (void)op;
    return op_reference(call);
}

/* `build` makes the case; without a fault nothing may be found, with it something must. */
static void must_find(void (*build)(struct op_test *t),
                      enum hth_status (*bad)(struct op_call *call, struct op *op))
{
    struct op_test t;
    for (int pass = 0; pass < 2; pass++) {
        op_test_begin(&t, &(struct op_batch){.bucket = 12, .n_seqs = 2, .seqs = {{90, 7}, {3, 2}}});
        build(&t);
        fault = pass ? bad : no_fault;
        bool found = op_test_finds_fault(&t, &wrong);
        if (found != (pass == 1))
            fail_msg("%s", pass ? "the fault was not found" : "the reference differs from itself");
    }
}

/* --- what any op may get wrong --- */

static void build_add(struct op_test *t)
{
    struct tensor *a = op_test_input(t, "a", 33, t->graph.n_tokens, 1, ROWS_TOKENS);
    struct tensor *b = op_test_input(t, "b", 33, t->graph.n_tokens, 1, ROWS_TOKENS);
    op_add(&t->graph, "y", a, b);
}

static enum hth_status one_value_off(struct op_call *call, struct op *op)
{
    (void)op;
    enum hth_status status = op_reference(call);
    ((float *)view_row(&call->out[0], 8, 0))[32] *= 1.0001f;
    return status;
}

static enum hth_status one_value_missing(struct op_call *call, struct op *op)
{
    (void)op;
    float *last = (float *)view_row(&call->out[0], 8, 0) + 32, before = *last;
    enum hth_status status = op_reference(call);
    *last = before;
    return status;
}

static enum hth_status one_byte_before(struct op_call *call, struct op *op)
{
    (void)op;
    enum hth_status status = op_reference(call);
    ((unsigned char *)call->out[0].data)[-1] ^= 1;
    return status;
}

static enum hth_status rows_beyond_batch(struct op_call *call, struct op *op)
{
    (void)op;
    enum hth_status status = op_reference(call);
    memset(view_row(&call->out[0], 9, 0), 0, 4);
    return status;
}

static enum hth_status input_changed(struct op_call *call, struct op *op)
{
    (void)op;
    enum hth_status status = op_reference(call);
    *(float *)call->in[1].data += 1;
    return status;
}

static enum hth_status reads_beyond_batch(struct op_call *call, struct op *op)
{
    (void)op;
    call->in[0].data = view_row(&call->in[0], 1, 0);
    return op_reference(call);
}

TEST(values)
{
    must_find(build_add, one_value_off);
    must_find(build_add, one_value_missing);
}

TEST(writes)
{
    must_find(build_add, one_byte_before);
    must_find(build_add, rows_beyond_batch);
    must_find(build_add, input_changed);
}

TEST(reads)
{
    must_find(build_add, reads_beyond_batch);
}

/* --- attention --- */

enum { HEADS = 4, WIDTH = 32 };

static void build_attention(struct op_test *t)
{
    t->skip_kinds = 1u << INPUT_HUGE;
    t->scale = 4;
    struct tensor *q = op_test_input(t, "q", WIDTH, HEADS, t->graph.n_tokens, ROWS_TOKENS);
    struct tensor *sinks = op_test_weight(t, "sinks", &dtype_f32, HEADS, 1, 1);
    op_attention(&t->graph, "y", q, op_test_kv(t, 2, WIDTH, WIDTH, &dtype_f16), sinks,
                 &(struct attention_params){HEADS, 0.5f, 6, 20});
}

static void swap_middle_heads(float *rows, int n)
{
    for (int i = 0; i < n; i++, rows += HEADS * WIDTH)
        for (int k = 0; k < WIDTH; k++) {
            float one = rows[WIDTH + k];
            rows[WIDTH + k] = rows[2 * WIDTH + k];
            rows[2 * WIDTH + k] = one;
        }
}

/* With heads 1 and 2 exchanged on the way in and out, head h reads head h % 2 of the cache. */
static enum hth_status head_modulo(struct op_call *call, struct op *op)
{
    (void)op;
    static float q[16 * HEADS * WIDTH];
    int n = call->batch->n_tokens;
    memcpy(q, call->in[0].data, (size_t)n * HEADS * WIDTH * sizeof *q);
    swap_middle_heads(q, n);
    call->in[0].data = q;
    enum hth_status status = op_reference(call);
    swap_middle_heads(call->out[0].data, n);
    return status;
}

static enum hth_status no_sinks(struct op_call *call, struct op *op)
{
    op->in[2] = NULL;
    return op_reference(call);
}

static enum hth_status no_softcap(struct op_call *call, struct op *op)
{
    op->p.attention.softcap = 0;
    return op_reference(call);
}

static enum hth_status window_one_less(struct op_call *call, struct op *op)
{
    op->p.attention.window--;
    return op_reference(call);
}

static enum hth_status window_one_more(struct op_call *call, struct op *op)
{
    op->p.attention.window++;
    return op_reference(call);
}

static enum hth_status not_causal(struct op_call *call, struct op *op)
{
    (void)op;
    struct batch batch = *call->batch;
    int32_t pos[32];
    for (int i = 0; i < batch.n_tokens; i++)
        pos[i] = batch.pos[i] + (i == 0);
    batch.pos = pos;
    call->batch = &batch;
    return op_reference(call);
}

static enum hth_status one_sequence(struct op_call *call, struct op *op)
{
    (void)op;
    struct batch batch = *call->batch;
    static const int32_t zeros[32];
    batch.seq = zeros;
    call->batch = &batch;
    return op_reference(call);
}

TEST(attention)
{
    must_find(build_attention, head_modulo);
    must_find(build_attention, no_sinks);
    must_find(build_attention, no_softcap);
    must_find(build_attention, window_one_less);
    must_find(build_attention, window_one_more);
    must_find(build_attention, not_causal);
    must_find(build_attention, one_sequence);
}

/* --- KV write --- */

static void build_kv_write(struct op_test *t)
{
    t->skip_kinds = 1u << INPUT_HUGE;
    struct tensor *k = op_test_input(t, "k", WIDTH, 2, t->graph.n_tokens, ROWS_TOKENS);
    struct tensor *v = op_test_input(t, "v", WIDTH, 2, t->graph.n_tokens, ROWS_TOKENS);
    op_kv_write(&t->graph, "write", k, v, op_test_kv(t, 2, WIDTH, WIDTH, &dtype_q8_0));
}

static enum hth_status keys_for_values(struct op_call *call, struct op *op)
{
    (void)op;
    struct view k = call->in[0];
    call->in[0] = call->in[1];
    call->in[1] = k;
    return op_reference(call);
}

TEST(kv_write)
{
    must_find(build_kv_write, one_sequence);
    must_find(build_kv_write, keys_for_values);
    must_find(build_kv_write, not_causal);
}

/* --- rope --- */

static void build_rope(struct op_test *t)
{
    struct tensor *x = op_test_input(t, "x", 80, 2, t->graph.n_tokens, ROWS_TOKENS);
    struct tensor *factors = op_test_weight(t, "factors", &dtype_f32, 32, 1, 1);
    op_rope(&t->graph, "y", x, factors,
            &(struct rope_params){ROPE_NORM, 64, 10000, 0.25f, 1, 1, 32, 1, 2048});
}

static enum hth_status halves(struct op_call *call, struct op *op)
{
    op->p.rope.kind = ROPE_NEOX;
    return op_reference(call);
}

static enum hth_status no_yarn(struct op_call *call, struct op *op)
{
    op->p.rope.ext_factor = 0;
    return op_reference(call);
}

static enum hth_status no_factors(struct op_call *call, struct op *op)
{
    op->in[1] = NULL;
    return op_reference(call);
}

static enum hth_status other_ramp(struct op_call *call, struct op *op)
{
    op->p.rope.beta_slow = 2;
    return op_reference(call);
}

static enum hth_status turns_all(struct op_call *call, struct op *op)
{
    op->p.rope.n_rot = 62;
    return op_reference(call);
}

TEST(rope)
{
    must_find(build_rope, halves);
    must_find(build_rope, no_yarn);
    must_find(build_rope, no_factors);
    must_find(build_rope, other_ramp);
    must_find(build_rope, turns_all);
    must_find(build_rope, not_causal);
}

/* --- experts --- */

static void build_router(struct op_test *t)
{
    struct tensor *logits = op_test_input(t, "logits", 16, t->graph.n_tokens, 1, ROWS_TOKENS);
    struct tensor *bias = op_test_weight(t, "bias", &dtype_f32, 16, 1, 1), *ids;
    op_router(&t->graph, "weights", logits, bias,
              &(struct router_params){ROUTER_SIGMOID, 3, true, 2}, &ids);
}

static enum hth_status not_normalised(struct op_call *call, struct op *op)
{
    op->p.router.normalize = false;
    return op_reference(call);
}

static enum hth_status other_probability(struct op_call *call, struct op *op)
{
    op->p.router.kind = ROUTER_SOFTMAX;
    return op_reference(call);
}

static enum hth_status first_experts(struct op_call *call, struct op *op)
{
    (void)op;
    enum hth_status status = op_reference(call);
    for (int t = 0; t < call->batch->n_tokens; t++)
        for (int u = 0; u < 3; u++)
            ((int32_t *)view_row(&call->out[1], t, 0))[u] = u;
    return status;
}

static enum hth_status no_router_bias(struct op_call *call, struct op *op)
{
    op->in[1] = NULL;
    return op_reference(call);
}

TEST(router)
{
    must_find(build_router, not_normalised);
    must_find(build_router, other_probability);
    must_find(build_router, first_experts);
    must_find(build_router, no_router_bias);
}

static void build_top_k(struct op_test *t)
{
    struct tensor *x = op_test_input(t, "x", 300, t->graph.n_tokens, 1, ROWS_TOKENS);
    op_top_k(&t->graph, "y", x, 3);
}

/* Of a row of equal numbers, which is one kind of input. */
static enum hth_status last_of_equals(struct op_call *call, struct op *op)
{
    (void)op;
    enum hth_status status = op_reference(call);
    for (int t = 0; t < call->batch->n_tokens; t++) {
        const float *x = view_row(&call->in[0], t, 0);
        int32_t *best = view_row(&call->out[0], t, 0);
        for (int i = 299; i > 2 && best[2] == 2; i--)
            if (x[i] == x[2])
                best[2] = i;
    }
    return status;
}

static enum hth_status two_in_the_wrong_order(struct op_call *call, struct op *op)
{
    (void)op;
    enum hth_status status = op_reference(call);
    int32_t *best = view_row(&call->out[0], 0, 0), first = best[0];
    best[0] = best[1];
    best[1] = first;
    return status;
}

static enum hth_status other_value(struct op_call *call, struct op *op)
{
    (void)op;
    enum hth_status status = op_reference(call);
    ((int32_t *)view_row(&call->out[0], 0, 0))[5] ^= 1;
    return status;
}

TEST(top_k)
{
    must_find(build_top_k, last_of_equals);
    must_find(build_top_k, two_in_the_wrong_order);
    must_find(build_top_k, other_value);
}

static void build_experts(struct op_test *t)
{
    struct tensor *w = op_test_weight(t, "w", &dtype_q8_0, 32, 9, 64);
    struct tensor *ids = op_test_expert_ids(t, 2);
    struct tensor *x = op_test_input(t, "x", 32, 2, t->graph.n_tokens, ROWS_TOKENS);
    op_matmul_experts(&t->graph, "y", w, x, ids);
}

static enum hth_status same_expert(struct op_call *call, struct op *op)
{
    (void)op;
    static int32_t ids[64];
    for (int i = 0; i < 64; i++)
        ids[i] = *(const int32_t *)call->in[4].data;
    call->in[4].data = ids;
    return op_reference(call);
}

static enum hth_status next_expert(struct op_call *call, struct op *op)
{
    (void)op;
    call->in[0].data = view_row(&call->in[0], 0, 1);
    return op_reference(call);
}

TEST(experts)
{
    must_find(build_experts, same_expert);
    must_find(build_experts, next_expert);
}

/* --- the rest --- */

static void build_matmul(struct op_test *t)
{
    struct tensor *bias = op_test_weight(t, "bias", &dtype_f32, 20, 1, 1);
    struct tensor *x = op_test_input(t, "x", 64, t->graph.n_tokens, 1, ROWS_TOKENS);
    op_matmul(&t->graph, "y", op_test_weight(t, "w", &dtype_q8_0, 64, 20, 1), x, bias);
}

static enum hth_status no_bias(struct op_call *call, struct op *op)
{
    op->in[2] = NULL;
    return op_reference(call);
}

static void build_norm(struct op_test *t)
{
    struct tensor *x = op_test_input(t, "x", 64, t->graph.n_tokens, 1, ROWS_TOKENS);
    op_rms_norm(&t->graph, "y", x, op_test_weight(t, "w", &dtype_f32, 64, 1, 1), 1e-6f);
}

static enum hth_status other_eps(struct op_call *call, struct op *op)
{
    op->p.rms_norm.eps = 1e-5f;
    return op_reference(call);
}

static void build_glu(struct op_test *t)
{
    t->scale = 4;
    struct tensor *gate = op_test_input(t, "gate", 64, t->graph.n_tokens, 1, ROWS_TOKENS);
    struct tensor *up = op_test_input(t, "up", 64, t->graph.n_tokens, 1, ROWS_TOKENS);
    op_glu(&t->graph, "y", gate, up, GLU_GELU_ERF);
}

static enum hth_status other_gelu(struct op_call *call, struct op *op)
{
    op->p.glu.kind = GLU_GELU_TANH;
    return op_reference(call);
}

static void build_scale(struct op_test *t)
{
    struct tensor *x = op_test_input(t, "x", 5, 2, t->graph.n_tokens, ROWS_TOKENS);
    op_scale(&t->graph, "y", x, &(struct scale_params){1, 0.1f, 91});
}

TEST(others)
{
    must_find(build_matmul, no_bias);
    must_find(build_norm, other_eps);
    must_find(build_glu, other_gelu);
    must_find(build_scale, not_causal);
}

/* --- what a step declares --- */

static const struct op_device *gpu_device(const char *name)
{
    for (size_t d = 0; op_device_at(d); d++)
        if (strcmp(op_device_at(d)->name, name) == 0)
            return op_device_at(d);
    test_skip("no device here whose rows declare what they touch");
    return NULL;
}

static size_t n_tampered;

/* Takes range `at` out of a list. */
static void forget(struct range *list, int *n, int at)
{
    list[at] = list[--*n];
    n_tampered++;
}

static struct access *last_access(struct program *program)
{
    return &program->steps[program->n_steps - 1].access;
}

static void forget_first_read(struct program *program)
{
    struct access *access = last_access(program);
    forget(access->reads, &access->n_reads, 0);
}

static void forget_second_read(struct program *program)
{
    struct access *access = last_access(program);
    forget(access->reads, &access->n_reads, 1);
}

static void forget_write(struct program *program)
{
    struct access *access = last_access(program);
    forget(access->writes, &access->n_writes, 0);
}

static void shorten_write(struct program *program)
{
    last_access(program)->writes[0].to -= 3 * 33 * 4 + 4; /* nothing is in the last 3 rows */
    n_tampered++;
}

/* A side buffer is what a helper's step writes. */
static void forget_side_write(struct program *program)
{
    if (program->n_steps > 1)
        forget(program->steps[0].access.writes, &program->steps[0].access.n_writes, 0);
}

static void forget_side_read(struct program *program)
{
    if (program->n_steps < 2)
        return;
    struct range side = program->steps[0].access.writes[0];
    struct access *access = last_access(program);
    for (int i = access->n_reads - 1; i >= 0; i--)
        if (access->reads[i].from == side.from)
            forget(access->reads, &access->n_reads, i);
}

/* Nothing is found as the rows are; with the fault it is, and told as `text`. */
static void must_find_forgotten(void (*build)(struct op_test *t),
                                void (*tamper)(struct program *program), const char *text)
{
    const struct op_device *device = gpu_device("vulkan");
    struct op_test t;
    for (int pass = 0; pass < 2; pass++) {
        op_test_begin(&t,
                      &(struct op_batch){.bucket = 36, .n_seqs = 2, .seqs = {{90, 30}, {3, 3}}});
        build(&t);
        n_tampered = 0;
        op_declared_tamper = pass ? tamper : NULL;
        bool found = op_test_finds_fault(&t, device);
        op_declared_tamper = NULL;
        if (found != (pass == 1))
            fail_msg("%s\n%s", pass ? "the fault was not found" : "a fault without one",
                     test_log_text());
        assert_true(pass == 0 || n_tampered > 0);
    }
    assert_logged(text);
}

TEST(declared_reads)
{
    op_test_leave_out("attention_coop", NULL); /* any row will do, and these compile for long */
    must_find_forgotten(build_add, forget_first_read, "does not declare as read: of a:");
    must_find_forgotten(build_add, forget_second_read, "does not declare as read: of b:");
    must_find_forgotten(build_attention, forget_first_read, "does not declare as read: of q:");
    must_find_forgotten(build_attention, forget_second_read, "does not declare as read: of kv:");
}

TEST(declared_writes)
{
    must_find_forgotten(build_add, forget_write, "step 0, elementwise of y, writes what it does");
    must_find_forgotten(build_add, shorten_write, ", in y");
    must_find_forgotten(build_kv_write, forget_write, ", in kv");
}

TEST(declared_side_buffers)
{
    must_find_forgotten(build_experts, forget_side_write,
                        "step 0, group of y, writes what it does not declare as written: first");
    /* what it reads there tells it where to write: poison may show in either */
    must_find_forgotten(build_experts, forget_side_read, "step 1, matmul_");
}
