#include "harness/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/os.h"
#include "base/rng.h"
#include "build_id.h"
#include "vk/vk.h"
#include "vk_blobs.h"

/* The device that tests run on: HEARTH_TEST_DEVICE=NUMBER, or with HEARTH_TEST_SOFTWARE=1 the first
 * software device. Others are left alone: a test must not disturb somebody's desktop unasked.
 * HEARTH_TEST_NOTHING_RUNS=1 says that the device compiles but computes nothing (a stand-in). */

/* --- shaders ---------------------------------------------------------------------------------- */

static const uint32_t plain[] = {1};
static const uint32_t groups_of_subgroups[] = {1, 61, 63};
static const uint32_t with_addresses[] = {1, 11, 5347};
static const uint32_t unheard_of[] = {1, 1234567};

static const struct shader_spec scale_specs[] = {
    {"local_size_x", 0, SHADER_SPEC_UINT, 1},
    {"scale", 1, SHADER_SPEC_FLOAT, 0x3f800000},
    {"offset", 2, SHADER_SPEC_UINT, 0},
    {"max_chunks", 3, SHADER_SPEC_UINT, 64},
};

#define BLOB(array, n_spec, push, caps)                                                            \
    .name = "test_" #array, .words = vk_blob_##array, .n_words = ARRAY_LEN(vk_blob_##array),       \
    .push_bytes = (push), .specs = scale_specs, .n_specs = (n_spec), .capabilities = (caps),       \
    .n_capabilities = ARRAY_LEN(caps), .op = "test"

/* One fixed number of chunks; and as many as the device has. */
static const struct shader_blob blob_fixed = {BLOB(scale, 3, 12, plain), .local_size = {1, 1, 1},
                                              .local_size_spec = {0, -1, -1}};
static const struct shader_blob blob_scale = {BLOB(chunks, 4, 12, plain), .local_size = {1, 1, 1},
                                              .local_size_spec = {0, -1, -1}};
static const struct shader_blob blob_subgroup = {
    BLOB(subgroup, 1, 4, groups_of_subgroups), .local_size = {1, 1, 1},
    .local_size_spec = {0, -1, -1}, .uses_subgroups = true};
static const struct shader_blob blob_address = {
    BLOB(address, 0, 12, with_addresses), .local_size = {32, 1, 1}, .local_size_spec = {-1, -1, -1},
    .uses_addresses = true};

static struct vk_pipeline_key scale_key(float scale, uint32_t offset)
{
    struct vk_pipeline_key key = {.blob = &blob_scale, .spec = {64, 0, offset}};
    memcpy(&key.spec[1], &scale, sizeof scale);
    return key;
}

/* --- devices ---------------------------------------------------------------------------------- */

static bool nothing_runs(void)
{
    const char *text = getenv("HEARTH_TEST_NOTHING_RUNS");
    return text && strcmp(text, "1") == 0;
}

static void need_a_device_that_runs(void)
{
    if (nothing_runs())
        test_skip("the device computes nothing");
}

static int device_number(void)
{
    const char *number = getenv("HEARTH_TEST_DEVICE"), *software = getenv("HEARTH_TEST_SOFTWARE");
    if (number && *number)
        return atoi(number);
    if (!software || strcmp(software, "1") != 0)
        test_skip_device(
            "no device: set HEARTH_TEST_DEVICE to its number, or HEARTH_TEST_SOFTWARE=1");
    struct vk_caps *devices;
    uint32_t count;
    const char *why;
    assert_int_equal(vk_list(&devices, &count, &why, test_log()), HTH_OK);
    int found = -1;
    for (uint32_t i = 0; i < count && found < 0; i++)
        if (devices[i].kind == VK_KIND_SOFTWARE)
            found = (int)i;
    mem_free(devices);
    if (found < 0)
        test_skip_device("no software device: %s", why ? why : "only others are there");
    return found;
}

static struct vk *open_with(struct vk_options options)
{
    struct vk *vk;
    options.index = device_number();
    test_log_clear();
    enum hth_status status = vk_open(&vk, &options, test_log());
    if (status == HTH_ERROR_UNSUPPORTED)
        test_skip_device("%s", test_log_text());
    assert_int_equal(status, HTH_OK);
    assert_non_null(vk);
    return vk;
}

static struct vk *open_plain(void)
{
    return open_with((struct vk_options){.no_disk_cache = true});
}

static struct vk *open_discrete(void)
{
    return open_with((struct vk_options){
        .no_disk_cache = true, .discrete = true, .memory_limit_bytes = 256 << 20});
}

static uint32_t new_chunk(struct vk *vk, uint64_t size_bytes, enum vk_memory kind)
{
    uint32_t chunk;
    enum hth_status status = vk_chunk_create(vk, size_bytes, kind, "test", &chunk);
    if (status != HTH_OK)
        fail_msg("no chunk of %llu bytes: %s", (unsigned long long)size_bytes, test_log_text());
    assert_int_not_equal(chunk, 0);
    assert_true(vk_chunk_bytes(vk, chunk) == size_bytes);
    return chunk;
}

