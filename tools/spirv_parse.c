#include "spirv_parse.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { MAGIC = 0x07230203, HEADER_WORDS = 5, MAX_BOUND = 1 << 22, MAX_DEPTH = 32 };
enum { MAX_BYTES = 1 << 30, BUDGET = 1 << 12 };

enum opcode {
    OP_NAME = 5,
    OP_MEMBER_NAME = 6,
    OP_ENTRY_POINT = 15,
    OP_EXECUTION_MODE = 16,
    OP_CAPABILITY = 17,
    OP_TYPE_BOOL = 20,
    OP_TYPE_INT = 21,
    OP_TYPE_FLOAT = 22,
    OP_TYPE_VECTOR = 23,
    OP_TYPE_ARRAY = 28,
    OP_TYPE_STRUCT = 30,
    OP_TYPE_POINTER = 32,
    OP_CONSTANT_TRUE = 41,
    OP_CONSTANT_FALSE = 42,
    OP_CONSTANT = 43,
    OP_CONSTANT_COMPOSITE = 44,
    OP_SPEC_CONSTANT_TRUE = 48,
    OP_SPEC_CONSTANT_FALSE = 49,
    OP_SPEC_CONSTANT = 50,
    OP_SPEC_CONSTANT_COMPOSITE = 51,
    OP_SPEC_CONSTANT_OP = 52,
    OP_VARIABLE = 59,
    OP_LOAD = 61,
    OP_ACCESS_CHAIN = 65,
    OP_IN_BOUNDS_ACCESS_CHAIN = 66,
    OP_DECORATE = 71,
    OP_MEMBER_DECORATE = 72,
    OP_EXECUTION_MODE_ID = 331,
};

enum { DECORATION_SPEC_ID = 1, DECORATION_ARRAY_STRIDE = 6, DECORATION_BUILTIN = 11 };
enum {
    DECORATION_BINDING = 33,
    DECORATION_OFFSET = 35,
    BUILTIN_NUM_WORKGROUPS = 24,
    BUILTIN_WORKGROUP_SIZE = 25
};
enum { STORAGE_WORKGROUP = 4, STORAGE_PUSH_CONSTANT = 9, STORAGE_PHYSICAL = 5349 };
enum { MODE_LOCAL_SIZE = 17, MODE_LOCAL_SIZE_ID = 38, MODEL_COMPUTE = 5 };
enum { CAPABILITY_ADDRESSES = 5347 };

struct module {
    const uint32_t *words;
    size_t n_words;
    uint32_t bound;
    uint32_t *defined;  /* id → where its type, constant or variable is defined; 0: nowhere */
    uint32_t *spec_id;  /* id → specialization id + 1 */
    uint32_t *stride;   /* id of an array type → ArrayStride */
    uint32_t *name;     /* id → where its OpName is */
    uint32_t size_id;   /* id of the constant that is the workgroup's size, or 0 */
    bool has_array;     /* of storage buffers: binding 0 (shaders/common/prelude.glsl) */
    uint32_t counts_id; /* id of the variable that is the numbers of workgroups, or 0 */
    uint32_t size_mode; /* where the LocalSize or LocalSizeId mode is, or 0 */
    uint32_t n_entries;
    uint32_t n_specs;
    unsigned budget; /* steps left, so that a hostile module ends */
    char *error;
    size_t error_size;
};

#define FAIL(m, ...) (snprintf((m)->error, (m)->error_size, __VA_ARGS__), false)

static uint32_t op_of(const uint32_t *w)
{
    return w[0] & 0xffff;
}

static uint32_t length_of(const uint32_t *w)
{
    return w[0] >> 16;
}

