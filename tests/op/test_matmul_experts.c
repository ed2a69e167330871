#include "op_test.h"

/* Matmul by expert: experts used by several tokens, by one and by none; in one block and scattered
 * with some missing. */

struct shape {
    const char *type;
    int64_t k, n, n_expert;
    int n_used, bucket, n_tokens;
    bool x_by_slot, bias, scatter, elsewhere;
};

/* With inputs of the kinds whose bits are not in `skip_kinds`. */
static void run_some(const struct shape *s, unsigned skip_kinds)
{
    const struct dtype *type = dtype_by_name(str_of(s->type));
    assert_non_null(type);
    struct op_test t;
    op_test_begin(&t,
                  &(struct op_batch){.bucket = s->bucket, .n_seqs = 1, .seqs = {{0, s->n_tokens}}});
    t.scatter = s->scatter;
    t.elsewhere = s->elsewhere;
    t.skip_kinds = skip_kinds;
    struct tensor *w = op_test_weight(&t, "w", type, s->k, s->n, s->n_expert);
    struct tensor *ids = op_test_expert_ids(&t, s->n_used);
    struct tensor *x = s->x_by_slot
                           ? op_test_input(&t, "x", s->k, s->n_used, s->bucket, ROWS_TOKENS)
                           : op_test_input(&t, "x", s->k, s->bucket, 1, ROWS_TOKENS);
    if (s->scatter) /* says that the experts lie apart; where, the harness says */
        ((struct weight *)w->weight)->experts =
            arena_calloc(&t.graph.arena, (size_t)s->n_expert, sizeof(void *));
    op_matmul_experts(&t.graph, "y", w, x, ids);
    if (s->bias) {
        struct op *op = t.graph.ops[t.graph.n_ops - 1];
        op->in[2] = op_test_weight(&t, "bias", &dtype_f32, s->n, s->n_expert, 1);
        assert_null(op_def_of(OP_MATMUL)->check(op));
    }
    op_test_run(&t);
}

static void run(const struct shape *s)
{
    run_some(s, 0);
}

TEST(one_token)
{
    run(&(struct shape){"Q8_0", 64, 33, 8, 2, 1, 1, false, false, false, false});
    run(&(struct shape){"Q8_0", 64, 33, 8, 2, 1, 1, true, false, false, false});
    run(&(struct shape){"Q4_K", 256, 20, 4, 1, 1, 1, true, false, false, false});
}

TEST(shared_input)
{
    run(&(struct shape){"Q4_1", 96, 37, 6, 3, 8, 5, false, false, false, false});
    run(&(struct shape){"F16", 40, 9, 5, 2, 33, 33, false, false, false, false});
    run(&(struct shape){"Q4_K", 512, 66, 16, 4, 16, 13, false, false, false, false});
}

TEST(input_by_slot)
{
    run(&(struct shape){"Q4_1", 96, 37, 6, 3, 8, 5, true, false, false, false});
    run(&(struct shape){"F32", 17, 9, 5, 2, 4, 3, true, false, false, false});
    run(&(struct shape){"Q6_K", 256, 66, 16, 4, 64, 50, true, false, false, false});
}

TEST(groups_of_rows)
{
    run(&(struct shape){"Q4_K", 512, 48, 16, 4, 16, 13, false, false, false, false});
    run(&(struct shape){"Q8_0", 96, 32, 6, 3, 8, 5, true, false, false, false});
    run(&(struct shape){"Q6_K", 256, 80, 9, 3, 64, 50, true, false, true, false});
    run(&(struct shape){"Q4_0", 64, 16, 4, 1, 1, 1, true, true, false, true});
}

/* With as many slots as tokens a shape says nothing: [k, T] and [k, n_used] look alike. */
TEST(as_many_slots_as_tokens)
{
    run(&(struct shape){"Q8_0", 32, 10, 4, 3, 3, 3, false, false, false, false});
    run(&(struct shape){"Q8_0", 32, 10, 4, 3, 3, 3, true, false, false, false});
    run(&(struct shape){"Q8_0", 32, 10, 4, 1, 1, 1, true, false, false, false});
}

TEST(bias)
{
    run(&(struct shape){"Q8_0", 64, 33, 8, 2, 4, 4, false, true, false, false});
    run(&(struct shape){"Q8_0", 64, 33, 8, 2, 4, 3, true, true, true, false});
}

TEST(scattered_and_missing)
{
    run(&(struct shape){"Q4_1", 64, 33, 16, 2, 4, 3, false, false, true, false});
    run(&(struct shape){"Q4_K", 256, 19, 32, 4, 1, 1, true, false, true, false});
    run(&(struct shape){"F16", 24, 7, 9, 3, 16, 12, true, false, true, false});
    run(&(struct shape){"Q8_0", 128, 70, 64, 8, 33, 33, false, false, true, false});
}

/* Experts that are used and live on another device: a layer's sum is of both devices' sums. */
TEST(elsewhere)
{
    run(&(struct shape){"Q4_1", 64, 33, 16, 4, 4, 3, false, true, true, true});
    run(&(struct shape){"Q4_K", 256, 19, 12, 4, 1, 1, true, false, true, true});
    run(&(struct shape){"F16", 24, 7, 9, 3, 16, 12, true, false, true, true});
    run(&(struct shape){"Q8_0", 128, 70, 16, 8, 33, 33, false, true, true, true});
}

/* Every block format, with a token and with a tile of them; in matmul.FORMAT they get inputs of all
 * kinds. */
TEST(formats)
{
    unsigned skip = op_test_whole() ? 0 : ~(1u << INPUT_UNIFORM | 1u << INPUT_SPIKY);
    op_test_leave_out("matmul_coop", NULL);
    for (size_t i = 0; dtype_at(i); i++)
        if (dtype_at(i)->shader && dtype_is_block(dtype_at(i))) {
            const char *name = dtype_at(i)->name;
            run_some(&(struct shape){name, 256, 70, 8, 3, 1, 1, false, false, true, false}, skip);
            run_some(&(struct shape){name, 256, 70, 8, 3, 33, 30, false, false, false, false},
                     skip);
        }
}