static unsigned char *random_bytes(uint64_t seed, size_t n)
{
    unsigned char *bytes = mem_alloc(n);
    assert_non_null(bytes);
    struct rng rng = rng_seed(seed);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)rng_u32(&rng);
    return bytes;
}

TEST(list_is_sound)
{
    struct vk_caps *devices;
    uint32_t count;
    const char *why;
    assert_int_equal(vk_list(&devices, &count, &why, test_log()), HTH_OK);
    if (count == 0) {
        assert_null(devices);
        assert_non_null(why);
        test_skip_device("%s", why);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct vk_caps *caps = &devices[i];
        assert_true(caps->name[0]);
        if (caps->lacks)
            continue;
        assert_true(caps->driver[0]);
        assert_true(caps->subgroup_min <= caps->subgroup_default);
        assert_true(caps->subgroup_default <= caps->subgroup_max);
        assert_true(caps->n_heaps > 0 && caps->device_bytes > 0);
        assert_true(caps->max_range_bytes >= 1 << 27 && caps->max_range_bytes % VK_REF_ALIGN == 0);
        assert_true(caps->max_range_bytes < 1ull << 32);
        assert_true(caps->max_chunks >= 16 && caps->max_chunks <= VK_MAX_CHUNKS);
        for (uint32_t h = 0; h < caps->n_heaps; h++)
            assert_true(caps->heaps[h].budget_bytes < caps->heaps[h].size_bytes);
    }
    mem_free(devices);
}

TEST(numbers_beyond_the_list_are_refused)
{
    struct vk *vk;
    struct vk_options options = {.index = 1000, .no_disk_cache = true};
    test_log_clear();
    assert_int_equal(vk_open(&vk, &options, test_log()), HTH_ERROR_UNSUPPORTED);
    assert_null(vk);
    assert_true(test_log_text()[0]);
}

TEST(software_is_never_chosen_by_itself)
{
    struct vk *vk;
    struct vk_options options = {.index = -1, .no_disk_cache = true};
    if (vk_open(&vk, &options, test_log()) == HTH_OK) {
        assert_int_not_equal(vk_get_caps(vk)->kind, VK_KIND_SOFTWARE);
        vk_close(vk);
    }
}

/* --- memory ----------------------------------------------------------------------------------- */

static void check_round_trips(struct vk *vk)
{
    static const struct {
        uint64_t size, offset, n;
    } cases[] = {
        {1, 0, 1},
        {7, 3, 3},
        {4096, 1, 4095},
        {100003, 13, 99990},
        {5 << 20, 77, 12345},
        {(33 << 20) + 5, 3, (33 << 20) + 1},
        {16 << 20, 0, 16 << 20},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t chunk = new_chunk(vk, cases[i].size, VK_MEMORY_DEVICE);
        unsigned char *before = random_bytes(i, cases[i].size);
        unsigned char *part = random_bytes(i + 100, cases[i].n);
        unsigned char *after = mem_alloc(cases[i].size);
        assert_int_equal(vk_upload(vk, chunk, 0, before, cases[i].size), HTH_OK);
        assert_int_equal(vk_upload(vk, chunk, cases[i].offset, part, cases[i].n), HTH_OK);
        assert_int_equal(vk_download(vk, chunk, 0, after, cases[i].size), HTH_OK);
        memcpy(before + cases[i].offset, part, cases[i].n);
        if (!nothing_runs())
            assert_memory_equal(before, after, cases[i].size);
        memset(after, 0, cases[i].n);
        assert_int_equal(vk_download(vk, chunk, cases[i].offset, after, cases[i].n), HTH_OK);
        if (!nothing_runs())
            assert_memory_equal(part, after, cases[i].n);
        mem_free(before);
        mem_free(part);
        mem_free(after);
        vk_chunk_destroy(vk, chunk);
    }
}

TEST(bytes_make_round_trips)
{
    struct vk *vk = open_plain();
    check_round_trips(vk);
    vk_close(vk);
}

TEST(bytes_make_round_trips_through_staging)
{
    struct vk *vk = open_discrete();
    assert_false(vk_get_caps(vk)->unified);
    check_round_trips(vk);
    vk_close(vk);
}

TEST(many_small_uploads_arrive)
{
    enum { N = 20000, EACH = 1999 };
    need_a_device_that_runs();
    struct vk *vk = open_discrete();
    uint32_t chunk = new_chunk(vk, N * EACH, VK_MEMORY_DEVICE);
    unsigned char *all = random_bytes(7, N * EACH), *back = mem_alloc(N * EACH);
    for (size_t i = 0; i < N; i++) {
        size_t at = i * 7919 % N * EACH;
        assert_int_equal(vk_upload(vk, chunk, at, all + at, EACH), HTH_OK);
    }
    assert_int_equal(vk_transfer_wait(vk), HTH_OK);
    assert_int_equal(vk_download(vk, chunk, 0, back, N * EACH), HTH_OK);
    assert_memory_equal(all, back, N * EACH);
    mem_free(all);
    mem_free(back);
    vk_close(vk);
}