/* Least words of the instructions that are looked into; 0 for the others. */
static uint32_t least_length(uint32_t op)
{
    switch (op) {
    case OP_TYPE_BOOL:
    case OP_CAPABILITY:
    case OP_TYPE_STRUCT: return 2;
    case OP_NAME:
    case OP_TYPE_FLOAT:
    case OP_CONSTANT_TRUE:
    case OP_CONSTANT_FALSE:
    case OP_SPEC_CONSTANT_TRUE:
    case OP_SPEC_CONSTANT_FALSE:
    case OP_CONSTANT_COMPOSITE:
    case OP_SPEC_CONSTANT_COMPOSITE:
    case OP_EXECUTION_MODE:
    case OP_EXECUTION_MODE_ID:
    case OP_DECORATE: return 3;
    case OP_TYPE_INT:
    case OP_TYPE_VECTOR:
    case OP_TYPE_ARRAY:
    case OP_TYPE_POINTER:
    case OP_CONSTANT:
    case OP_SPEC_CONSTANT:
    case OP_SPEC_CONSTANT_OP:
    case OP_VARIABLE:
    case OP_LOAD:
    case OP_ACCESS_CHAIN:
    case OP_IN_BOUNDS_ACCESS_CHAIN:
    case OP_MEMBER_DECORATE:
    case OP_ENTRY_POINT: return 4;
    default: return 0;
    }
}

/* Which word of an instruction holds the id it defines, of those that are looked up; else 0. */
static unsigned result_word(uint32_t op)
{
    if (op >= OP_TYPE_BOOL && op <= OP_TYPE_POINTER)
        return 1;
    if ((op >= OP_CONSTANT_TRUE && op <= OP_SPEC_CONSTANT_OP) || op == OP_VARIABLE)
        return 2;
    return 0;
}

static const uint32_t *definition(const struct module *m, uint32_t id)
{
    return id < m->bound && m->defined[id] ? m->words + m->defined[id] : NULL;
}

static bool note_decoration(struct module *m, const uint32_t *w)
{
    if (w[1] >= m->bound)
        return FAIL(m, "a decoration of id %" PRIu32 " past the bound", w[1]);
    uint32_t value = length_of(w) > 3 ? w[3] : 0;
    if (w[2] == DECORATION_SPEC_ID) {
        if (value > INT32_MAX)
            return FAIL(m, "specialization id %" PRIu32 " is out of range", value);
        m->spec_id[w[1]] = value + 1;
    } else if (w[2] == DECORATION_ARRAY_STRIDE) {
        m->stride[w[1]] = value;
    } else if (w[2] == DECORATION_BINDING && length_of(w) > 3 && value == 0) {
        m->has_array = true;
    } else if (w[2] == DECORATION_BUILTIN && value == BUILTIN_WORKGROUP_SIZE) {
        m->size_id = w[1];
    } else if (w[2] == DECORATION_BUILTIN && value == BUILTIN_NUM_WORKGROUPS) {
        m->counts_id = w[1];
    }
    return true;
}

static bool note_instruction(struct module *m, uint32_t at)
{
    const uint32_t *w = m->words + at;
    uint32_t op = op_of(w);
    unsigned result = result_word(op);
    if (result && length_of(w) > result) {
        if (w[result] >= m->bound || w[result] == 0)
            return FAIL(m, "id %" PRIu32 " is past the bound", w[result]);
        m->defined[w[result]] = at;
    }
    if (op == OP_DECORATE)
        return note_decoration(m, w);
    if (op == OP_NAME) {
        if (w[1] >= m->bound || !memchr(w + 2, 0, (length_of(w) - 2) * sizeof *w))
            return FAIL(m, "a name that does not end");
        m->name[w[1]] = at;
    } else if (op == OP_ENTRY_POINT) {
        if (w[1] != MODEL_COMPUTE)
            return FAIL(m, "an entry point that is not compute");
        m->n_entries++;
    } else if ((op == OP_EXECUTION_MODE && w[2] == MODE_LOCAL_SIZE) ||
               (op == OP_EXECUTION_MODE_ID && w[2] == MODE_LOCAL_SIZE_ID)) {
        if (length_of(w) < 6)
            return FAIL(m, "a workgroup size without three numbers");
        m->size_mode = at;
    }
    return true;
}

