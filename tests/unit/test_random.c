/* Blocks that no encoder makes: every value of every byte, numbers of the size of weights. */
#include "harness/test.h"

#include <math.h>
#include <stdlib.h>

#include "quant/random.h"

enum { BYTES_MAX = 256, ELEMS_MAX = 256 };

static bool is_scale(const struct dtype *type, uint32_t place)
{
    return place >= type->scale_at && place < type->scale_at + type->scale_bytes;
}

/* From any block of the series on. */
TEST(each_byte_has_each_value)
{
    for (size_t k = 0; dtype_at(k); k++) {
        const struct dtype *type = dtype_at(k);
        static int seen[BYTES_MAX][256];
        uint8_t block[BYTES_MAX];
        struct rng rng = rng_seed(1);
        if (!dtype_is_block(type))
            continue;
        assert_true(type->block_bytes <= BYTES_MAX && type->scale_bytes > 0);
        assert_true(type->scale_at + type->scale_bytes <= type->block_bytes);
        memset(seen, 0, sizeof seen);
        for (uint64_t i = 0; i < RANDOM_SERIES; i++) {
            dtype_random_block(type, &rng, 77 + i, block);
            for (uint32_t place = 0; place < type->block_bytes; place++)
                seen[place][block[place]]++;
        }
        for (uint32_t place = 0; place < type->block_bytes; place++)
            for (int value = 0; value < 256 && !is_scale(type, place); value++)
                if (seen[place][value] != 1)
                    fail_msg("%s: byte %u is %d times %d", type->name, place, seen[place][value],
                             value);
    }
}

TEST(numbers_are_of_size_1)
{
    for (size_t k = 0; dtype_at(k); k++) {
        const struct dtype *type = dtype_at(k);
        float values[ELEMS_MAX];
        uint8_t block[BYTES_MAX];
        struct rng rng = rng_seed(2);
        if (!dtype_is_block(type))
            continue;
        for (uint64_t i = 0; i < RANDOM_SERIES; i++) {
            float largest = 0;
            dtype_random_block(type, &rng, i, block);
            type->decode(block, values, type->block_elems);
            for (uint32_t j = 0; j < type->block_elems; j++)
                largest = fmaxf(largest, fabsf(values[j]));
            if (type->scale_bytes == 1 && i % 8 == 0) {
                assert_int_equal(block[type->scale_at], i / 8);
                continue;
            }
            if (!(largest > 0.25f && largest < 4))
                fail_msg("%s: the largest number of block %d is %g", type->name, (int)i, largest);
        }
    }
}

/* Encoded ones and others, each at least once, with no order in them. */
TEST(a_store_of_both_kinds)
{
    enum { N_BLOCKS = 128 };
    static uint8_t blocks[N_BLOCKS * 34];
    struct rng rng = rng_seed(3);
    int n_other = 0, n_changes = 0, values[256] = {0};
    bool before = false;
    assert_true(dtype_random(&dtype_q8_0, &rng, blocks, N_BLOCKS * 32));
    for (int i = 0; i < N_BLOCKS; i++) {
        int largest = 0;
        for (int j = 2; j < 34; j++) {
            int q = (int8_t)blocks[i * 34 + j];
            largest = abs(q) > largest ? abs(q) : largest;
            values[(uint8_t)q]++;
        }
        bool other = largest != 127; /* the largest number that is encoded is 127 or −127 */
        n_other += other;
        n_changes += i > 0 && other != before;
        before = other;
    }
    assert_in_range(n_other, N_BLOCKS / 4, N_BLOCKS * 3 / 4);
    assert_in_range(n_changes, N_BLOCKS / 4, N_BLOCKS * 3 / 4);
    for (int v = 0; v < 256; v++)
        assert_true(values[v] > 0);
}
