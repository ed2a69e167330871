#include "harness/test.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "spirv_parse.h"

/* A module is written word by word: op, then operands. */
struct writer {
    uint32_t words[400];
    size_t n;
};

static void emit(struct writer *w, uint32_t op, size_t n, const uint32_t *operands)
{
    assert_true(w->n + n + 1 <= ARRAY_LEN(w->words));
    w->words[w->n++] = (uint32_t)(n + 1) << 16 | op;
    for (size_t i = 0; i < n; i++)
        w->words[w->n++] = operands[i];
}

#define EMIT(w, op, ...)                                                                           \
    emit((w), (op), sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),                          \
         (const uint32_t[]){__VA_ARGS__})

static void emit_name(struct writer *w, uint32_t id, const char *name)
{
    uint32_t operands[8] = {id};
    size_t bytes = strlen(name) + 1;
    assert_true(bytes <= 28);
    memcpy(operands + 1, name, bytes);
    emit(w, 5, 1 + (bytes + 3) / 4, operands);
}

enum id {
    VOID = 1,
    MAIN,
    UINT,
    FLOAT,
    BOOL,
    TILE,
    TWO,
    TILE2,
    SCALE,
    SWITCH,
    SIZE_X,
    ONE,
    SIZE,
    UINT3,
    ARRAY,
    SHARED_POINTER,
    SHARED,
    BLOCK,
    BLOCK_POINTER,
    PUSH,
    ULONG,
    COUNTS_POINTER,
    COUNTS,
    COUNT,
    BOUND,
};

static void begin(struct writer *w)
{
    *w = (struct writer){.words = {0x07230203, 0x00010500, 0, BOUND, 0}, .n = 5};
}

/* A shader with three named specialization constants and one of its workgroup's width, an array of
 * TILE × 2 floats in workgroup memory, and push constants of a uint, a uint64 and a uint. */
static void write_sample(struct writer *w)
{
    begin(w);
    EMIT(w, 17, 61);                     /* capability GroupNonUniform */
    EMIT(w, 17, 1);                      /* capability Shader */
    EMIT(w, 17, 61);                     /* said twice */
    EMIT(w, 14, 0, 1);                   /* memory model */
    EMIT(w, 15, 5, MAIN, 0x6e69616d, 0); /* entry point, compute, "main" */
    EMIT(w, 16, MAIN, 17, 1, 1, 1);      /* LocalSize */
    emit_name(w, TILE, "TILE");
    emit_name(w, SCALE, "SCALE");
    emit_name(w, SWITCH, "SWITCH");
    EMIT(w, 71, SCALE, 1, 7); /* SpecId 7 */
    EMIT(w, 71, TILE, 1, 3);
    EMIT(w, 71, SWITCH, 1, 4);
    EMIT(w, 71, SIZE_X, 1, 0);
    EMIT(w, 71, SIZE, 11, 25);    /* BuiltIn WorkgroupSize */
    EMIT(w, 72, BLOCK, 0, 35, 0); /* Offset */
    EMIT(w, 72, BLOCK, 1, 35, 8);
    EMIT(w, 72, BLOCK, 2, 35, 16);
    EMIT(w, 21, UINT, 32, 0);
    EMIT(w, 21, ULONG, 64, 0);
    EMIT(w, 22, FLOAT, 32);
    EMIT(w, 20, BOOL);
    EMIT(w, 23, UINT3, UINT, 3);
    EMIT(w, 50, UINT, TILE, 32);
    EMIT(w, 43, UINT, TWO, 2);
    EMIT(w, 52, UINT, TILE2, 132, TILE, TWO); /* TILE × 2 */
    EMIT(w, 50, FLOAT, SCALE, 0x3fc00000);
    EMIT(w, 48, BOOL, SWITCH);
    EMIT(w, 50, UINT, SIZE_X, 64);
    EMIT(w, 43, UINT, ONE, 1);
    EMIT(w, 51, UINT3, SIZE, SIZE_X, TWO, ONE);
    EMIT(w, 28, ARRAY, FLOAT, TILE2);
    EMIT(w, 32, SHARED_POINTER, 4, ARRAY);
    EMIT(w, 59, SHARED_POINTER, SHARED, 4);
    EMIT(w, 30, BLOCK, UINT, ULONG, UINT);
    EMIT(w, 32, BLOCK_POINTER, 9, BLOCK);
    EMIT(w, 59, BLOCK_POINTER, PUSH, 9);
}

static char reason[200];