static bool read_instructions(struct module *m)
{
    for (size_t at = HEADER_WORDS; at < m->n_words; at += m->words[at] >> 16) {
        uint32_t length = m->words[at] >> 16;
        uint32_t op = m->words[at] & 0xffff;
        if (length == 0 || length > m->n_words - at || length < least_length(op))
            return FAIL(m, "instruction %" PRIu32 " at word %zu has a wrong length", op, at);
        if (!note_instruction(m, (uint32_t)at))
            return false;
    }
    if (m->n_entries != 1)
        return FAIL(m, "%" PRIu32 " compute entry points where one is wanted", m->n_entries);
    return true;
}

/* The SpecConstantOps that sizes are made of (specification, section 3.3.13 and following). */
static bool evaluate_op(struct module *m, uint32_t op, const uint32_t v[3], uint32_t *out)
{
    bool divides = op == 134 || op == 135 || op == 137 || op == 139;
    if (divides && (v[1] == 0 || (op == 135 && v[1] == UINT32_MAX)))
        return FAIL(m, "a specialization constant divides by 0 or −1");
    switch (op) {
    case 128: *out = v[0] + v[1]; return true;                               /* IAdd */
    case 130: *out = v[0] - v[1]; return true;                               /* ISub */
    case 132: *out = v[0] * v[1]; return true;                               /* IMul */
    case 134: *out = v[0] / v[1]; return true;                               /* UDiv */
    case 135: *out = (uint32_t)((int32_t)v[0] / (int32_t)v[1]); return true; /* SDiv */
    case 137: *out = v[0] % v[1]; return true;                               /* UMod */
    case 194: *out = v[0] >> (v[1] & 31); return true;                       /* logical shift */
    case 195: *out = (uint32_t)((int32_t)v[0] >> (v[1] & 31)); return true;  /* arithmetic */
    case 196: *out = v[0] << (v[1] & 31); return true;                       /* left */
    case 197: *out = v[0] | v[1]; return true;                               /* or */
    case 198: *out = v[0] ^ v[1]; return true;                               /* xor */
    case 199: *out = v[0] & v[1]; return true;                               /* and */
    case 200: *out = ~v[0]; return true;                                     /* not */
    case 124: *out = v[0]; return true;                                      /* bitcast */
    case 164: *out = v[0] == v[1]; return true;                              /* LogicalEqual */
    case 166: *out = v[0] || v[1]; return true;                              /* LogicalOr */
    case 167: *out = v[0] && v[1]; return true;                              /* LogicalAnd */
    case 168: *out = !v[0]; return true;                                     /* LogicalNot */
    case 169: *out = v[0] ? v[1] : v[2]; return true;                        /* Select */
    case 170: *out = v[0] == v[1]; return true;                              /* IEqual */
    case 171: *out = v[0] != v[1]; return true;                              /* INotEqual */
    case 172: *out = v[0] > v[1]; return true;                               /* UGreaterThan */
    case 173: *out = (int32_t)v[0] > (int32_t)v[1]; return true;             /* SGreaterThan */
    case 174: *out = v[0] >= v[1]; return true;                              /* U… or equal */
    case 175: *out = (int32_t)v[0] >= (int32_t)v[1]; return true;            /* S… or equal */
    case 176: *out = v[0] < v[1]; return true;                               /* ULessThan */
    case 177: *out = (int32_t)v[0] < (int32_t)v[1]; return true;             /* SLessThan */
    case 178: *out = v[0] <= v[1]; return true;                              /* U… or equal */
    case 179: *out = (int32_t)v[0] <= (int32_t)v[1]; return true;            /* S… or equal */
    default: return FAIL(m, "a size depends on SpecConstantOp %" PRIu32, op);
    }
}

