#include "cpu/cpu_op.h"

#include <string.h>

extern const struct cpu_op *const cpu_op_list[];

const struct cpu_op *cpu_op_at(size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (!cpu_op_list[i])
            return NULL;
    return cpu_op_list[index];
}

const struct cpu_op *cpu_op_select(const struct op *op, const char *forced_name)
{
    const struct cpu_op *best = NULL;
    for (size_t i = 0; cpu_op_list[i]; i++) {
        const struct cpu_op *row = cpu_op_list[i];
        if (row->kind != op->kind || !cpu_level_wanted(row->level) ||
            !op_has_layout(op, row->layout) || (row->fits && !row->fits(op)))
            continue;
        if (forced_name ? strcmp(row->name, forced_name) == 0 : !best || row->level > best->level)
            best = row;
    }
    return best;
}
