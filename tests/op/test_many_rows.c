#include "op_test.h"

/* More rows than a dimension is sure to have workgroups (65535), even with eight rows to each: the
 * output of a model with a large vocabulary. */
TEST(matmul)
{
    const struct dtype *type = dtype_by_name(str_of("Q4_0"));
    struct op_test t;
    op_test_begin(&t, &(struct op_batch){.bucket = 2, .n_seqs = 1, .seqs = {{0, 2}}});
    t.skip_kinds = ~(1u << INPUT_UNIFORM | 1u << INPUT_SPIKY); /* this is about where rows lie */
    struct tensor *w = op_test_weight(&t, "w", type, 32, 65535 * 8 + 21, 1);
    struct tensor *x = op_test_input(&t, "x", 32, 2, 1, ROWS_TOKENS);
    op_matmul(&t.graph, "y", w, x, NULL);
    op_test_run(&t);
}