/* The value of a 32-bit constant, specialization constants at their defaults. */
static bool evaluate(struct module *m, uint32_t id, unsigned depth, uint32_t *out)
{
    const uint32_t *w = definition(m, id);
    if (!w || depth > MAX_DEPTH || m->budget-- == 0)
        return m->budget = 1, FAIL(m, "id %" PRIu32 " is no constant", id);
    switch (op_of(w)) {
    case OP_CONSTANT_TRUE:
    case OP_SPEC_CONSTANT_TRUE: *out = 1; return true;
    case OP_CONSTANT_FALSE:
    case OP_SPEC_CONSTANT_FALSE: *out = 0; return true;
    case OP_CONSTANT:
    case OP_SPEC_CONSTANT: *out = w[3]; return true;
    case OP_SPEC_CONSTANT_OP: {
        uint32_t n = length_of(w) - 4;
        uint32_t values[3] = {0, 0, 0};
        if (n > 3)
            return FAIL(m, "a size depends on SpecConstantOp %" PRIu32, w[3]);
        for (uint32_t i = 0; i < n; i++) {
            if (!evaluate(m, w[4 + i], depth + 1, &values[i]))
                return false;
        }
        return evaluate_op(m, w[3], values, out);
    }
    default: return FAIL(m, "id %" PRIu32 " is no constant", id);
    }
}

struct extent {
    uint64_t bytes;
    uint64_t align; /* of its largest scalar */
};

static bool measure(struct module *m, uint32_t type, bool explicit, unsigned depth,
                    struct extent *out);

/* Byte offset of a member as decorated. */
static bool member_offset(struct module *m, uint32_t type, uint32_t member, uint32_t *out)
{
    for (size_t at = HEADER_WORDS; at < m->n_words; at += m->words[at] >> 16) {
        const uint32_t *w = m->words + at;
        if (op_of(w) == OP_MEMBER_DECORATE && length_of(w) > 4 && w[1] == type && w[2] == member &&
            w[3] == DECORATION_OFFSET) {
            *out = w[4];
            return true;
        }
    }
    return FAIL(m, "member %" PRIu32 " of the push constants has no offset", member);
}

static bool measure_struct(struct module *m, const uint32_t *w, bool explicit, unsigned depth,
                           struct extent *out)
{
    *out = (struct extent){0, 1};
    for (uint32_t i = 2; i < length_of(w); i++) {
        struct extent member;
        if (!measure(m, w[i], explicit, depth + 1, &member))
            return false;
        uint64_t offset = align_up(out->bytes, member.align);
        if (explicit) {
            uint32_t decorated;
            if (!member_offset(m, w[1], i - 2, &decorated))
                return false;
            offset = decorated;
        }
        if (offset + member.bytes > out->bytes)
            out->bytes = offset + member.bytes;
        if (member.align > out->align)
            out->align = member.align;
    }
    return true;
}

static bool measure_array(struct module *m, const uint32_t *w, bool explicit, unsigned depth,
                          struct extent *out)
{
    uint32_t count;
    if (!measure(m, w[2], explicit, depth + 1, out) || !evaluate(m, w[3], 0, &count))
        return false;
    uint64_t stride = explicit ? m->stride[w[1]] : align_up(out->bytes, out->align);
    out->bytes = count * stride;
    if (explicit && stride == 0)
        return FAIL(m, "an array of the push constants has no stride");
    return true;
}

