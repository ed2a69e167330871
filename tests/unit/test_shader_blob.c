#include "harness/test.h"

#include <stdio.h>

#include "vk/shader_blob.h"

enum { BUDGET_BYTES = 8 << 20, MAX_PUSH_BYTES = 128 };

TEST(table_is_sorted_and_found)
{
    for (uint32_t i = 0; i < n_shader_blobs; i++) {
        const struct shader_blob *blob = &shader_blobs[i];
        assert_ptr_equal(shader_blob_find(blob->name), blob);
        if (i > 0)
            assert_true(strcmp(shader_blobs[i - 1].name, blob->name) < 0);
        assert_int_equal(blob->words[0], 0x07230203);
        assert_true(blob->push_bytes <= MAX_PUSH_BYTES);
        assert_int_equal((uintptr_t)blob->words % 16, 0);
    }
    assert_null(shader_blob_find(""));
    assert_null(shader_blob_find("no_such_blob"));
}

/* Or devices that bind fewer than 64 storage buffers would have no rows at all. */
TEST(arrays_are_as_long_as_devices_bind)
{
    for (uint32_t i = 0; i < n_shader_blobs; i++) {
        const struct shader_blob *blob = &shader_blobs[i];
        bool follows = blob->uses_addresses;
        for (uint32_t s = 0; s < blob->n_specs; s++)
            follows |= strcmp(blob->specs[s].name, "max_chunks") == 0;
        if (!follows)
            fail_msg("%s: its array of chunks has a fixed length", blob->name);
    }
}

TEST(blobs_keep_their_budget)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n_shader_blobs; i++)
        bytes += (uint64_t)shader_blobs[i].n_words * 4;
    printf("%u blobs, %.2f MB\n", n_shader_blobs, (double)bytes / (1 << 20));
    assert_true(bytes <= BUDGET_BYTES);
}