TEST(ranges_outside_are_refused)
{
    struct vk *vk = open_plain();
    uint32_t chunk = new_chunk(vk, 100, VK_MEMORY_DEVICE);
    unsigned char bytes[200] = {0};
    static const struct {
        uint64_t offset, n;
    } bad[] = {{0, 101}, {100, 1}, {101, 0}, {UINT64_MAX, 1}, {1, UINT64_MAX}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(vk_upload(vk, chunk, bad[i].offset, bytes, bad[i].n), HTH_ERROR_ARGUMENT);
        assert_int_equal(vk_download(vk, chunk, bad[i].offset, bytes, bad[i].n),
                         HTH_ERROR_ARGUMENT);
    }
    assert_int_equal(vk_upload(vk, 63, 0, bytes, 1), HTH_ERROR_ARGUMENT);
    assert_int_equal(vk_upload(vk, 64, 0, bytes, 1), HTH_ERROR_ARGUMENT);
    assert_int_equal(vk_upload(vk, chunk, 100, bytes, 0), HTH_OK);
    assert_logged("chunk");
    vk_close(vk);
}

TEST(chunks_come_and_go)
{
    struct vk *vk = open_plain();
    const struct vk_caps *caps = vk_get_caps(vk);
    uint64_t at_start = vk_allocated_bytes(vk, VK_MEMORY_DEVICE);
    uint64_t generation = vk_generation(vk);
    uint32_t chunks[VK_MAX_CHUNKS], one;
    for (uint32_t i = 1; i < caps->max_chunks; i++)
        chunks[i] = new_chunk(vk, 1000, VK_MEMORY_DEVICE);
    assert_int_equal(vk_chunk_create(vk, 1000, VK_MEMORY_DEVICE, "x", &one), HTH_ERROR_LIMIT);
    assert_true(vk_generation(vk) != generation);
    assert_true(vk_allocated_bytes(vk, VK_MEMORY_DEVICE) ==
                at_start + 1024ull * (caps->max_chunks - 1));
    vk_chunk_destroy(vk, chunks[5]);
    vk_chunk_destroy(vk, chunks[5]);
    vk_chunk_destroy(vk, 0);
    assert_int_equal(new_chunk(vk, 1000, VK_MEMORY_UPLOAD), chunks[5]);
    assert_non_null(vk_chunk_data(vk, chunks[5]));
    assert_true(vk_allocated_bytes(vk, VK_MEMORY_UPLOAD) == 1024);
    assert_int_equal(vk_chunk_create(vk, 0, VK_MEMORY_DEVICE, "x", &one), HTH_ERROR_ARGUMENT);
    assert_int_equal(vk_chunk_create(vk, caps->max_range_bytes + 1, VK_MEMORY_DEVICE, "x", &one),
                     HTH_ERROR_ARGUMENT);
    vk_close(vk);
}

TEST(discrete_mode_separates_the_heaps)
{
    struct vk *vk = open_discrete();
    const struct vk_caps *caps = vk_get_caps(vk);
    assert_false(caps->unified);
    assert_true(caps->n_heaps >= 2);
    assert_true(caps->device_bytes <= 256 << 20);
    uint32_t chunk = new_chunk(vk, 100 << 20, VK_MEMORY_DEVICE), other;
    assert_null(vk_chunk_data(vk, chunk));
    assert_non_null(vk_chunk_data(vk, new_chunk(vk, 100, VK_MEMORY_READBACK)));
    assert_int_equal(vk_chunk_create(vk, 100 << 20, VK_MEMORY_DEVICE, "second", &other), HTH_OK);
    test_log_clear();
    assert_int_equal(vk_chunk_create(vk, 100 << 20, VK_MEMORY_DEVICE, "third", &other),
                     HTH_ERROR_LIMIT);
    assert_logged("256 MiB");
    struct vk_caps now = *caps;
    vk_update_budget(vk, &now);
    bool seen = false;
    for (uint32_t i = 0; i < now.n_heaps; i++) {
        seen = seen || (now.heaps[i].device_local && now.heaps[i].used_bytes >= 200 << 20);
        assert_true(!now.heaps[i].device_local || now.heaps[i].budget_bytes <= 256 << 20);
    }
    assert_true(seen);
    vk_close(vk);
}

/* --- pipelines and commands ------------------------------------------------------------------- */

static struct vk_pipeline *ready(struct vk *vk, struct vk_pipeline_key key)
{
    struct vk_pipeline *pipeline;
    assert_int_equal(vk_pipeline_get(vk, &key, &pipeline), HTH_OK);
    if (vk_pipeline_wait(vk, pipeline) != HTH_OK)
        fail_msg("%s", test_log_text());
    return pipeline;
}

struct args {
    uint32_t from, to, n;
};

static void record_scale(struct vk_cmd *cmd, struct vk_pipeline *pipeline, struct args args)
{
    vk_cmd_dispatch(cmd, pipeline, &args, sizeof args, (uint32_t[3]){(args.n + 63) / 64, 1, 1});
}

static void submit_and_wait(struct vk *vk, struct vk_cmd *cmd)
{
    uint64_t ticket;
    assert_int_equal(vk_submit(vk, cmd, &ticket), HTH_OK);
    assert_int_equal(vk_wait(vk, ticket), HTH_OK);
}