/* Size and alignment of a type: as decorated (`explicit`), or packed as C would. */
static bool measure(struct module *m, uint32_t type, bool explicit, unsigned depth,
                    struct extent *out)
{
    const uint32_t *w = definition(m, type);
    if (!w || depth > MAX_DEPTH || m->budget-- == 0)
        return m->budget = 1, FAIL(m, "type %" PRIu32 " is unknown or nested too deep", type);
    bool ok = true;
    switch (op_of(w)) {
    case OP_TYPE_BOOL: *out = (struct extent){4, 4}; break;
    case OP_TYPE_INT:
    case OP_TYPE_FLOAT:
        if (w[2] != 8 && w[2] != 16 && w[2] != 32 && w[2] != 64)
            return FAIL(m, "a number of %" PRIu32 " bits", w[2]);
        *out = (struct extent){w[2] / 8, w[2] / 8};
        break;
    case OP_TYPE_VECTOR:
        ok = measure(m, w[2], explicit, depth + 1, out);
        if (ok)
            out->bytes *= w[3];
        break;
    case OP_TYPE_ARRAY: ok = measure_array(m, w, explicit, depth, out); break;
    case OP_TYPE_STRUCT: ok = measure_struct(m, w, explicit, depth, out); break;
    case OP_TYPE_POINTER:
        if (w[2] != STORAGE_PHYSICAL)
            return FAIL(m, "a pointer of storage class %" PRIu32 " in an interface", w[2]);
        *out = (struct extent){8, 8};
        break;
    default: return FAIL(m, "a size of type instruction %" PRIu32 " is not known", op_of(w));
    }
    if (ok && out->bytes > MAX_BYTES)
        return FAIL(m, "a type of more than %d bytes", MAX_BYTES);
    return ok;
}

static bool measure_variables(struct module *m, struct spirv_info *out)
{
    uint64_t shared = 0;
    for (size_t at = HEADER_WORDS; at < m->n_words; at += m->words[at] >> 16) {
        const uint32_t *w = m->words + at;
        if (op_of(w) != OP_VARIABLE || (w[3] != STORAGE_WORKGROUP && w[3] != STORAGE_PUSH_CONSTANT))
            continue;
        const uint32_t *pointer = definition(m, w[1]);
        if (!pointer || op_of(pointer) != OP_TYPE_POINTER)
            return FAIL(m, "variable %" PRIu32 " is of no pointer type", w[2]);
        struct extent extent;
        if (!measure(m, pointer[3], w[3] == STORAGE_PUSH_CONSTANT, 0, &extent))
            return false;
        uint64_t padded = align_up(extent.bytes, extent.align);
        if (w[3] == STORAGE_WORKGROUP)
            shared = align_up(shared, 16) + padded;
        else
            out->push_bytes = (uint32_t)padded;
        if (shared > MAX_BYTES)
            return FAIL(m, "more than %d bytes of workgroup memory", MAX_BYTES);
    }
    out->shared_bytes = (uint32_t)shared;
    return true;
}

static bool read_local_size(struct module *m, struct spirv_info *out)
{
    const uint32_t *mode = m->size_mode ? m->words + m->size_mode : NULL;
    const uint32_t *composite = m->size_id ? definition(m, m->size_id) : NULL;
    if (composite && length_of(composite) < 6)
        composite = NULL;
    if (!mode && !composite)
        return FAIL(m, "no workgroup size");
    for (unsigned i = 0; i < 3; i++) {
        uint32_t id = 0;
        uint32_t value = 0;
        if (composite)
            id = composite[3 + i];
        else if (op_of(mode) == OP_EXECUTION_MODE_ID)
            id = mode[3 + i];
        else
            value = mode[3 + i];
        if (id && !evaluate(m, id, 0, &value))
            return false;
        if (value == 0 || value > UINT16_MAX)
            return FAIL(m, "a workgroup size of %" PRIu32, value);
        out->local_size[i] = (uint16_t)value;
        out->local_size_spec[i] = id && m->spec_id[id] ? (int32_t)(m->spec_id[id] - 1) : -1;
    }
    return true;
}

static bool spec_type(struct module *m, const uint32_t *w, enum shader_spec_type *out)
{
    const uint32_t *type = definition(m, w[1]);
    uint32_t op = type ? op_of(type) : 0;
    if (op == OP_TYPE_BOOL)
        *out = SHADER_SPEC_BOOL;
    else if (op == OP_TYPE_INT && type[2] == 32)
        *out = type[3] ? SHADER_SPEC_INT : SHADER_SPEC_UINT;
    else if (op == OP_TYPE_FLOAT && type[2] == 32)
        *out = SHADER_SPEC_FLOAT;
    else
        return FAIL(m, "specialization constant %" PRIu32 " is not 32 bits wide",
                    m->spec_id[w[2]] - 1);
    return true;
}