static bool parse(const struct writer *w, struct spirv_info *info)
{
    reason[0] = 0;
    return spirv_parse(w->words, w->n, info, reason, sizeof reason);
}

static void assert_refused(const struct writer *w, const char *why)
{
    struct spirv_info info;
    assert_false(parse(w, &info));
    assert_null(info.specs);
    if (!strstr(reason, why))
        fail_msg("refused with \"%s\" where \"%s\" was expected", reason, why);
}

TEST(reads_interface)
{
    struct writer w;
    struct spirv_info info;
    write_sample(&w);
    if (!parse(&w, &info))
        fail_msg("refused: %s", reason);
    assert_int_equal(info.push_bytes, 24); /* 20, padded to its uint64 */
    assert_int_equal(info.shared_bytes, 256);
    assert_int_equal(info.local_size[0], 64);
    assert_int_equal(info.local_size[1], 2);
    assert_int_equal(info.local_size[2], 1);
    assert_int_equal(info.local_size_spec[0], 0);
    assert_int_equal(info.local_size_spec[1], -1);
    assert_int_equal(info.n_capabilities, 2);
    assert_int_equal(info.capabilities[0], 1);
    assert_int_equal(info.capabilities[1], 61);
    assert_true(info.uses_subgroups);
    assert_false(info.uses_addresses);
    spirv_info_clear(&info);
}

/* What reaches some memory by address and the rest through the array of buffers needs the array. */
TEST(addresses_beside_buffers_are_not_all)
{
    struct writer w;
    struct spirv_info info;
    for (int with_array = 0; with_array <= 1; with_array++) {
        write_sample(&w);
        EMIT(&w, 17, 5347);                         /* PhysicalStorageBufferAddresses */
        EMIT(&w, 71, PUSH, 33, with_array ? 0 : 1); /* Binding */
        if (!parse(&w, &info))
            fail_msg("refused: %s", reason);
        assert_int_equal(info.uses_addresses, !with_array);
        spirv_info_clear(&info);
    }
}

/* Ends a sample that reads how many workgroups there are. */
static uint8_t counts_read(uint32_t op, uint32_t index)
{
    struct writer w;
    struct spirv_info info;
    write_sample(&w);
    EMIT(&w, 71, COUNTS, 11, 24); /* BuiltIn NumWorkgroups */
    EMIT(&w, 32, COUNTS_POINTER, 1, UINT3);
    EMIT(&w, 59, COUNTS_POINTER, COUNTS, 1);
    if (op == 61)
        EMIT(&w, 61, UINT3, COUNT, COUNTS); /* a load of all three */
    else
        EMIT(&w, op, UINT, COUNT, COUNTS, index);
    if (!parse(&w, &info))
        fail_msg("refused: %s", reason);
    uint8_t read = info.reads_counts;
    spirv_info_clear(&info);
    return read;
}

TEST(reads_what_counts_are_looked_at)
{
    assert_int_equal(counts_read(65, ONE), 1 << 1); /* access chains */
    assert_int_equal(counts_read(66, TWO), 1 << 2);
    assert_int_equal(counts_read(65, COUNT), 7); /* who knows which */
    assert_int_equal(counts_read(65, SIZE_X), 7);
    assert_int_equal(counts_read(61, 0), 7);
    struct writer w;
    struct spirv_info info;
    write_sample(&w);
    assert_true(parse(&w, &info));
    assert_int_equal(info.reads_counts, 0);
    spirv_info_clear(&info);
}

TEST(reads_specialization_constants)
{
    static const struct shader_spec expected[] = {
        {"local_size_x", 0, SHADER_SPEC_UINT, 64},
        {"TILE", 3, SHADER_SPEC_UINT, 32},
        {"SWITCH", 4, SHADER_SPEC_BOOL, 1},
        {"SCALE", 7, SHADER_SPEC_FLOAT, 0x3fc00000},
    };
    struct writer w;
    struct spirv_info info;
    write_sample(&w);
    assert_true(parse(&w, &info));
    assert_int_equal(info.n_specs, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_string_equal(info.specs[i].name, expected[i].name);
        assert_int_equal(info.specs[i].id, expected[i].id);
        assert_int_equal(info.specs[i].type, expected[i].type);
        assert_int_equal(info.specs[i].value, expected[i].value);
    }
    spirv_info_clear(&info);
}