/* y = 3x + 5 and z = 2y in one list, submitted again and again with other x. */
static void check_dispatches(struct vk *vk)
{
    enum { N = 1000, AT = 512 };
    static float x[N], z[N];
    uint32_t from = new_chunk(vk, 8000, VK_MEMORY_DEVICE);
    uint32_t to = new_chunk(vk, 8000, VK_MEMORY_DEVICE);
    uint32_t result = new_chunk(vk, sizeof z, VK_MEMORY_READBACK);
    struct vk_pipeline *first = ready(vk, scale_key(3, 5)), *second = ready(vk, scale_key(2, 0));
    struct vk_cmd *cmd;
    assert_int_equal(vk_cmd_create(vk, 4, &cmd), HTH_OK);
    vk_cmd_begin(cmd);
    vk_cmd_timestamp(cmd, 0);
    vk_cmd_label(cmd, "y = 3x + 5");
    record_scale(cmd, first, (struct args){vk_ref(from, 0), vk_ref(to, AT), N});
    vk_cmd_barrier(cmd);
    record_scale(cmd, second, (struct args){vk_ref(to, AT), vk_ref(from, 4096 + 256), 900});
    vk_cmd_barrier(cmd);
    vk_cmd_timestamp(cmd, 1);
    vk_cmd_copy(cmd, from, 4096 + 256, result, 0, 900 * sizeof(float));
    assert_int_equal(vk_cmd_end(cmd), HTH_OK);
    for (int run = 0; run < 20; run++) {
        for (int i = 0; i < N; i++)
            x[i] = (float)(i + run);
        assert_int_equal(vk_upload(vk, from, 0, x, sizeof x), HTH_OK);
        submit_and_wait(vk, cmd);
        if (nothing_runs())
            continue;
        memcpy(z, vk_chunk_data(vk, result), 900 * sizeof(float));
        for (int i = 0; i < 900; i++)
            if (z[i] != 2 * (3 * x[i] + 5))
                fail_msg("run %d, element %d: %f for %f", run, i, z[i], 2 * (3 * x[i] + 5));
        if (vk_get_caps(vk)->timestamps)
            assert_true(vk_cmd_time_ns(vk, cmd, 0, 1) < 10000000000ull);
    }
    if (vk_get_caps(vk)->timestamps && !nothing_runs())
        assert_true(vk_cmd_time_ns(vk, cmd, 0, 1) > 0);
    assert_true(vk_cmd_time_ns(vk, cmd, 0, 4) == 0);
    vk_cmd_destroy(vk, cmd);
}

/* What parts of a dispatch do together is what it does, and each does no more. */
static void check_parts(struct vk *vk)
{
    enum { N = 1000, GROUPS = (N + 63) / 64 };
    static float x[N], y[N];
    uint32_t from = new_chunk(vk, 4096, VK_MEMORY_DEVICE);
    uint32_t to = new_chunk(vk, 4096, VK_MEMORY_DEVICE);
    struct vk_pipeline *pipeline = ready(vk, scale_key(3, 5));
    const struct args args = {vk_ref(from, 0), vk_ref(to, 0), N};
    for (int i = 0; i < N; i++)
        x[i] = (float)i;
    assert_int_equal(vk_upload(vk, from, 0, x, sizeof x), HTH_OK);
    for (uint32_t cut = 0; cut < GROUPS; cut += 5) {
        struct vk_cmd *cmd;
        const struct vk_groups last = {.first = {cut, 0, 0}, .count = {GROUPS - cut, 1, 1}};
        const struct vk_groups first = {.count = {cut, 1, 1}};
        memset(y, 0, sizeof y);
        assert_int_equal(vk_upload(vk, to, 0, y, sizeof y), HTH_OK);
        for (int part = 0; part < 2; part++) {
            assert_int_equal(vk_cmd_create(vk, 0, &cmd), HTH_OK);
            vk_cmd_begin(cmd);
            vk_cmd_dispatch_part(cmd, pipeline, &args, sizeof args, part ? &first : &last);
            assert_int_equal(vk_cmd_end(cmd), HTH_OK);
            submit_and_wait(vk, cmd);
            vk_cmd_destroy(vk, cmd);
            assert_int_equal(vk_download(vk, to, 0, y, sizeof y), HTH_OK);
            for (int i = 0; i < N && !nothing_runs(); i++)
                assert_true(y[i] == (part || i >= (int)cut * 64 ? 3 * x[i] + 5 : 0));
        }
    }
}

TEST(a_dispatch_in_parts)
{
    struct vk *vk = open_plain();
    check_parts(vk);
    vk_close(vk);
}

TEST(lists_run_again_and_again)
{
    struct vk *vk = open_plain();
    check_dispatches(vk);
    vk_close(vk);
}

TEST(lists_run_in_discrete_mode)
{
    struct vk *vk = open_discrete();
    check_dispatches(vk);
    vk_close(vk);
}

TEST(validation_has_nothing_to_say)
{
    struct vk_options options = {.index = device_number(), .validation = true, .discrete = true};
    struct vk *vk;
    options.no_disk_cache = true;
    if (vk_open(&vk, &options, test_log()) == HTH_ERROR_UNSUPPORTED)
        test_skip("%s", test_log_text());
    check_dispatches(vk);
    check_parts(vk);
    check_round_trips(vk);
    uint32_t n_messages = vk_validation_messages(vk);
    vk_close(vk); /* where it may complain of what is left */
    if (n_messages > 0 || strstr(test_log_text(), "Vulkan validation"))
        fail_msg("%s", test_log_text());
}

