#include "harness/test.h"

#include "kv/kv.h"

static struct kv_cache *create(int n_seqs, int n_ctx, int n_pages)
{
    struct kv_cache *cache;
    assert_int_equal(kv_create(&cache, n_seqs, n_ctx, n_pages, test_log()), HTH_OK);
    return cache;
}

static void extend(struct kv_cache *cache, int seq, int n)
{
    assert_int_equal(kv_extend(cache, seq, n, test_log()), HTH_OK);
}

static uint32_t page(const struct kv_cache *cache, int seq, int index)
{
    int stride;
    const uint32_t *table = kv_table(cache, &stride);
    return table[seq * stride + index];
}

TEST(layout_aligns_each_part)
{
    struct kv_geom layers[2] = {
        {.n_head_kv = 3, .k_dim = 20, .v_dim = 6, .k_type = &dtype_f32, .v_type = &dtype_f16},
        {.n_head_kv = 1, .k_dim = 64, .v_dim = 32, .k_type = &dtype_q8_0, .v_type = &dtype_q8_0},
    };
    uint64_t bytes = kv_layout(layers, 2, test_log());
    assert_int_equal(layers[0].k_offset, 0);
    assert_int_equal(layers[0].v_offset, 3 * 64 * 20 * 4); /* 15360 = 60 × 256 */
    assert_int_equal(layers[1].k_offset, 15360 + 2304);    /* 3 × 64 × 6 × 2 */
    assert_int_equal(layers[1].v_offset, 17664 + 4352);    /* 64 × 2 × 34 */
    assert_int_equal(bytes, 22016 + 2304);                 /* 64 × 34 = 2176, aligned */
    assert_string_equal(test_log_text(), "");
    assert_ptr_equal(layers[1].k_type, &dtype_q8_0);
}

TEST(layout_falls_back_where_blocks_do_not_fit)
{
    struct kv_geom layers[3];
    for (int i = 0; i < 3; i++)
        layers[i] = (struct kv_geom){
            .n_head_kv = 2, .k_dim = 64, .v_dim = 48, .k_type = &dtype_q8_0, .v_type = &dtype_q8_0};
    test_log_clear();
    assert_int_not_equal(kv_layout(layers, 3, test_log()), 0);
    assert_ptr_equal(layers[2].k_type, &dtype_q8_0);
    assert_ptr_equal(layers[2].v_type, &dtype_f16);
    assert_logged("Q8_0");
    assert_string_equal(strchr(test_log_text(), '\n'), "\n"); /* once */
}

TEST(layout_refuses_what_an_offset_cannot_say)
{
    struct kv_geom layers[4];
    for (int i = 0; i < 4; i++)
        layers[i] = (struct kv_geom){.n_head_kv = 1 << 14,
                                     .k_dim = 512,
                                     .v_dim = 512,
                                     .k_type = &dtype_f16,
                                     .v_type = &dtype_f16};
    assert_int_equal(kv_layout(layers, 1, test_log()), (uint64_t)2 * 64 * 2 * 512 << 14);
    assert_int_equal(kv_layout(layers, 4, test_log()), 0);
    assert_logged("4 GiB");
}

TEST(extend_takes_pages_as_needed)
{
    struct kv_cache *cache = create(2, 200, 0);
    int stride;
    assert_int_equal(kv_n_pages(cache), 8);
    kv_table(cache, &stride);
    assert_int_equal(stride, 4);
    extend(cache, 0, 1);
    assert_int_equal(kv_pages_used(cache), 1);
    extend(cache, 0, 63);
    assert_int_equal(kv_pages_used(cache), 1);
    extend(cache, 0, 1);
    assert_int_equal(kv_pages_used(cache), 2);
    extend(cache, 1, 130);
    assert_int_equal(kv_pages_used(cache), 5);
    assert_int_equal(kv_length(cache, 0), 65);
    assert_int_equal(kv_length(cache, 1), 130);
    assert_int_not_equal(page(cache, 0, 1), page(cache, 1, 0));
    extend(cache, 0, 0);
    assert_int_equal(kv_length(cache, 0), 65);
    kv_destroy(cache);
}

TEST(full_context_changes_nothing)
{
    struct kv_cache *cache = create(1, 100, 0);
    extend(cache, 0, 100);
    assert_int_equal(kv_extend(cache, 0, 1, test_log()), HTH_ERROR_LIMIT);
    assert_logged("holds 100 positions, 100 are used and 1 more");
    assert_int_equal(kv_extend(cache, 0, INT32_MAX, test_log()), HTH_ERROR_LIMIT);
    assert_int_equal(kv_length(cache, 0), 100);
    kv_destroy(cache);
}

