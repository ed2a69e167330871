
/* What is measured of a machine: by which probes, and how it is kept. */
#include "logits.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/os.h"
#include "engine/engine.h"
#include "engine/measured.h"
#include "engine/plan_part.h"
#include "engine/probe.h"

static const struct vk_caps card = {.name = "a \"card\" of \xff tests",
                                    .driver = "driver 1",
                                    .uuid = {1, 2, 3},
                                    .vendor_id = 4,
                                    .device_id = 5,
                                    .driver_version = 6};

static struct machine measured_machine(void)
{
    struct machine machine = {.n_devices = 2, .n_threads = 8};
    machine.devices[0].rate[RATE_READ] = 41.5e9;
    machine.devices[0].rate[RATE_MATRIX] = 1.0 / 3 * 1e12;
    machine.devices[1].rate[RATE_READ] = 300e9;
    machine.devices[1].rate[RATE_HOP] = 33e-6;
    machine.devices[1].rate[RATE_COPY] = 12e9; /* an estimate: is not kept */
    machine.devices[1].estimated = 1u << RATE_COPY;
    return machine;
}

static const char *fresh_cache(void)
{
    static char folder[1024];
    static int n;
    snprintf(folder, sizeof folder, "%s-%d", test_temp_path("cache"), n++);
    test_set_env("HEARTH_CACHE", folder);
    test_log_clear();
    return folder;
}

static void store(void)
{
    struct machine machine = measured_machine();
    assert_int_equal(measured_store(&machine, 1, &card, test_log()), HTH_OK);
}

static bool load(struct machine *machine, const struct vk_caps *caps)
{
    bool found;
    *machine = (struct machine){.n_devices = 2, .n_threads = 8};
    assert_int_equal(measured_load(machine, 1, caps, &found, test_log()), HTH_OK);
    return found;
}

TEST(what_is_kept_comes_back)
{
    struct machine machine, kept = measured_machine();
    fresh_cache();
    assert_false(load(&machine, &card));
    assert_string_equal(test_log_text(), "");
    store();
    assert_true(load(&machine, &card));
    assert_true(machine.devices[0].rate[RATE_READ] == kept.devices[0].rate[RATE_READ]);
    assert_true(machine.devices[0].rate[RATE_MATRIX] == kept.devices[0].rate[RATE_MATRIX]);
    assert_true(machine.devices[1].rate[RATE_READ] == kept.devices[1].rate[RATE_READ]);
    assert_true(machine.devices[1].rate[RATE_HOP] == kept.devices[1].rate[RATE_HOP]);
    assert_true(machine.devices[1].rate[RATE_COPY] == 0);
    assert_true(machine.devices[1].rate[RATE_MATRIX] == 0);
    assert_false(load(&machine, NULL)); /* of the CPU alone there is none */
    assert_string_equal(test_log_text(), "");
}

/* Anything that the rates depend on is another: ignored, with a line. */
TEST(of_another_machine)
{
    struct machine machine;
    struct vk_caps other = card;
    fresh_cache();
    store();
    other.driver_version++;
    assert_false(load(&machine, &other));
    assert_logged("it is of another machine, driver or build");
    other = card;
    other.driver[7]++;
    assert_false(load(&machine, &other));
    other = card;
    other.uuid[0]++; /* another file */
    assert_false(load(&machine, &other));
    bool found;
    machine = (struct machine){.n_devices = 2, .n_threads = 7};
    assert_int_equal(measured_load(&machine, 1, &card, &found, test_log()), HTH_OK);
    assert_false(found);
    assert_true(machine.devices[0].rate[RATE_READ] == 0);
}

static void read_kept(struct strbuf *path, struct strbuf *text)
{
    assert_true(measured_path(&card, path));
    assert_int_equal(file_read(path->ptr, 1 << 16, text, test_log()), HTH_OK);
}