TEST(stale_lists_are_refused)
{
    struct vk *vk = open_plain();
    uint32_t chunk = new_chunk(vk, 1000, VK_MEMORY_DEVICE);
    struct vk_cmd *cmd;
    uint64_t ticket;
    assert_int_equal(vk_cmd_create(vk, 0, &cmd), HTH_OK);
    assert_int_equal(vk_submit(vk, cmd, &ticket), HTH_ERROR_ARGUMENT);
    vk_cmd_begin(cmd);
    vk_cmd_copy(cmd, chunk, 0, chunk, 500, 100);
    assert_int_equal(vk_cmd_end(cmd), HTH_OK);
    uint64_t generation = vk_generation(vk);
    submit_and_wait(vk, cmd);
    assert_true(vk_generation(vk) == generation);
    new_chunk(vk, 1000, VK_MEMORY_DEVICE);
    assert_true(vk_generation(vk) != generation);
    test_log_clear();
    assert_int_equal(vk_submit(vk, cmd, &ticket), HTH_ERROR_ARGUMENT);
    assert_logged("stale");
    vk_cmd_begin(cmd);
    assert_int_equal(vk_cmd_end(cmd), HTH_OK);
    submit_and_wait(vk, cmd);
    assert_int_equal(vk_wait(vk, 1000), HTH_ERROR_ARGUMENT);
    vk_cmd_destroy(vk, cmd);
    vk_close(vk);
}

TEST(recording_keeps_the_first_failure)
{
    struct vk *vk = open_plain();
    uint32_t chunk = new_chunk(vk, 1000, VK_MEMORY_DEVICE);
    struct vk_pipeline *pipeline = ready(vk, scale_key(1, 0));
    struct args args = {vk_ref(chunk, 0), vk_ref(chunk, 256), 10};
    uint32_t too_many[3] = {1, vk_get_caps(vk)->max_groups[1], 1};
    struct vk_cmd *cmd;
    assert_int_equal(vk_cmd_create(vk, 0, &cmd), HTH_OK);
    assert_int_equal(vk_cmd_end(cmd), HTH_ERROR_ARGUMENT);
    vk_cmd_begin(cmd);
    vk_cmd_dispatch(cmd, pipeline, &args, sizeof args - 4, (uint32_t[3]){1, 1, 1});
    vk_cmd_copy(cmd, chunk, 0, chunk, 999, 10000);
    assert_int_equal(vk_cmd_end(cmd), HTH_ERROR_ARGUMENT);
    assert_logged("test_chunks takes 12 bytes");
    vk_cmd_begin(cmd);
    vk_cmd_copy(cmd, chunk, 991, 0, 0, 10);
    assert_int_equal(vk_cmd_end(cmd), HTH_ERROR_ARGUMENT);
    if (too_many[1]++ != UINT32_MAX) {
        vk_cmd_begin(cmd);
        vk_cmd_dispatch(cmd, pipeline, &args, sizeof args, too_many);
        assert_int_equal(vk_cmd_end(cmd), HTH_ERROR_LIMIT);
    }
    vk_cmd_begin(cmd);
    assert_int_equal(vk_cmd_end(cmd), HTH_OK);
    vk_cmd_destroy(vk, cmd);
    vk_close(vk);
}

TEST(submits_in_flight_keep_their_order)
{
    enum { N = 50 };
    need_a_device_that_runs();
    struct vk *vk = open_plain();
    uint32_t chunk = new_chunk(vk, 4096, VK_MEMORY_DEVICE);
    struct vk_pipeline *pipeline = ready(vk, scale_key(1, 1));
    struct vk_cmd *cmds[N];
    uint64_t last = 0;
    float zeros[64] = {0}, out[64];
    assert_int_equal(vk_upload(vk, chunk, 0, zeros, sizeof zeros), HTH_OK);
    for (int i = 0; i < N; i++) {
        assert_int_equal(vk_cmd_create(vk, 0, &cmds[i]), HTH_OK);
        vk_cmd_begin(cmds[i]);
        record_scale(
            cmds[i], pipeline,
            (struct args){vk_ref(chunk, i % 2 * 256), vk_ref(chunk, (i + 1) % 2 * 256), 64});
        assert_int_equal(vk_cmd_end(cmds[i]), HTH_OK);
    }
    for (int i = 0; i < N; i++) {
        uint64_t ticket;
        assert_int_equal(vk_submit(vk, cmds[i], &ticket), HTH_OK);
        assert_true(ticket > last);
        last = ticket;
    }
    assert_int_equal(vk_download(vk, chunk, 0, out, sizeof out), HTH_OK);
    for (int i = 0; i < 64; i++)
        assert_true(out[i] == N);
    for (int i = 0; i < N; i++)
        vk_cmd_destroy(vk, cmds[i]);
    vk_close(vk);
}