TEST(used_up_pages_change_nothing)
{
    struct kv_cache *cache = create(2, 1000, 3);
    extend(cache, 0, 100);
    assert_int_equal(kv_extend(cache, 1, 65, test_log()), HTH_ERROR_LIMIT);
    assert_logged("2 of its 3 pages are in use and 2 more");
    assert_int_equal(kv_length(cache, 1), 0);
    assert_int_equal(kv_pages_used(cache), 2);
    extend(cache, 1, 64);
    assert_int_equal(kv_truncate(cache, 0, 0), 0);
    extend(cache, 1, 100);
    kv_destroy(cache);
}

TEST(truncate_gives_pages_back)
{
    struct kv_cache *cache = create(1, 1000, 0);
    uint32_t first;
    extend(cache, 0, 300);
    first = page(cache, 0, 0);
    assert_int_equal(kv_truncate(cache, 0, 301), 300);
    assert_int_equal(kv_truncate(cache, 0, 65), 65);
    assert_int_equal(kv_pages_used(cache), 2);
    assert_int_equal(kv_truncate(cache, 0, 64), 64);
    assert_int_equal(kv_pages_used(cache), 1);
    assert_int_equal(page(cache, 0, 0), first);
    assert_int_equal(kv_truncate(cache, 0, 0), 0);
    assert_int_equal(kv_pages_used(cache), 0);
    kv_destroy(cache);
}

TEST(shared_pages_are_counted_and_never_written)
{
    struct kv_cache *cache = create(3, 1000, 0);
    extend(cache, 0, 200);
    extend(cache, 1, 70); /* emptied by sharing */
    assert_int_equal(kv_share(cache, 1, 0, 150), 128);
    assert_int_equal(kv_length(cache, 1), 128);
    assert_int_equal(kv_pages_used(cache), 4);
    assert_int_equal(page(cache, 1, 0), page(cache, 0, 0));
    assert_int_equal(page(cache, 1, 1), page(cache, 0, 1));
    assert_int_equal(kv_share(cache, 2, 0, 64), 64);
    assert_int_equal(kv_share(cache, 2, 0, 1000), 192); /* whole pages of what there is */
    extend(cache, 1, 10);
    assert_int_equal(kv_pages_used(cache), 5);
    assert_int_not_equal(page(cache, 1, 2), page(cache, 0, 2));

    /* Inside a page that others hold: cut at its beginning, and what follows is a page of its own.
     */
    assert_int_equal(kv_truncate(cache, 0, 100), 64);
    extend(cache, 0, 10);
    assert_int_not_equal(page(cache, 0, 1), page(cache, 1, 1));
    /* Exactly at its end nothing would be written. */
    assert_int_equal(kv_truncate(cache, 1, 128), 128);

    /* The last holder may write again. */
    assert_int_equal(kv_truncate(cache, 1, 0), 0);
    assert_int_equal(kv_truncate(cache, 2, 100), 100);
    kv_truncate(cache, 0, 0);
    assert_int_equal(kv_pages_used(cache), 2);
    kv_truncate(cache, 2, 0);
    assert_int_equal(kv_pages_used(cache), 0);
    kv_destroy(cache);
}

TEST(impossible_sizes_are_refused)
{
    struct kv_cache *cache;
    assert_int_equal(kv_create(&cache, 0, 10, 0, test_log()), HTH_ERROR_ARGUMENT);
    assert_null(cache);
    assert_int_equal(kv_create(&cache, 1, 0, 0, test_log()), HTH_ERROR_ARGUMENT);
    assert_int_equal(kv_create(&cache, 1, 10, -1, test_log()), HTH_ERROR_ARGUMENT);
    assert_int_equal(kv_create(&cache, INT32_MAX, INT32_MAX, 1, test_log()), HTH_ERROR_LIMIT);
    kv_destroy(NULL);
}

static enum hth_status create_once(void *arg)
{
    struct kv_cache *cache;
    enum hth_status status = kv_create(&cache, 3, 500, 0, arg);
    if (status)
        assert_null(cache);
    kv_destroy(cache);
    return status;
}

TEST(allocation_failures)
{
    test_each_allocation_fails(create_once, NULL);
}
