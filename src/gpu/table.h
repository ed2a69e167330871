/*
 * table.h — what was measured to be fastest on a device: for a class of ops a row, and values of
 * its knobs.
 *
 * Selection looks here first (row_env.tuned). What an entry says is taken only where the row fits
 * the op at hand and offers these values, whoever wrote them. Owns the entries. Looking up: any
 * thread; changing: one.
 */
#ifndef GPU_TABLE_H
#define GPU_TABLE_H

#include "gpu/row.h"

enum { TABLE_MOST = 4096 }; /* entries */

struct table_knob {
    char name[16];
    uint32_t value;
};

struct table_entry {
    char class[96]; /* of ops (table_class) */
    char row[48];   /* "": as rows say of themselves */
    struct table_knob knobs[ROW_MAX_KNOBS];
    int n_knobs;
    double gain; /* how many times as fast as without the entry; 0: it is not known */
    int n_done;  /* of what can be tried: rows, then each knob of the best */
    int n_tried; /* of the next of these: rows or values */
    int n_begun; /* times that somebody began to measure it and did not end */
    bool whole;  /* all was */
};

struct table {
    struct table_entry *items;
    size_t n, capacity;
};

/* Where the class of a size begins: a power of two, or one and a half. */
int64_t table_size(int64_t size);

/* What the class of so many columns has at most. Of few each number is its own, up to four, which
 * is as many as a workgroup usually has; from 129 on it is one. */
int64_t table_columns(int64_t columns);

/* The class of an op; false: nothing of it can be turned. */
bool table_class(const struct row_env *env, const struct op *op, char *out, size_t size);

/* NULL: there is none. */
struct table_entry *table_find(const struct table *table, const char *class);

/* Finds an entry or adds an empty one, for which the oldest goes where there are TABLE_MOST: others
 * move. NULL: no memory. */
struct table_entry *table_add(struct table *table, const char *class);
void table_free(struct table *table);

/* Makes an entry say this row with these values, in the row's order; NULL: none in particular. */
void table_set(struct table_entry *entry, const struct row *row, const uint32_t *values);

/* As rows say of themselves from now on. */
void table_clear(struct table_entry *entry);

/* Reads an entry for a row of an op's family, whose values are then by knob (ROW_MAX_KNOBS of
 * them); NULL: it says none, or one that has no such knob. */
const struct row *table_row(const struct table_entry *entry, const struct row_family *family,
                            uint32_t *values);

/* The row of the op's entry, with its shape; NULL: none, or it does not fit. */
const struct row *table_select(const struct row_env *env, const struct row_family *family,
                               const struct op *op, struct row_choice *choice);

#endif