static void overwrite(const char *path, const char *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

/* Cut anywhere, or with any byte another: all rates that were measured, or none. */
TEST(broken_files)
{
    struct machine machine, kept = measured_machine();
    struct strbuf path = {0}, text = {0};
    fresh_cache();
    store();
    read_kept(&path, &text);
    for (size_t n = 0; n + 1 < text.len; n++) {
        overwrite(path.ptr, text.ptr, n);
        test_log_clear();
        assert_false(load(&machine, &card));
        assert_logged(" is ignored, as ");
        assert_true(machine.devices[0].rate[RATE_READ] == 0);
    }
    for (size_t i = 0; i < text.len; i++) {
        text.ptr[i] ^= 0x11;
        overwrite(path.ptr, text.ptr, text.len);
        text.ptr[i] ^= 0x11;
        if (!load(&machine, &card))
            assert_true(machine.devices[0].rate[RATE_READ] == 0 &&
                        machine.devices[1].rate[RATE_READ] == 0);
    }
    overwrite(path.ptr, text.ptr, text.len);
    assert_true(load(&machine, &card));
    assert_true(machine.devices[1].rate[RATE_READ] == kept.devices[1].rate[RATE_READ]);
    strbuf_free(&path);
    strbuf_free(&text);
}

TEST(absurd_rates)
{
    static const char *const absurd[] = {"-1", "1e99", "\"fast\"", "null", "true", "[]", "0.5"};
    struct machine machine;
    struct strbuf path = {0}, text = {0};
    fresh_cache();
    store();
    read_kept(&path, &text);
    const char *at = strstr(text.ptr, "41500000000");
    assert_non_null(at);
    const char *end = at + strcspn(at, ",\n");
    for (size_t i = 0; i < ARRAY_LEN(absurd); i++) {
        char bytes[4096];
        int n = snprintf(bytes, sizeof bytes, "%.*s%s%s", (int)(at - text.ptr), text.ptr, absurd[i],
                         end);
        overwrite(path.ptr, bytes, (size_t)n);
        test_log_clear();
        assert_false(load(&machine, &card));
        assert_logged("a rate in it is one that no machine has");
        assert_true(machine.devices[1].rate[RATE_READ] == 0);
    }
    strbuf_free(&path);
    strbuf_free(&text);
}

/* A folder that cannot be made is a warning: measured again next time. */
TEST(no_place_to_keep_it)
{
    const char *folder = fresh_cache();
    overwrite(folder, "a file", 6);
    store();
    assert_logged("cannot be written");
}

static long n_left;

static bool fail_at_zero(void *user, size_t size)
{
    (void)user;
    (void)size;
    return n_left-- != 0;
}

/* Each allocation failed: said as such, or the file is done without, said as well. */
TEST(failing_allocations)
{
    struct machine machine;
    bool found, hit = true;
    fresh_cache();
    store();
    for (long k = 0; hit; k++) {
        machine = measured_machine();
        test_log_clear();
        n_left = k;
        mem_set_hook(fail_at_zero, NULL);
        enum hth_status status = measured_store(&machine, 1, &card, test_log());
        if (status == HTH_OK)
            status = measured_load(&machine, 1, &card, &found, test_log());
        mem_set_hook(NULL, NULL);
        hit = n_left < 0;
        if (hit && status == HTH_OK && !strstr(test_log_text(), "cannot be written"))
            fail_msg("allocation %ld failed, and nothing was said", k);
        assert_true(status == HTH_OK || status == HTH_ERROR_MEMORY);
        assert_true(hit || k > 10);
    }
    assert_true(load(&machine, &card));
}

/* --- probes ----------------------------------------------------------------------------------- */

static void check_probe(struct vk *vk, int device)
{
    struct pool *pool;
    struct machine_probe *probe;
    assert_int_equal(pool_create(&pool, 2, test_log()), HTH_OK);
    assert_int_equal(machine_probe_open(&probe, pool, vk, test_log()), HTH_OK);
    double small = machine_probe_time_s(probe, PROBE_READ, device, 1 << 20);
    double again = machine_probe_time_s(probe, PROBE_MATRIX, device, 64 << 20);
    print_message("device %d: 1 MiB read in %.2g s, 64 Mflop in %.2g s\n", device, small, again);
    assert_true(small < 10 && again < 10);
    /* noise may hide one product; not each of many */
    double read = 0, matrix = 0;
    for (int i = 0; i < 9; i++) {
        read += machine_probe_time_s(probe, PROBE_READ, device, 8 << 20);
        matrix += machine_probe_time_s(probe, PROBE_MATRIX, device, 64 << 20);
    }
    assert_true(read > 0 && matrix > 0);
    assert_true(machine_probe_time_s(probe, PROBE_DIRECT, device, 1 << 20) == 0);
    if (device) {
        assert_true(machine_probe_time_s(probe, PROBE_COPY, device, 1 << 20) > 0);
        assert_true(machine_probe_time_s(probe, PROBE_HOP, device, 16 << 10) > 0);
        assert_true(machine_probe_time_s(probe, PROBE_READ, 2, 1 << 20) == 0);
    }
    machine_probe_close(probe);
    pool_destroy(pool);
}

TEST(probes_of_the_cpu)
{
    check_probe(NULL, 0);
}

TEST(probes_of_a_device_vulkan)
{
    struct vk *vk;
    struct hth_model_options options = {.device = test_device(), .treat_as_discrete = true};
    assert_int_equal(device_open(&vk, &options, false, test_log()), HTH_OK);
    uint64_t before = vk_allocated_bytes(vk, VK_MEMORY_DEVICE);
    check_probe(vk, 1);
    assert_int_equal(vk_allocated_bytes(vk, VK_MEMORY_DEVICE), before);
    vk_close(vk);
}

/* What is not there is not timed. */
TEST(no_device_no_times)
{
    struct machine_probe *probe;
    assert_int_equal(machine_probe_open(&probe, NULL, NULL, test_log()), HTH_OK);
    for (int kind = PROBE_READ; kind <= PROBE_HOP; kind++)
        assert_true(machine_probe_time_s(probe, (enum probe_kind)kind, 1, 1 << 20) == 0);
    machine_probe_close(probe);
}

/* Measured once, it is what plans rest on from then on. */
TEST(plans_use_what_was_measured)
{
    struct plan_report *report;
    const struct hth_model_options cpu = {.device = "cpu"};
    struct plan_request request = {.model = "synth:tiny-llama:q4_k", .device = cpu};
    fresh_cache();
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    assert_true(report->plan.estimated);
    plan_report_close(report);
    assert_int_equal(plan_measure_machine(&cpu), HTH_OK);
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    assert_false(report->plan.estimated);
    plan_report_close(report);
}