TEST(joins_constants_of_one_id)
{
    struct writer w;
    struct spirv_info info;
    write_sample(&w);
    emit_name(&w, PUSH, "not a constant");
    emit_name(&w, ONE, "GROUP");
    EMIT(&w, 71, ONE, 1, 0); /* SpecId of the workgroup's width */
    EMIT(&w, 50, UINT, ONE, 32);
    assert_true(parse(&w, &info));
    assert_int_equal(info.n_specs, 4);
    assert_string_equal(info.specs[0].name, "GROUP");
    assert_int_equal(info.specs[0].value, 32);
    spirv_info_clear(&info);
    EMIT(&w, 71, VOID, 1, 7); /* a uint with the id of SCALE, a float */
    EMIT(&w, 50, UINT, VOID, 1);
    assert_refused(&w, "different types");
}

TEST(strips_names_only)
{
    struct writer w, stripped = {.n = 0};
    struct spirv_info info;
    write_sample(&w);
    stripped.n = spirv_strip(w.words, w.n, stripped.words);
    assert_int_equal(w.n - stripped.n, 4 + 4 + 4); /* words of three OpName */
    assert_true(parse(&stripped, &info));
    assert_int_equal(info.n_specs, 4);
    assert_string_equal(info.specs[1].name, "");
    assert_int_equal(info.push_bytes, 24);
    spirv_info_clear(&info);
}

TEST(refuses_malformed)
{
    struct writer w;
    write_sample(&w);
    w.words[0] = 0x03022307;
    assert_refused(&w, "byte order");
    write_sample(&w);
    w.words[3] = 0xffffffff;
    assert_refused(&w, "bound");
    write_sample(&w);
    w.words[5] = 17; /* a length of 0 */
    assert_refused(&w, "wrong length");
    write_sample(&w);
    EMIT(&w, 15, 5, MAIN, 0x6e69616d, 0);
    assert_refused(&w, "2 compute entry points");
    write_sample(&w);
    EMIT(&w, 71, ONE, 1, 3); /* makes nothing: a plain constant may carry the decoration */
    EMIT(&w, 71, TWO, 1, 0x80000000);
    assert_refused(&w, "out of range");
}

TEST(refuses_what_it_cannot_measure)
{
    struct writer w;
    begin(&w);
    EMIT(&w, 15, 5, MAIN, 0x6e69616d, 0);
    EMIT(&w, 16, MAIN, 17, 8, 8, 1);
    EMIT(&w, 30, BLOCK, BLOCK, BLOCK, BLOCK); /* a struct of itself, three times */
    EMIT(&w, 32, SHARED_POINTER, 4, BLOCK);
    EMIT(&w, 59, SHARED_POINTER, SHARED, 4);
    assert_refused(&w, "nested too deep");

    begin(&w);
    EMIT(&w, 15, 5, MAIN, 0x6e69616d, 0);
    EMIT(&w, 16, MAIN, 17, 8, 8, 1);
    EMIT(&w, 71, TILE, 1, 0);
    EMIT(&w, 21, ULONG, 64, 0);
    EMIT(&w, 50, ULONG, TILE, 1, 0);
    assert_refused(&w, "not 32 bits wide");

    begin(&w);
    EMIT(&w, 15, 5, MAIN, 0x6e69616d, 0);
    assert_refused(&w, "no workgroup size");
}

TEST(survives_truncation)
{
    struct writer w;
    write_sample(&w);
    for (size_t n = 0; n < w.n; n++) { /* copies of exact size, so that ASan sees an overrun */
        uint32_t *copy = mem_alloc(n ? n * sizeof *copy : 1);
        struct spirv_info info;
        memcpy(copy, w.words, n * sizeof *copy);
        if (spirv_parse(copy, n, &info, reason, sizeof reason))
            spirv_info_clear(&info);
        mem_free(copy);
    }
}

TEST(survives_mutation)
{
    struct rng rng = rng_seed(5);

    for (unsigned round = 0; round < 20000; round++) {
        struct writer w;
        struct spirv_info info;
        write_sample(&w);
        for (unsigned i = 0; i < 3; i++) {
            uint32_t at = rng_below(&rng, (uint32_t)w.n);
            w.words[at] ^= 1u << rng_below(&rng, 32);
        }
        if (parse(&w, &info))
            spirv_info_clear(&info);
        else
            assert_true(reason[0] != 0);
    }
}

static enum hth_status parse_sample(void *arg)
{
    struct writer w;
    struct spirv_info info;
    (void)arg;
    write_sample(&w);
    if (!parse(&w, &info))
        return strstr(reason, "out of memory") ? HTH_ERROR_MEMORY : HTH_ERROR_FORMAT;
    spirv_info_clear(&info);
    return HTH_OK;
}

TEST(survives_no_memory)
{
    test_each_allocation_fails(parse_sample, NULL);
}
