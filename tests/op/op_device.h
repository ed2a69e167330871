/*
 * op_device.h — something that has kernels ("rows") and can run one op with a row forced by name.
 *
 * To bring another backend under the op tests, write tests/op/op_device_<name>.c with one constant
 * and one line:
 *
 *   static const struct op_device device = {.name = "vulkan", …};
 *   OP_DEVICE(device)
 *
 * Every test of this folder then runs each of its rows that fits, too. Nothing else is edited: all
 * op_*.c files of the folder are linked into each test. One thread.
 */
#ifndef TESTS_OP_OP_DEVICE_H
#define TESTS_OP_OP_DEVICE_H

#include "op/op_def.h"

/* Which of an op's tolerances a row is held to, with activations of any size: rows in halves or
 * integers scale them, so that none overflows and none is lost. */
enum op_precision { OP_PRECISION_F32, OP_PRECISION_F16, OP_PRECISION_INT, OP_PRECISION_COUNT };

/* Host memory of a case. It has guard bytes at both ends, which belong to it. */
struct op_buffer {
    unsigned char *bytes;
    size_t size;
    bool written; /* the op writes here (outputs, the cache of a KV write); else it only reads */
};

/* One op to run. Every address in `call` (views, experts, kv_pages) lies in one of `buffers`; what
 * the batch points at does not, and is exactly as long as the batch says.
 *
 * A device with memory of its own copies each buffer in, whole with its guards; points at them by
 * (buffer, offset of the address in it); runs the row; and copies back each buffer, whole, those
 * that are not `written` too: the caller finds out that way if anything was changed that should not
 * be. Addresses are aligned to 64 bytes for tensors and cache pages, and to 16 for experts. Bytes
 * that the op must not read are 0xff: NaN as a float, wild as an index. */
struct op_run {
    const struct op_call *call;
    const struct op_buffer *buffers;
    size_t n_buffers;
    size_t n_pages;      /* of call->kv_pages */
    uint64_t page_bytes; /* all pages are in one buffer */
    const struct graph *graph;
    bool check_declared; /* the case's first kind of input: a device whose rows declare what they
                          * touch checks that, too */
};

struct op_device {
    const char *name;

    /* Called once before anything else; false: there is no such device here, nothing of it runs
     * (the reason goes to stdout). NULL: always there. */
    bool (*open)(void);

    /* Called once at the end of the program, if it was opened; NULL: nothing to do. */
    void (*close)(void);

    /* Rows by index; a name is unique within the device and is what HEARTH_OP_ROW selects. A kernel
     * that runs in several ways (float or integer, widths) is as many rows. */
    size_t (*n_rows)(void);
    const char *(*row_name)(size_t row);

    /* Can the row run this op, fused ones included? Asked for every row and case. */
    bool (*fits)(size_t row, const struct op *op);

    /* Which tolerance holds, for an op that fits. */
    enum op_precision (*precision)(size_t row, const struct op *op);

    /* Runs the op once; its outputs are then in the buffers. Any status but HTH_OK fails the test;
     * what was logged to `test_log` is shown. */
    enum hth_status (*run)(size_t row, const struct op_run *run);

    /* Its rows are those of another device, which get every kind of input: the first kind is
     * enough. */
    bool one_kind;

    /* It has rows for fused ops: where it is there, a test of them of which no case ran fails. */
    bool fuses;
};

void op_device_register(const struct op_device *device);

#define OP_DEVICE(device)                                                                          \
    __attribute__((constructor)) static void register_device(void)                                 \
    {                                                                                              \
        op_device_register(&(device));                                                             \
    }

/* The registered ones that are there, in order of their names; NULL past the end. */
const struct op_device *op_device_at(size_t index);

#endif