TEST(addresses_reach_the_same_memory)
{
    struct vk *vk = open_plain();
    if (!vk_blob_fits(vk_get_caps(vk), &blob_address)) {
        vk_close(vk);
        test_skip("the device has no addresses");
    }
    uint32_t data[100], from = new_chunk(vk, 4096, VK_MEMORY_DEVICE);
    uint32_t to = new_chunk(vk, 4096, VK_MEMORY_DEVICE);
    struct vk_pipeline *pipeline = ready(vk, (struct vk_pipeline_key){.blob = &blob_address});
    struct args args = {vk_ref(from, 256), vk_ref(to, 1024), 100};
    struct vk_cmd *cmd;
    for (uint32_t i = 0; i < 100; i++)
        data[i] = i * i;
    assert_int_equal(vk_upload(vk, from, 256, data, sizeof data), HTH_OK);
    assert_int_equal(vk_cmd_create(vk, 0, &cmd), HTH_OK);
    vk_cmd_begin(cmd);
    vk_cmd_dispatch(cmd, pipeline, &args, sizeof args, (uint32_t[3]){4, 1, 1});
    assert_int_equal(vk_cmd_end(cmd), HTH_OK);
    submit_and_wait(vk, cmd);
    assert_int_equal(vk_download(vk, to, 1024, data, sizeof data), HTH_OK);
    for (uint32_t i = 0; i < 100 && !nothing_runs(); i++)
        assert_int_equal(data[i], i * i + 1);
    vk_cmd_destroy(vk, cmd);
    vk_close(vk);
}

TEST(subgroups_are_as_demanded)
{
    struct vk *vk = open_plain();
    const struct vk_caps *caps = vk_get_caps(vk);
    if (!vk_blob_fits(caps, &blob_subgroup)) {
        vk_close(vk);
        test_skip("the device lacks what the shader needs");
    }
    uint32_t chunk = new_chunk(vk, 256, VK_MEMORY_DEVICE), data[3];
    struct vk_cmd *cmd;
    assert_int_equal(vk_cmd_create(vk, 0, &cmd), HTH_OK);
    for (uint32_t size = 0; size <= 128; size = size ? size * 2 : 1) {
        struct vk_pipeline_key key = {.blob = &blob_subgroup, .spec = {128}, .subgroup_size = size};
        struct vk_pipeline *pipeline;
        bool can = size == 0 || (caps->subgroup_control && size >= caps->subgroup_min &&
                                 size <= caps->subgroup_max);
        assert_int_equal(vk_pipeline_get(vk, &key, &pipeline), HTH_OK);
        assert_int_equal(vk_pipeline_wait(vk, pipeline), can ? HTH_OK : HTH_ERROR_UNSUPPORTED);
        if (!can || nothing_runs())
            continue;
        uint32_t ref = vk_ref(chunk, 0);
        vk_cmd_begin(cmd);
        vk_cmd_dispatch(cmd, pipeline, &ref, sizeof ref, (uint32_t[3]){1, 1, 1});
        assert_int_equal(vk_cmd_end(cmd), HTH_OK);
        submit_and_wait(vk, cmd);
        assert_int_equal(vk_download(vk, chunk, 0, data, sizeof data), HTH_OK);
        if (size)
            assert_int_equal(data[0], size);
        assert_int_equal(data[0], data[1]);
        assert_int_equal(data[0] * data[2], 128);
    }
    vk_cmd_destroy(vk, cmd);
    vk_close(vk);
}

TEST(impossible_pipelines_are_refused)
{
    struct vk *vk = open_plain();
    struct shader_blob strange = blob_scale, wide = blob_scale;
    strange.name = "test_strange";
    strange.capabilities = unheard_of;
    strange.n_capabilities = 2;
    wide.shared_bytes = 1u << 30;
    assert_true(vk_blob_fits(vk_get_caps(vk), &blob_scale));
    assert_false(vk_blob_fits(vk_get_caps(vk), &strange));
    assert_false(vk_blob_fits(vk_get_caps(vk), &wide));
    assert_int_equal(vk_blob_fits(vk_get_caps(vk), &blob_fixed),
                     vk_get_caps(vk)->max_chunks == VK_MAX_CHUNKS);
    struct vk_pipeline_key keys[] = {scale_key(1, 0), scale_key(1, 0), scale_key(1, 0),
                                     scale_key(1, 0)};
    keys[0].blob = &strange;
    keys[1].spec[0] = 1u << 20;
    keys[2].spec[0] = 0;
    keys[3].subgroup_size = 3;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct vk_pipeline *pipeline;
        assert_int_equal(vk_pipeline_get(vk, &keys[i], &pipeline), HTH_OK);
        assert_int_equal(vk_pipeline_wait(vk, pipeline), HTH_ERROR_UNSUPPORTED);
        assert_int_equal(vk_pipeline_wait(vk, pipeline), HTH_ERROR_UNSUPPORTED);
    }
    uint32_t created, from_cache, least = vk_get_caps(vk)->subgroup_min;
    struct vk_pipeline_key narrow = scale_key(1, 0);
    struct vk_pipeline *pipeline;
    narrow.spec[0] = least + least / 2;
    narrow.subgroup_size = least;
    assert_int_equal(vk_pipeline_get(vk, &narrow, &pipeline), HTH_OK);
    assert_int_equal(vk_pipeline_wait(vk, pipeline), HTH_ERROR_UNSUPPORTED);
    vk_pipeline_counts(vk, &created, &from_cache);
    assert_int_equal(created, 0);
    vk_close(vk);
}

