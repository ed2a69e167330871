/*
 * selftest.h — is a row right on this device? Its kernel runs one op of a model, with the model's
 * formats, lengths of rows and specialization, on invented inputs, and is compared with the
 * reference.
 *
 * Only what a kernel repeats is cut short: rows of matrices, tokens, experts. Owns nothing between
 * calls; what a check takes of the device is given back before it returns. One thread.
 */
#ifndef GPU_SELFTEST_H
#define GPU_SELFTEST_H

#include "gpu/compile.h"

enum selftest_verdict {
    SELFTEST_RIGHT,
    SELFTEST_WRONG,  /* its numbers differ by more than the op's tolerance */
    SELFTEST_FAILED, /* the driver could not compile or run it, and said why */
};

struct selftest_result {
    enum selftest_verdict verdict;
    double nmse, tolerance; /* of the worst output; the NMSE is INFINITY where there is no number */
    double worst;      /* where only one element is wrong: its error, in root mean squares of all */
    uint64_t run_ns;   /* of the kernel with its helpers, on the device if it has a clock */
    uint64_t spent_ns; /* of the host, without what the driver's compiler took */
};

struct selftest {
    struct vk *vk;
    const struct log *log;
};

/* What tells one check of a row from another: row, blob, specialization, op and shapes as they are
 * cut. `op` is of a graph for `n_tokens` tokens. */
void selftest_name(const struct op *op, const struct row_pick *pick, int n_tokens,
                   struct strbuf *out);

/* Says what is wrong of numbers that are: "NMSE 0.3, allowed 1e-10". */
void selftest_explain(const struct selftest_result *result, char *out, size_t size);

/* Runs one. Errors, which say nothing of the row: HTH_ERROR_MEMORY, HTH_ERROR_LIMIT (the device's
 * memory), HTH_ERROR_DEVICE_LOST. */
HTH_MUST_CHECK selftest_run(const struct selftest *test, const struct op *op,
                            const struct row_pick *pick, int n_tokens, struct selftest_result *out);

#endif
