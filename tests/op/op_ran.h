/*
 * op_ran.h — which rows and blobs the tests really ran, noted so that a last test can miss some.
 *
 * Each ctest entry of this folder is a process of its own and gets a file to write to in
 * HEARTH_OP_RAN. Its first line names the device, each further one what ran there:
 *
 *   device llvmpipe (LLVM 19.1.7, 256 bits), llvmpipe Mesa 25.0.7
 *   blob matmul_int matmul_int_q4_k        a row, or a helper dispatch of one, and its blob
 *   kind matmul matmul_int vulkan          a kind of op, the row that was forced, the device
 *   left out matmul_coop_f16 iq1_s         a row and a format that only a whole run tries together
 *
 * Without the variable, or where a run is narrowed by hand, nothing is noted. One thread.
 */
#ifndef TESTS_OP_OP_RAN_H
#define TESTS_OP_OP_RAN_H

#include <stdbool.h>

#include "base/attr.h"

/* Begins the file of this process, once; with `leave_out` removes it instead: the run says little
 * of what the tests run. */
void op_ran_begin(const char *device, bool leave_out);

/* Adds a line, if it is new. */
void op_ran_note(const char *fmt, ...) ATTR_PRINTF(1, 2);

#endif
