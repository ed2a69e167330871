/* How many copies of a matrix bench/opbench reads in turn, so that none is in a cache. */
#include "harness/test.h"

#include "trial.h"

static const struct vk_caps card = {.kind = VK_KIND_DISCRETE, .device_bytes = 16ull << 30};

static int64_t bytes_of(const struct vk_caps *caps, const struct dtype *type, int64_t n, int64_t k)
{
    const struct trial_shape shape = {n, k, 1};
    return trial_copies(caps, type, &shape) * n * (int64_t)dtype_row_bytes(type, (uint64_t)k);
}

/* By bytes, whatever a weight has of them. */
TEST(more_than_caches_hold)
{
    size_t i;
    for (i = 0; dtype_at(i); i++)
        if (dtype_at(i)->decode && dtype_at(i)->shader) {
            int64_t bytes = bytes_of(&card, dtype_at(i), 4096, 4096);
            if (bytes < 256 << 20 || bytes > 512 << 20)
                fail_msg("%s: %lld bytes", dtype_at(i)->name, (long long)bytes);
        }
    assert_true(i > 20);
}

/* A matrix that is large enough is there once; where there is little room, there is less of all. */
TEST(room_of_cards)
{
    const struct vk_caps small = {.kind = VK_KIND_INTEGRATED, .device_bytes = 1 << 30};
    const struct trial_shape large = {32768, 16384, 1}, many = {4096, 4096, 512};
    assert_int_equal(trial_copies(&card, &dtype_q8_0, &large), 1);
    assert_int_equal(trial_copies(&card, &dtype_q8_0, &many), 1);
    assert_in_range(bytes_of(&small, &dtype_q4_0, 4096, 4096), 128 << 20, 160 << 20);
}