static const char *spec_name(const struct module *m, uint32_t id, const struct spirv_info *info)
{
    static const char *const axes[] = {"local_size_x", "local_size_y", "local_size_z"};
    if (m->name[id])
        return (const char *)(m->words + m->name[id] + 2);
    for (unsigned i = 0; i < 3; i++) {
        if (info->local_size_spec[i] == (int32_t)(m->spec_id[id] - 1))
            return axes[i];
    }
    return "";
}

/* One id may be carried twice: by the workgroup's size and by a constant with a name, which wins.
 */
static bool add_spec(struct module *m, const uint32_t *w, struct spirv_info *out)
{
    struct shader_spec spec = {.id = m->spec_id[w[2]] - 1};
    if (!spec_type(m, w, &spec.type) || !evaluate(m, w[2], 0, &spec.value))
        return false;
    uint32_t at = out->n_specs;
    while (at > 0 && out->specs[at - 1].id > spec.id)
        at--;
    bool known = at > 0 && out->specs[at - 1].id == spec.id;
    if (known && out->specs[at - 1].type != spec.type)
        return FAIL(m, "two specialization constants of different types with id %" PRIu32, spec.id);
    if (known && !m->name[w[2]])
        return true;
    spec.name = mem_strdup(spec_name(m, w[2], out));
    if (!spec.name)
        return FAIL(m, "out of memory");
    if (known) {
        mem_free((void *)(uintptr_t)out->specs[at - 1].name);
        out->specs[at - 1] = spec;
        return true;
    }
    memmove(out->specs + at + 1, out->specs + at, (out->n_specs - at) * sizeof spec);
    out->specs[at] = spec;
    out->n_specs++;
    return true;
}

static bool is_spec(const struct module *m, const uint32_t *w)
{
    uint32_t op = op_of(w);
    return op >= OP_SPEC_CONSTANT_TRUE && op <= OP_SPEC_CONSTANT && m->spec_id[w[2]];
}

static bool read_specs(struct module *m, struct spirv_info *out)
{
    size_t count = 0;
    for (size_t at = HEADER_WORDS; at < m->n_words; at += m->words[at] >> 16)
        count += is_spec(m, m->words + at);
    if (count == 0)
        return true;
    if (count > 256)
        return FAIL(m, "%zu specialization constants", count);
    out->specs = mem_calloc(count, sizeof *out->specs);
    if (!out->specs)
        return FAIL(m, "out of memory");
    for (size_t at = HEADER_WORDS; at < m->n_words; at += m->words[at] >> 16) {
        if (is_spec(m, m->words + at) && !add_spec(m, m->words + at, out))
            return false;
    }
    return true;
}

/* Capabilities that make results depend on subgroups: GroupNonUniform and its kin, subgroup vote
 * and ballot, cooperative matrices, rotate. */
static bool subgroup_capability(uint32_t c)
{
    return (c >= 61 && c <= 68) || c == 4423 || c == 4431 || c == 6022 || c == 6026;
}

static bool read_capabilities(struct module *m, struct spirv_info *out)
{
    size_t count = 0;
    for (size_t at = HEADER_WORDS; at < m->n_words; at += m->words[at] >> 16)
        count += op_of(m->words + at) == OP_CAPABILITY;
    if (count > 256)
        return FAIL(m, "%zu capabilities", count);
    out->capabilities = count ? mem_calloc(count, sizeof *out->capabilities) : NULL;
    if (count && !out->capabilities)
        return FAIL(m, "out of memory");
    for (size_t at = HEADER_WORDS; at < m->n_words; at += m->words[at] >> 16) {
        if (op_of(m->words + at) != OP_CAPABILITY)
            continue;
        uint32_t capability = m->words[at + 1];
        uint32_t to = out->n_capabilities;
        while (to > 0 && out->capabilities[to - 1] > capability)
            to--;
        if (to > 0 && out->capabilities[to - 1] == capability)
            continue;
        memmove(out->capabilities + to + 1, out->capabilities + to,
                (out->n_capabilities - to) * sizeof capability);
        out->capabilities[to] = capability;
        out->n_capabilities++;
        out->uses_subgroups |= subgroup_capability(capability);
        out->uses_addresses |= capability == CAPABILITY_ADDRESSES;
    }
    return true;
}

