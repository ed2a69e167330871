/*
 * cpu_check.h — comparing an op that has just run with its reference.
 *
 * Owns nothing after it returns. The thread that runs the op. Private to cpu/.
 */
#ifndef CPU_CPU_CHECK_H
#define CPU_CPU_CHECK_H

#include "cpu/cpu_op.h"

/* Runs the reference on the inputs of `call`, whose outputs are already there, into memory of its
 * own and compares. Errors: HTH_ERROR_MEMORY; HTH_ERROR_DEVICE when they differ by more than the
 * op's tolerance, logged with the op's label, the first bad index and both values. */
HTH_MUST_CHECK cpu_check(const struct op_call *call, bool float_only, const struct log *log);

#endif
