/*
 * row.h — kernels are rows: name, shader, when it fits, how it is shaped, what it declares.
 *
 * One `const struct row_family row_family_<op> = {` per file of this folder (the build lists them).
 * Choosing is a pure function over rows (select.c): the first that fits, in the order of the
 * family, is taken, or the one whose name is forced. Constants: any thread.
 */
#ifndef GPU_ROW_H
#define GPU_ROW_H

#include "base/str.h"
#include "op/op_def.h"
#include "vk/vk.h"

/* A row's kernel that is wrong on this device, by the blob that it runs. */
struct row_bar {
    char row[48], blob[64];
};

struct row_bars {
    struct row_bar *items;
    size_t n, capacity;
};

/* What choosing may look at, besides the op. */
struct row_env {
    const struct vk_caps *caps;
    bool float_only; /* no integer activations, no fp16 arithmetic */
    /* Only rows whose name is this, or begins with this and '_', for ops that such rows have a blob
     * for; NULL: any. */
    const char *forced;
    const struct row_bars *bars; /* rows that do not fit, unless they are forced; NULL: none */
    /* What was measured to be faster than what rows say of themselves (table.h), where no row is
     * forced and not `plain`; NULL: nothing was. */
    const struct table *tuned;
    bool plain;     /* of the rows that fit, the last of those in fp32; only where none is forced */
    int n_seqs;     /* sequences that a batch may hold at most */
    bool addresses; /* tests: only blobs in the address form */
    int passed_over; /* so many rows that would be taken are not, where others would be: as if they
                      * were barred (listings) */
};

/* How one pipeline is specialised. */
struct row_choice {
    const struct shader_blob *blob;
    uint32_t spec[VK_MAX_SPECS]; /* in the order of blob->specs */
    uint32_t subgroup_size;      /* demanded; 0: any */
};

struct compile;

enum { ROW_MAX_KNOBS = 7, ROW_KNOB_VALUES = 6 };

/* What can be turned of a row's shape: a specialization constant, the subgroup's size, or what
 * several constants follow from. */
struct row_knob {
    const char *name;
    uint32_t values[ROW_KNOB_VALUES]; /* that make sense on some device; 0 behind the last */
};

/* A knob's value; 0 leaves what is. */
static inline uint32_t row_turned(uint32_t value, uint32_t otherwise)
{
    return value ? value : otherwise;
}

struct row {
    const char *name; /* "matvec_f32" */
    const char
        *blob; /* "matvec"; with `by_format` the weight's format is appended: "matvec_q4_k" */
    bool by_format;
    enum weight_layout layout; /* of the weights it reads; LAYOUT_FILE unless said */
    bool integer;              /* takes integer activations */
    bool half;     /* multiplies in 16-bit floats, which activations are scaled to fit */
    bool bfloat;   /* or in bfloat16, which they need not be */
    bool matrices; /* on cooperative matrices */
    /* NULL: always. The blob's existence and capabilities are checked besides. */
    bool (*fits)(const struct row_env *env, const struct op *op);
    /* Is it the right one by default, where it fits? NULL: always. Forced rows are not asked. */
    bool (*prefers)(const struct row_env *env, const struct op *op);
    /* Sets specialization constants (choice_set) and the subgroup size. NULL: defaults. */
    void (*shape)(const struct row_env *env, const struct op *op, struct row_choice *choice);
    /* What can be turned, in the order in which it is best tried; NULL: nothing. */
    const struct row_knob *knobs;
    int n_knobs;
    /* Puts values (by knob; 0: as `shape` found) into what `shape` set. False: they do not go
     * together, or with this op or device. What every workgroup must keep to is checked besides. */
    bool (*turn)(const struct row_env *env, const struct op *op, const uint32_t *values,
                 struct row_choice *choice);
    /* Appends the dispatches of an op (compile.h). */
    enum hth_status (*emit)(struct compile *c, const struct op *op,
                            const struct row_choice *choice);
};

enum { ROW_MAX_KINDS = 5 };

/* Up to so many tokens are few, which rows of their own may take (matvecs do); more are many. */
enum { ROW_FEW_TOKENS = 16 };

struct row_family {
    enum op_kind kinds[ROW_MAX_KINDS];
    int n_kinds;
    const struct row *rows; /* best first */
    int n_rows;
    /* Appends what decides how fast an op's rows are: formats, and sizes in classes, so that what
     * is measured of one op goes for others. NULL: nothing of the family can be turned. */
    void (*describe)(const struct op *op, struct strbuf *out);
};

/* The row for an op, with its shape; NULL: nothing fits and the CPU must run it. */
const struct row *row_select(const struct row_env *env, const struct op *op,
                             struct row_choice *choice);

/* The family of a kind of op; NULL: there is none. */
const struct row_family *row_family_of(enum op_kind kind);

/* Rows by number, of all families, for listings and tests; NULL past the end. */
const struct row *row_at(size_t index, const struct row_family **family);

/* Is there a row whose name is this, or begins with this and '_'? If not, names that are close
 * (all, if none is) are appended to `close`, with commas between. */
bool row_name_exists(const char *name, struct strbuf *close);

/* Does this row fit this op on this device? Fills the choice if so. */
bool row_fits(const struct row_env *env, const struct row *row, const struct op *op,
              struct row_choice *choice);

/* Fits it, with these values of its knobs (0: the default)? Only what a knob offers does. */
bool row_turn(const struct row_env *env, const struct row *row, const struct op *op,
              const uint32_t *values, struct row_choice *choice);

/* Do two choices make the same pipeline? */
bool row_choice_equal(const struct row_choice *a, const struct row_choice *b);

/* Bars a row's kernel; nothing changes if it is barred. False: no memory. */
bool row_bars_add(struct row_bars *bars, const char *row, const char *blob);
void row_bars_free(struct row_bars *bars);

/* Sets a specialization constant by its name in the shader; a name the blob has not is ignored when
 * the compiler optimised it away. */
void choice_set(struct row_choice *choice, const char *name, uint32_t value);
uint32_t choice_get(const struct row_choice *choice, const char *name, uint32_t fallback);

/* The subgroup size nearest to `wanted` that the device can be asked for; 0 if it cannot be asked.
 * Kernels that need many registers ask for 1, the narrowest: where widths differ, lanes share the
 * registers. */
uint32_t row_subgroup(const struct vk_caps *caps, uint32_t wanted);

/* Can a lane keep about 100 values? True where the narrowest subgroup has 32 lanes or more (their
 * register files are made for it), and where registers are memory: on software devices. */
bool row_has_many_registers(const struct vk_caps *caps);

/* What the subgroup size will be when `demanded` (or 0) is asked for. */
uint32_t row_subgroup_actual(const struct vk_caps *caps, uint32_t demanded);

#endif