TEST(equal_keys_share_a_pipeline)
{
    enum { N = 60 };
    for (int n_workers = 0; n_workers < 4; n_workers++) {
        struct vk *vk =
            open_with((struct vk_options){.no_disk_cache = true, .n_workers = n_workers});
        struct vk_pipeline *pipelines[3 * N];
        uint32_t created, from_cache;
        for (uint32_t i = 0; i < 3 * N; i++) {
            struct vk_pipeline_key key = scale_key(2, i % N);
            key.spec[3] = i;  /* filled in by vk, */
            key.spec[10] = i; /* and these are not looked at */
            assert_int_equal(vk_pipeline_get(vk, &key, &pipelines[i]), HTH_OK);
        }
        for (uint32_t i = 3 * N; i-- > 0;) {
            assert_int_equal(vk_pipeline_wait(vk, pipelines[i]), HTH_OK);
            assert_ptr_equal(pipelines[i], pipelines[i % N]);
            assert_true(i % N == 0 || pipelines[i] != pipelines[i % N - 1]);
        }
        vk_pipeline_counts(vk, &created, &from_cache);
        assert_int_equal(created, N);
        assert_int_equal(from_cache, 0);
        vk_close(vk);
    }
}

TEST(closing_leaves_work_undone)
{
    struct vk *vk = open_with((struct vk_options){.no_disk_cache = true, .n_workers = 1});
    for (uint32_t i = 0; i < 50; i++) {
        struct vk_pipeline_key key = scale_key(4, i);
        struct vk_pipeline *pipeline;
        assert_int_equal(vk_pipeline_get(vk, &key, &pipeline), HTH_OK);
    }
    vk_close(vk);
}

struct stats {
    int n;
    uint32_t subgroup;
};

static void count_stat(void *user, int executable, const char *executable_name,
                       uint32_t subgroup_size, const char *stat, double value)
{
    struct stats *stats = user;
    assert_true(executable >= 0 && executable_name[0] && stat[0] && value == value);
    stats->n++;
    stats->subgroup = subgroup_size;
}

TEST(compilers_tell_their_statistics)
{
    struct vk *vk = open_with((struct vk_options){.no_disk_cache = true, .capture_stats = true});
    struct stats stats = {0};
    test_log_clear();
    enum hth_status status = vk_pipeline_stats(vk, ready(vk, scale_key(2, 1)), count_stat, &stats);
    if (status == HTH_ERROR_UNSUPPORTED) {
        vk_close(vk);
        test_skip("%s", test_log_text());
    }
    assert_int_equal(status, HTH_OK);
    assert_true(stats.n > 0);
    const struct vk_caps *caps = vk_get_caps(vk);
    for (uint32_t size = caps->subgroup_min; caps->subgroup_control && size <= caps->subgroup_max;
         size *= 2) {
        struct vk_pipeline_key key = {.blob = &blob_subgroup, .spec = {128}, .subgroup_size = size};
        assert_int_equal(vk_pipeline_stats(vk, ready(vk, key), count_stat, &stats), HTH_OK);
        assert_int_equal(stats.subgroup, size);
    }
    vk_close(vk);
}

/* --- the cache on disk ------------------------------------------------------------------------ */

/* Opens, makes three pipelines, closes; returns how many came from the cache. */
static uint32_t run_with_cache(char path[1100], bool *saved)
{
    struct vk *vk = open_with((struct vk_options){0});
    uint32_t created, from_cache;
    for (uint32_t i = 0; i < 3; i++)
        ready(vk, scale_key(7, i));
    vk_pipeline_counts(vk, &created, &from_cache);
    assert_int_equal(created, 3);
    const struct vk_caps *caps = vk_get_caps(vk);
    int n = snprintf(path, 1100, "%s/pipelines/", getenv("HEARTH_CACHE"));
    for (int i = 0; i < 16; i++)
        n += snprintf(path + n, 1100 - (size_t)n, "%02x", caps->uuid[i]);
    snprintf(path + n, 1100 - (size_t)n, "-%s.bin", HEARTH_BUILD_ID);
    vk_close(vk);
    *saved = os_stat(path, NULL, NULL) == OS_FILE_REGULAR;
    return from_cache;
}

TEST(pipelines_come_back_from_disk)
{
    char path[1100];
    bool saved;
    assert_int_equal(run_with_cache(path, &saved), 0);
    assert_true(saved);
    uint32_t again = run_with_cache(path, &saved);
    if (again == 0)
        os_remove(path);
    if (again == 0)
        test_skip("the driver does not say, or keeps nothing in its cache");
    assert_int_equal(again, 3);
    assert_true(os_remove(path));
    assert_int_equal(run_with_cache(path, &saved), 0);
    os_remove(path);
}

