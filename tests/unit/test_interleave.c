#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "cpu/cpu_op.h"
#include "cpu/interleave.h"
#include "cpu/matmul_kernels.h"
#include "harness/test.h"

/* Where interleaved bytes stand, and which matrices are copied. That products of them are right is
 * op.matmul.groups_of_rows. */

enum { ROWS = 32, BLOCKS = 3 };

static void fill(struct rng *rng, uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)rng_u32(rng);
}

/* Q4_1 has two half floats and four words: all rows' d, all rows' m, then word by word. */
TEST(halves_then_words)
{
    enum { BYTES = 20, GROUP = GROUP_ROWS * BLOCKS * BYTES };
    static uint8_t rows[ROWS][BLOCKS][BYTES], out[2 * GROUP];
    struct rng rng = rng_seed(3);
    fill(&rng, &rows[0][0][0], sizeof rows);
    assert_true(interleave_rows(&dtype_q4_1, BLOCKS * 32, ROWS / GROUP_ROWS, rows, out));
    for (int row = 0; row < ROWS; row++)
        for (int b = 0; b < BLOCKS; b++) {
            const uint8_t *block = out + row / GROUP_ROWS * GROUP + b * GROUP_ROWS * BYTES;
            int lane = row % GROUP_ROWS;
            assert_memory_equal(block + lane * 2, rows[row][b], 2);
            assert_memory_equal(block + 32 + lane * 2, rows[row][b] + 2, 2);
            for (int w = 0; w < 4; w++)
                assert_memory_equal(block + 64 + w * 64 + lane * 4, rows[row][b] + 4 + w * 4, 4);
        }
    assert_false(interleave_rows(&dtype_f16, 32, 1, rows, out));
}

/* No byte of a block is lost or doubled, whatever the order. */
TEST(every_byte_once)
{
    static const struct dtype *const types[] = {&dtype_q4_0, &dtype_q4_1, &dtype_q8_0,
                                                &dtype_q4_k, &dtype_q5_k, &dtype_q6_k};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        size_t bytes = GROUP_ROWS * (size_t)types[t]->block_bytes;
        uint8_t *rows = mem_calloc(2, bytes), *out = rows + bytes;
        assert_non_null(rows);
        for (size_t at = 0; at < bytes; at++) {
            int n = 0;
            rows[at] = 1;
            assert_true(interleave_rows(types[t], types[t]->block_elems, 1, rows, out));
            rows[at] = 0;
            for (size_t i = 0; i < bytes; i++)
                n += out[i];
            assert_int_equal(n, 1);
        }
        mem_free(rows);
    }
}

/* --- matrices of a model ---------------------------------------------------------------------- */

static uint64_t n_let_go;

static void let_go(const void *data, uint64_t size_bytes)
{
    (void)data;
    n_let_go += size_bytes;
}

static struct interleaved *create(uint64_t most_bytes)
{
    struct interleaved *own;
    struct interleaved_options options = {.most_bytes = most_bytes, .let_go = let_go};
    n_let_go = 0;
    assert_int_equal(interleaved_create(&own, 4, &options, test_log()), HTH_OK);
    return own;
}

static struct weight weight_of(int index, const struct dtype *type, int64_t ne1, int64_t ne2)
{
    static uint8_t bytes[1 << 16];
    uint64_t size = (uint64_t)(ne1 * ne2) * dtype_row_bytes(type, 256);
    assert_true(size <= sizeof bytes);
    return (struct weight){.name = "w",
                           .dtype = type,
                           .ne = {256, ne1, ne2, 1},
                           .data = bytes,
                           .size_bytes = size,
                           .index = index};
}

static void skip_without_kernels(void)
{
    if (!cpu_level_wanted(CPU_AVX2) && !cpu_level_wanted(CPU_NEON))
        test_skip("no level here has kernels for interleaved weights");
}

TEST(what_is_copied)
{
    skip_without_kernels();
    struct interleaved *own = create(1 << 20);
    struct weight fits = weight_of(0, &dtype_q8_0, 32, 1), odd = weight_of(1, &dtype_q8_0, 33, 1),
                  floats = weight_of(2, &dtype_f16, 32, 1);
    const void *const *parts = interleaved_get(own, &fits, NULL);
    assert_non_null(parts);
    assert_non_null(parts[0]);
    assert_int_equal(n_let_go, fits.size_bytes);
    assert_int_equal(interleaved_bytes(own), fits.size_bytes);
    assert_ptr_equal(interleaved_get(own, &fits, NULL)[0], parts[0]);
    assert_int_equal(n_let_go, fits.size_bytes);
    assert_null(interleaved_get(own, &odd, NULL));
    assert_null(interleaved_get(own, &floats, NULL));
    interleaved_destroy(own);
}

/* What is too much stays; what is smaller and comes later is still copied. */
TEST(no_more_than_allowed)
{
    skip_without_kernels();
    struct weight small = weight_of(0, &dtype_q8_0, 16, 1),
                  large = weight_of(1, &dtype_q8_0, 64, 1);
    struct interleaved *own = create(large.size_bytes);
    assert_non_null(interleaved_get(own, &small, NULL)[0]);
    assert_null(interleaved_get(own, &large, NULL)[0]);
    struct weight other = weight_of(2, &dtype_q8_0, 32, 1);
    assert_non_null(interleaved_get(own, &other, NULL)[0]);
    assert_int_equal(interleaved_bytes(own), small.size_bytes + other.size_bytes);
    interleaved_destroy(own);
}

/* Experts that another device has are not copied; if they come here later, they are. */
TEST(experts_that_are_here)
{
    skip_without_kernels();
    struct weight weight = weight_of(0, &dtype_q4_k, 16, 3);
    const char *data = weight.data;
    const void *experts[3] = {data, NULL, data + 2 * weight.size_bytes / 3};
    weight.experts = experts;
    struct interleaved *own = create(1 << 20);
    const void *const *parts = interleaved_get(own, &weight, NULL);
    assert_non_null(parts[0]);
    assert_null(parts[1]);
    assert_non_null(parts[2]);
    experts[1] = data + weight.size_bytes / 3;
    assert_non_null(interleaved_get(own, &weight, NULL)[1]);
    assert_int_equal(n_let_go, weight.size_bytes);
    interleaved_destroy(own);
}
