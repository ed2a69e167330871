/* Weights that pass through the device: where they lie in the ring, and that copies into staging
 * memory do not wait for what the device does. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/os.h"
#include "base/rng.h"
#include "gpu/place.h"
#include "harness/invented_gpu.h"
#include "harness/test.h"
#include "logits.h"

enum { N_WEIGHTS = 40, N_EXPERTS = 6 };

struct model_of_weights {
    struct weight weights[N_WEIGHTS];
    const struct weight *list[N_WEIGHTS];
    uint64_t largest, seed;
};

/* Matrices of odd sizes, some with experts. */
static void invent(struct model_of_weights *m, uint64_t seed)
{
    struct rng rng = rng_seed(seed);
    *m = (struct model_of_weights){.seed = seed};
    for (int i = 0; i < N_WEIGHTS; i++) {
        bool experts = rng_below(&rng, 3) == 0;
        int64_t cols = 32 * (1 + (int64_t)rng_below(&rng, 40)),
                rows = 2 + (int64_t)rng_below(&rng, 600);
        m->weights[i] = (struct weight){
            .name = "w", .dtype = &dtype_q8_0, .index = i, .ne = {cols, rows, 1, 1}};
        m->weights[i].ne[2] = experts ? N_EXPERTS : 1;
        m->weights[i].size_bytes =
            dtype_row_bytes(&dtype_q8_0, (uint64_t)cols) * (uint64_t)(rows * m->weights[i].ne[2]);
        m->list[i] = &m->weights[i];
        uint64_t taken = m->weights[i].size_bytes + 1024 * N_EXPERTS;
        m->largest = taken > m->largest ? taken : m->largest;
    }
}

/* Some experts stay; the others pass. */
static bool passes(void *user, const struct weight *weight, int64_t expert)
{
    const struct model_of_weights *m = user;
    return weight->ne[2] == 1 || expert == 0 || ((m->seed >> expert) & 1) == 0;
}

static bool touches(const struct placed_part *a, const struct placed_part *b)
{
    return a->chunk == b->chunk && a->offset < b->offset + b->size_bytes &&
           b->offset < a->offset + a->size_bytes;
}

/* All rows are there once, inside of their chunks, and nothing of a weight lies over another part
 * of it. */
static void check_weight(const struct placed *placed, uint64_t chunk_bytes, bool experts)
{
    int64_t rows = 0;
    for (int i = 0; i < placed->n_parts; i++) {
        const struct placed_part *part = &placed->parts[i];
        rows += part->count;
        assert_true(part->offset % VK_REF_ALIGN == 0);
        assert_true(part->offset + part->size_bytes <= chunk_bytes);
        for (int j = 0; j < i; j++)
            assert_false(touches(part, &placed->parts[j]));
        const struct placed_part table = {placed->table_chunk, placed->table_offset, 4 * N_EXPERTS,
                                          0, 0};
        assert_false(experts && touches(part, &table));
    }
    assert_true(experts ? rows % placed->weight->ne[1] == 0 : rows == placed->weight->ne[1]);
}

/* Returns how many lie over others. */
static int check_ring(uint64_t seed, uint64_t max_range, bool in_one)
{
    struct model_of_weights m;
    struct place ring;
    struct vk_caps caps = {INVENTED_GPU};
    caps.max_range_bytes = max_range;
    invent(&m, seed);
    const uint64_t bytes = 2 * m.largest;
    struct place_options options = {.wanted = passes, .user = &m, .ring_bytes = bytes};
    assert_int_equal(place_measure(&ring, &caps, m.list, N_WEIGHTS, &options, test_log()), HTH_OK);
    assert_false(ring.no_room);
    assert_true(ring.resident_bytes >= bytes && ring.resident_bytes <= bytes + (bytes >> 3));
    int n_over = 0;
    for (int i = 0; i < N_WEIGHTS; i++) {
        check_weight(&ring.weights[i], max_range - VK_REF_ALIGN, m.weights[i].ne[2] > 1);
        for (int j = 0; j < i; j++)
            n_over += place_overlap(&ring.weights[i], &ring.weights[j]);
        if (in_one && i > 0) /* while one is read the next can come */
            assert_false(place_overlap(&ring.weights[i], &ring.weights[i - 1]));
    }
    place_free(&ring);
    return n_over;
}