/* The dimensions whose number of workgroups an instruction reads; what is not understood is all. */
static uint32_t counts_read(struct module *m, const uint32_t *w)
{
    enum { ALL = 7 };
    uint32_t op = op_of(w), axis;
    bool part = op == OP_ACCESS_CHAIN || op == OP_IN_BOUNDS_ACCESS_CHAIN;
    if ((!part && op != OP_LOAD) || w[3] != m->counts_id)
        return 0;
    return part && length_of(w) > 4 && evaluate(m, w[4], 0, &axis) && axis < 3 ? 1u << axis : ALL;
}

static void read_counts(struct module *m, struct spirv_info *out)
{
    for (size_t at = HEADER_WORDS; at < m->n_words && m->counts_id; at += m->words[at] >> 16)
        out->reads_counts |= (uint8_t)counts_read(m, m->words + at);
}

static bool open_module(struct module *m)
{
    if (m->n_words < HEADER_WORDS || m->n_words > UINT32_MAX || m->words[0] != MAGIC)
        return FAIL(m, "not a SPIR-V module of this byte order");
    m->bound = m->words[3];
    if (m->bound == 0 || m->bound > MAX_BOUND || m->bound > 8 * (uint64_t)m->n_words + 64)
        return FAIL(m, "an id bound of %" PRIu32, m->bound);
    uint32_t *tables = mem_calloc(m->bound, 4 * sizeof *tables);
    if (!tables)
        return FAIL(m, "out of memory");
    m->defined = tables;
    m->spec_id = tables + m->bound;
    m->stride = tables + 2 * (size_t)m->bound;
    m->name = tables + 3 * (size_t)m->bound;
    return true;
}

bool spirv_parse(const uint32_t *words, size_t n_words, struct spirv_info *out, char *error,
                 size_t error_size)
{
    struct module m = {.words = words,
                       .n_words = n_words,
                       .budget = BUDGET,
                       .error = error,
                       .error_size = error_size};
    *out = (struct spirv_info){0};
    bool ok = open_module(&m) && read_instructions(&m) && measure_variables(&m, out) &&
              read_local_size(&m, out) && read_specs(&m, out) && read_capabilities(&m, out);
    if (ok)
        read_counts(&m, out);
    out->uses_addresses = out->uses_addresses && !m.has_array;
    mem_free(m.defined);
    if (!ok)
        spirv_info_clear(out);
    return ok;
}

void spirv_info_clear(struct spirv_info *info)
{
    for (uint32_t i = 0; i < info->n_specs; i++)
        mem_free((void *)(uintptr_t)info->specs[i].name);
    mem_free(info->specs);
    mem_free(info->capabilities);
    *info = (struct spirv_info){0};
}

static bool is_debug(uint32_t op)
{
    /* SourceContinued, Source, SourceExtension, Name, MemberName, String, Line, NoLine,
     * ModuleProcessed */
    return (op >= 2 && op <= 8) || op == 317 || op == 330;
}

size_t spirv_strip(const uint32_t *words, size_t n_words, uint32_t *out)
{
    memcpy(out, words, HEADER_WORDS * sizeof *out);
    size_t to = HEADER_WORDS;
    for (size_t at = HEADER_WORDS; at < n_words; at += words[at] >> 16) {
        uint32_t length = words[at] >> 16;
        if (is_debug(words[at] & 0xffff))
            continue;
        memcpy(out + to, words + at, length * sizeof *out);
        to += length;
    }
    return to;
}