static void write_file(const char *path, const char *bytes, size_t n)
{
    FILE *file = os_fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

static struct strbuf read_file(const char *path)
{
    struct strbuf text = {0};
    FILE *file = os_fopen(path, "rb");
    assert_non_null(file);
    for (int c; (c = fgetc(file)) != EOF;)
        strbuf_append_char(&text, (char)c);
    fclose(file);
    return text;
}

TEST(damaged_caches_are_ignored_and_replaced)
{
    char path[1100];
    bool saved;
    run_with_cache(path, &saved);
    assert_true(saved);
    struct strbuf good = read_file(path);
    const size_t at[] = {0, 7, 8, 12, 16, 20, 24, 39, 40, 48, 56, 57, good.len / 2, good.len - 1};
    for (size_t i = 0; i < 2 * ARRAY_LEN(at); i++) {
        char *bytes = mem_alloc(good.len + 1);
        memcpy(bytes, good.ptr, good.len);
        size_t where = at[i / 2], n = good.len;
        if (i % 2)
            n = where; /* cut there */
        else
            bytes[where] ^= 0x10;
        write_file(path, bytes, n);
        mem_free(bytes);
        test_log_clear();
        assert_int_equal(run_with_cache(path, &saved), 0);
        assert_logged("is ignored, as");
        struct strbuf now = read_file(path);
        assert_memory_equal(now.ptr, "HTHPIPES", 8);
        strbuf_free(&now);
        test_log_clear();
        run_with_cache(path, &saved);
        assert_null(strstr(test_log_text(), "is ignored"));
    }
    strbuf_append(&good, STR("more"));
    write_file(path, good.ptr, good.len);
    test_log_clear();
    assert_int_equal(run_with_cache(path, &saved), 0);
    assert_logged("is ignored, as");
    strbuf_free(&good);
    os_remove(path);
}

TEST(folders_that_cannot_be_written_are_no_failure)
{
    char path[1100];
    bool saved;
    const char *file = test_temp_path("a-file");
    write_file(file, "x", 1);
    test_set_env("HEARTH_CACHE", file);
    test_log_clear();
    assert_int_equal(run_with_cache(path, &saved), 0);
    assert_false(saved);
    assert_logged("cannot be written");
    assert_null(strstr(strstr(test_log_text(), "cannot be written") + 1, "cannot be written"));
}

TEST(saving_twice_writes_once)
{
    struct vk *vk = open_with((struct vk_options){0});
    ready(vk, scale_key(9, 1));
    vk_pipeline_save(vk);
    char path[1100];
    bool saved;
    run_with_cache(path, &saved);
    assert_true(os_remove(path));
    vk_pipeline_save(vk);
    assert_int_equal(os_stat(path, NULL, NULL), OS_FILE_NONE);
    ready(vk, scale_key(9, 2));
    vk_pipeline_save(vk);
    assert_int_equal(os_stat(path, NULL, NULL), OS_FILE_REGULAR);
    vk_close(vk);
    os_remove(path);
}

/* --- memory that runs out --------------------------------------------------------------------- */

static enum hth_status whole_life(int number)
{
    struct vk_options options = {.index = number, .discrete = true, .n_workers = 1};
    struct vk_caps *devices = NULL;
    uint32_t count, chunk;
    const char *why;
    struct vk *vk = NULL;
    struct vk_cmd *cmd = NULL;
    struct vk_pipeline *pipeline;
    struct vk_pipeline_key key = scale_key(11, 0);
    enum hth_status status = vk_list(&devices, &count, &why, test_log());
    mem_free(devices);
    if (status == HTH_OK)
        status = vk_open(&vk, &options, test_log());
    if (status == HTH_OK)
        status = vk_chunk_create(vk, 1000, VK_MEMORY_DEVICE, "x", &chunk);
    if (status == HTH_OK)
        status = vk_cmd_create(vk, 1, &cmd);
    if (status == HTH_OK)
        status = vk_pipeline_get(vk, &key, &pipeline);
    if (status == HTH_OK)
        status = vk_pipeline_wait(vk, pipeline);
    if (cmd)
        vk_cmd_destroy(vk, cmd);
    vk_close(vk);
    return status;
}

struct countdown {
    int left;
    bool hit;
};

static bool fail_once(void *user, size_t size)
{
    struct countdown *countdown = user;
    (void)size;
    if (countdown->left-- != 0)
        return true;
    countdown->hit = true;
    return false;
}

/* Unlike test_each_allocation_fails: a worker that cannot start and a cache that cannot be saved
 * are no failures. */
TEST(each_allocation_may_fail)
{
    int number = device_number(), n_failed = 0;
    bool any = true;
    vk_close(open_plain()); /* skips where the device cannot be used */
    for (int k = 0; any; k++) {
        struct countdown countdown = {.left = k};
        mem_set_hook(fail_once, &countdown);
        enum hth_status status = whole_life(number);
        mem_set_hook(NULL, NULL);
        any = countdown.hit;
        assert_true(status == HTH_OK || (any && status == HTH_ERROR_MEMORY));
        n_failed += status == HTH_ERROR_MEMORY;
    }
    assert_true(n_failed >= 8);
    char path[1100];
    bool saved;
    run_with_cache(path, &saved);
    os_remove(path);
}