TEST(weights_lie_side_by_side)
{
    int n_over = 0;
    for (uint64_t seed = 1; seed <= 200; seed++)
        n_over += check_ring(seed, 1u << 30, true);
    assert_true(n_over > 1000); /* they go round */
}

TEST(several_chunks_make_a_ring)
{
    int n_over = 0;
    for (uint64_t seed = 1; seed <= 50; seed++)
        n_over += check_ring(seed, 1u << 20, false);
    assert_true(n_over > 1000);
}

TEST(no_weight_comes_round_to_itself)
{
    struct model_of_weights m;
    struct place ring;
    struct vk_caps caps = {INVENTED_GPU};
    invent(&m, 0);
    struct place_options options = {.wanted = passes, .user = &m, .ring_bytes = m.largest / 2};
    assert_int_equal(place_measure(&ring, &caps, m.list, N_WEIGHTS, &options, test_log()), HTH_OK);
    assert_true(ring.no_room);
    place_free(&ring);
}

/* --- on the device ---------------------------------------------------------------------------- */

enum { WORK_BYTES = 32 << 20, N_COPIES = 8, UPLOAD_BYTES = 24 << 20 };

/* The time that the device was at work and the host copied, beyond the time that passed: both were
 * at it at once for at least so long. */
static int64_t time_together(struct vk *vk, struct vk_cmd *cmd, uint32_t to, const void *data)
{
    uint64_t ticket;
    uint64_t copied_ns = vk_get_staged(vk).time_ns, begin_ns = os_time_ns();
    assert_int_equal(vk_submit(vk, cmd, &ticket), HTH_OK);
    assert_int_equal(vk_upload(vk, to, 0, data, UPLOAD_BYTES), HTH_OK);
    copied_ns = vk_get_staged(vk).time_ns - copied_ns;
    assert_int_equal(vk_wait(vk, ticket), HTH_OK);
    uint64_t passed_ns = os_time_ns() - begin_ns, device_ns = vk_cmd_time_ns(vk, cmd, 0, 1);
    assert_int_equal(vk_transfer_wait(vk), HTH_OK);
    printf("device %.1f ms, copies %.1f ms, passed %.1f ms\n", (double)device_ns / 1e6,
           (double)copied_ns / 1e6, (double)passed_ns / 1e6);
    return (int64_t)(device_ns + copied_ns) - (int64_t)passed_ns;
}

/* Waking up may take longer than both on a busy machine, so one of some trials is enough. */
TEST(host_copies_under_a_submit_in_flight_vulkan)
{
    struct vk_options options = {
        .index = atoi(test_device() + strlen("vulkan:")), .discrete = true, .no_disk_cache = true};
    struct vk *vk;
    struct vk_cmd *cmd;
    uint32_t from, to, goal;
    assert_int_equal(vk_open(&vk, &options, test_log()), HTH_OK);
    void *data = mem_calloc(UPLOAD_BYTES, 1);
    assert_non_null(data);
    assert_int_equal(vk_chunk_create(vk, WORK_BYTES, VK_MEMORY_DEVICE, "from", &from), HTH_OK);
    assert_int_equal(vk_chunk_create(vk, WORK_BYTES, VK_MEMORY_DEVICE, "to", &to), HTH_OK);
    assert_int_equal(vk_chunk_create(vk, UPLOAD_BYTES, VK_MEMORY_DEVICE, "goal", &goal), HTH_OK);
    assert_int_equal(vk_cmd_create(vk, 2, &cmd), HTH_OK);
    vk_cmd_begin(cmd);
    vk_cmd_timestamp(cmd, 0);
    for (int i = 0; i < N_COPIES; i++) {
        vk_cmd_copy(cmd, i % 2 ? to : from, 0, i % 2 ? from : to, 0, WORK_BYTES);
        vk_cmd_barrier(cmd);
    }
    vk_cmd_timestamp(cmd, 1);
    assert_int_equal(vk_cmd_end(cmd), HTH_OK);
    bool together = false;
    for (int i = 0; i < 10 && !together; i++)
        together = time_together(vk, cmd, goal, data) > 0;
    vk_cmd_destroy(vk, cmd);
    vk_close(vk);
    mem_free(data);
    assert_true(together);
}
