
/* What is measured of a machine: by which probes, and how it is kept. */
#include "logits.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/os.h"
#include "engine/engine.h"
#include "engine/kept.h"
#include "engine/measured.h"
#include "engine/plan_part.h"
#include "engine/probe.h"
#include "plan/learn.h"

static const struct vk_caps card = {.name = "a \"card\" of \xff tests",
                                    .driver = "driver 1",
                                    .uuid = {1, 2, 3},
                                    .vendor_id = 4,
                                    .device_id = 5,
                                    .driver_version = 6};

static struct machine measured_machine(void)
{
    struct machine machine = {.n_devices = 2, .n_threads = 8};
    machine.devices[1].rate[RATE_READ] = 41.5e9;
    machine.devices[1].rate[RATE_MATRIX] = 1.0 / 3 * 1e12;
    machine.devices[1].formats[dtype_q4_k.gguf_id] =
        (struct machine_rates){22.25e9, 0.7e12, {{0, 0, 0}, {9.75e9, 0.0078125, 0.5e12}}, 0};
    machine.devices[1].formats[dtype_q6_k.gguf_id] =
        (struct machine_rates){0, 0.7e12, {{0, 0, 0}}, 0}; /* no */
    machine_add_cache(&machine.devices[1],
                      &(struct machine_cache){"Q8_0 2x64 8", {9.5e9, 2e12, {{0, 0, 0}}, 0}});
    machine_add_cache(
        &machine.devices[1],
        &(struct machine_cache){"F16 8x128 32", {17.5e9, 3e12, {{0, 0, 0}}, 0.00390625}});
    learn_add(&machine.devices[1].past[PHASE_ANSWER], 1.125);
    learn_add(&machine.devices[1].past[PHASE_ANSWER], 1.0 / 3);
    machine.devices[1].rate[RATE_HOP] = 33e-6;
    machine.devices[1].rate[RATE_COPY] = 12e9; /* an estimate: is not kept */
    machine.devices[1].estimated = 1u << RATE_COPY;
    return machine;
}

static void store(void)
{
    struct machine machine = measured_machine();
    assert_int_equal(measured_store(&machine, 1, &card, test_log()), HTH_OK);
}

static bool load(struct machine *machine, const struct vk_caps *caps)
{
    int device = caps ? 1 : 0;
    *machine = (struct machine){.n_devices = 2, .n_threads = 8};
    assert_int_equal(measured_load(machine, device, caps, test_log()), HTH_OK);
    return machine->devices[device].measured;
}

TEST(what_is_kept_comes_back)
{
    struct machine machine, kept = measured_machine();
    assert_false(load(&machine, &card));
    assert_string_equal(test_log_text(), "");
    store();
    assert_true(load(&machine, &card));
    const struct machine_device *is = &machine.devices[1], *was = &kept.devices[1];
    assert_true(is->rate[RATE_READ] == was->rate[RATE_READ]);
    assert_true(is->rate[RATE_MATRIX] == was->rate[RATE_MATRIX]);
    assert_true(is->rate[RATE_HOP] == was->rate[RATE_HOP]);
    assert_true(is->rate[RATE_COPY] == 0);
    assert_true(is->rate[RATE_DIRECT] == 0);
    assert_memory_equal(&is->formats[dtype_q4_k.gguf_id], &was->formats[dtype_q4_k.gguf_id],
                        sizeof is->formats[0]);
    assert_null(machine_format_of(is, &dtype_q6_k));
    assert_int_equal(is->n_caches, was->n_caches);
    assert_memory_equal(is->caches, was->caches, sizeof is->caches);
    assert_int_equal(is->past[PHASE_ANSWER].n, 2);
    assert_true(is->past[PHASE_ANSWER].times[0] == 1.125);
    assert_true(is->past[PHASE_ANSWER].times[1] == 1.0 / 3);
    assert_int_equal(is->past[PHASE_PROMPT].n, 0);
    assert_false(load(&machine, NULL)); /* the CPU has a file of its own */
    assert_string_equal(test_log_text(), "");
}

TEST(the_cpu_has_a_file_of_its_own)
{
    struct machine machine = {.n_devices = 1, .n_threads = 8};
    machine.devices[0].rate[RATE_READ] = 7e9;
    assert_int_equal(measured_store(&machine, 0, NULL, test_log()), HTH_OK);
    assert_true(load(&machine, NULL));
    assert_true(machine.devices[0].rate[RATE_READ] == 7e9);
    assert_false(load(&machine, &card));
}

/* Anything that the rates depend on is another: ignored, with a line. */
TEST(of_another_machine)
{
    struct machine machine;
    struct vk_caps other = card;
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
    machine = (struct machine){.n_devices = 2, .n_threads = 7};
    assert_int_equal(measured_load(&machine, 1, &card, test_log()), HTH_OK);
    assert_false(machine.devices[1].measured);
    assert_true(machine.devices[1].rate[RATE_READ] == 0);
}

static void read_kept(struct strbuf *path, struct strbuf *text)
{
    assert_true(measured_path(&card, path));
    assert_int_equal(file_read(path->ptr, 1 << 16, text, test_log()), HTH_OK);
}

/* Cut anywhere, or with any byte another: all rates that were measured, or none. */
TEST(broken_files)
{
    struct machine machine, kept = measured_machine();
    struct strbuf path = {0}, text = {0};
    store();
    read_kept(&path, &text);
    for (size_t n = 0; n + 1 < text.len; n++) {
        test_put_bytes(path.ptr, text.ptr, n);
        test_log_clear();
        assert_false(load(&machine, &card));
        assert_logged(" is ignored, as ");
        assert_true(machine.devices[1].rate[RATE_READ] == 0);
    }
    for (size_t i = 0; i < text.len; i++) {
        text.ptr[i] ^= 0x11;
        test_put_bytes(path.ptr, text.ptr, text.len);
        text.ptr[i] ^= 0x11;
        if (!load(&machine, &card))
            assert_true(machine.devices[1].rate[RATE_READ] == 0 &&
                        !machine_format_of(&machine.devices[1], &dtype_q4_k));
    }
    test_put_bytes(path.ptr, text.ptr, text.len);
    assert_true(load(&machine, &card));
    assert_true(machine.devices[1].rate[RATE_READ] == kept.devices[1].rate[RATE_READ]);
    strbuf_free(&path);
    strbuf_free(&text);
}

/* Loads the file with another text in the place of a number. */
static bool load_with(struct machine *machine, const char *number, const char *instead)
{
    struct strbuf path = {0}, text = {0};
    char bytes[4096];
    test_fresh_cache();
    store();
    read_kept(&path, &text);
    const char *at = strstr(text.ptr, number);
    assert_non_null(at);
    int n = snprintf(bytes, sizeof bytes, "%.*s%s%s", (int)(at - text.ptr), text.ptr, instead,
                     at + strcspn(at, ",\n }]"));
    test_put_bytes(path.ptr, bytes, (size_t)n);
    test_log_clear();
    strbuf_free(&path);
    strbuf_free(&text);
    return load(machine, &card);
}

static const char *const absurd[] = {"-1", "1e99", "\"fast\"", "null", "true", "[]", "0.01", "0"};

TEST(absurd_rates)
{
    struct machine machine;
    assert_false(load_with(&machine, "\"read_gb_per_s\":", "\"read\":"));
    assert_true(machine.devices[1].outdated);
    for (size_t i = 0; i + 1 < ARRAY_LEN(absurd); i++) {
        assert_false(load_with(&machine, "41500000000", absurd[i]));
        assert_logged("a rate in it is one that no machine has");
        assert_true(machine.devices[1].rate[RATE_READ] == 0);
    }
}

/* Of formats and runs each that is absurd is left out, and the rest stays. */
TEST(absurd_entries)
{
    struct machine machine;
    for (size_t i = 0; i < ARRAY_LEN(absurd); i++) {
        assert_true(load_with(&machine, "22250000000", absurd[i]));
        assert_logged("1 entry of formats, caches or runs in it is none that hearth wrote");
        assert_null(machine_format_of(&machine.devices[1], &dtype_q4_k));
        assert_int_equal(machine.devices[1].past[PHASE_ANSWER].n, 2);
        assert_true(load_with(&machine, "1.125", absurd[i]));
        assert_logged("1 entry of formats, caches or runs in it is none that hearth wrote");
        assert_int_equal(machine.devices[1].past[PHASE_ANSWER].n, 1);
        assert_non_null(machine_format_of(&machine.devices[1], &dtype_q4_k));
        assert_true(machine.devices[1].rate[RATE_READ] == 41.5e9);
        assert_true(load_with(&machine, "17500000000", absurd[i]));
        assert_logged("1 entry of formats, caches or runs in it is none that hearth wrote");
        assert_null(machine_cache_of(&machine.devices[1], "F16 8x128 32"));
        assert_non_null(machine_cache_of(&machine.devices[1], "Q8_0 2x64 8"));
    }
    static const char *const no_times[] = {"-1", "1e99", "\"fast\"", "null", "[]"};
    for (size_t i = 0; i < ARRAY_LEN(no_times); i++) {
        assert_true(load_with(&machine, "0.0078125", no_times[i]));
        assert_logged("1 entry of formats, caches or runs in it is none that hearth wrote");
        assert_null(machine_format_of(&machine.devices[1], &dtype_q4_k));
        assert_true(load_with(&machine, "0.00390625", no_times[i]));
        assert_logged("1 entry of formats, caches or runs in it is none that hearth wrote");
        assert_null(machine_cache_of(&machine.devices[1], "F16 8x128 32"));
        assert_non_null(machine_format_of(&machine.devices[1], &dtype_q4_k));
    }
    static const char *const no_products[] = {"[{},{},{}]", "[{},{},{},{},{}]", "{}", "null"};
    for (size_t i = 0; i < ARRAY_LEN(no_products); i++) {
        char instead[64];
        snprintf(instead, sizeof instead, "\"products\": %s, \"others\":", no_products[i]);
        assert_true(load_with(&machine, "\"products\":", instead));
        assert_logged("1 entry of formats, caches or runs in it is none that hearth wrote");
        assert_null(machine_format_of(&machine.devices[1], &dtype_q4_k));
        assert_true(machine.devices[1].rate[RATE_READ] == 41.5e9);
    }
    assert_true(load_with(&machine, "\"Q8_0", "\"\\u001b[31m")); /* before " 2x64 8" */
    assert_logged("1 entry of formats, caches or runs in it is none that hearth wrote");
    assert_string_equal(machine.devices[1].caches[0].shape, "F16 8x128 32");
    assert_int_equal(machine.devices[1].n_caches, 1);
}

/* More than hearth keeps, which nobody but it should have written. */
TEST(too_many_caches)
{
    struct machine machine;
    char many[2048] = "", one[128];
    for (int i = 0; i < MACHINE_MAX_CACHES; i++) {
        snprintf(one, sizeof one,
                 "\"F16 %dx64 8\": {\"read_gb_per_s\":1e9,\"matrix_tflops\":1e9,\"op_s\":0},",
                 i + 1);
        strcat(many, one);
    }
    strcat(many, "\"Q8_0");
    assert_true(load_with(&machine, "\"Q8_0", many));
    assert_logged("2 entries of formats, caches or runs in it are none that hearth wrote");
    assert_non_null(machine_cache_of(&machine.devices[1], "F16 1x64 8"));
    assert_null(machine_cache_of(&machine.devices[1], "F16 8x128 32"));
}

TEST(names_of_caches)
{
    static const char *const names[] = {"F16 8x128 32", "Q8_0 2x64 8", "F16 1x576/Q8_0 512 16"};
    static const char *const others[] = {"",
                                         "F16",
                                         "F16 8x128",
                                         "F16 8x128 32 ",
                                         "F16  8x128 32",
                                         "F16 8x128 032",
                                         "F17 8x128 32",
                                         "F16 0x128 32",
                                         "F16 -8x128 32",
                                         "F16 8x128 9999999999",
                                         "F16 8x128/F16 128 32",
                                         "F16 8x128 32\n",
                                         "a name longer than any 8x128 32"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_true(machine_is_cache_name(names[i]));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (machine_is_cache_name(others[i]))
            fail_msg("\"%s\" is taken for the name of a cache", others[i]);
}

TEST(the_newest_caches_are_kept)
{
    struct machine_device device = {0};
    struct machine_cache cache = {.rates = {1e9, 1e9}};
    for (int i = 0; i <= MACHINE_MAX_CACHES; i++) {
        snprintf(cache.shape, sizeof cache.shape, "F16 %dx64 8", i);
        machine_add_cache(&device, &cache);
    }
    assert_null(machine_cache_of(&device, "F16 0x64 8"));
    assert_non_null(machine_cache_of(&device, "F16 1x64 8"));
    assert_string_equal(device.caches[MACHINE_MAX_CACHES - 1].shape, cache.shape);
    snprintf(cache.shape, sizeof cache.shape, "F16 3x64 8");
    cache.rates.read = 2e9; /* new again */
    machine_add_cache(&device, &cache);
    assert_true(machine_cache_of(&device, "F16 3x64 8")->read == 2e9);
    assert_string_equal(device.caches[MACHINE_MAX_CACHES - 1].shape, cache.shape);
    for (int i = 1; i <= MACHINE_MAX_CACHES; i++) {
        snprintf(cache.shape, sizeof cache.shape, "F16 %dx64 8", i);
        assert_non_null(machine_cache_of(&device, cache.shape));
    }
}

TEST(caches_have_names)
{
    const struct kv_geom same = {8, 128, 128, &dtype_f16, &dtype_f16, 0, 0};
    const struct kv_geom mixed = {1, 576, 512, &dtype_f16, &dtype_q8_0, 0, 0};
    char name[64];
    assert_string_equal(machine_cache_name(&(struct cache_shape){same, 32}, name), "F16 8x128 32");
    assert_string_equal(machine_cache_name(&(struct cache_shape){mixed, 16}, name),
                        "F16 1x576/Q8_0 512 16");
}

/* A run is added to what is there by now; where that is of another build, or gone, nothing is. */
TEST(runs_are_added_to_a_file_of_this_build)
{
    struct machine machine = {.n_devices = 2, .n_threads = 8};
    struct vk_caps newer = card;
    assert_int_equal(measured_add_run(&machine, 1, &card, PHASE_PROMPT, 2, test_log()), HTH_OK);
    assert_false(load(&machine, &card));
    store();
    for (int i = 0; i < 7; i++)
        assert_int_equal(measured_add_run(&machine, 1, &card, PHASE_PROMPT, 2 + i, test_log()),
                         HTH_OK);
    newer.driver_version++;
    assert_int_equal(measured_add_run(&machine, 1, &newer, PHASE_PROMPT, 2, test_log()), HTH_OK);
    assert_true(load(&machine, &card));
    assert_int_equal(machine.devices[1].past[PHASE_PROMPT].n, PAST_RUNS);
    assert_true(machine.devices[1].past[PHASE_PROMPT].times[PAST_RUNS - 1] == 8);
    assert_int_equal(machine.devices[1].past[PHASE_ANSWER].n, 2);
    assert_non_null(machine_format_of(&machine.devices[1], &dtype_q4_k));
    assert_true(machine.devices[1].rate[RATE_READ] == 41.5e9);
}

/* A folder that cannot be made is a warning: measured again next time. */
TEST(no_place_to_keep_it)
{
    const char *folder = test_temp_path("a file");
    test_put_bytes(folder, "a file", 6);
    test_set_env("HEARTH_CACHE", folder);
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
    bool hit = true;
    store();
    for (long k = 0; hit; k++) {
        machine = measured_machine();
        test_log_clear();
        n_left = k;
        mem_set_hook(fail_at_zero, NULL);
        enum hth_status status = measured_store(&machine, 1, &card, test_log());
        if (status == HTH_OK)
            status = measured_load(&machine, 1, &card, test_log());
        if (status == HTH_OK)
            status = measured_add_run(&machine, 1, &card, PHASE_ANSWER, 1, test_log());
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

/* Noise may hide one, and not each of many; the same shape again, then another. */
static void check_attention(struct machine_probe *probe, int device)
{
    static const struct cache_shape shapes[] = {
        {{2, 64, 64, &dtype_f16, &dtype_f16, 0, 0}, 8},
        {{1, 96, 32, &dtype_q8_0, &dtype_q8_0, 0, 0}, 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        double read = 0, matrix = 0, op = 0;
        for (int n = 0; n < 9; n++) {
            read += machine_probe_cache_s(probe, PROBE_READ, device, &shapes[i], 4 << 20);
            matrix += machine_probe_cache_s(probe, PROBE_MATRIX, device, &shapes[i], 64 << 20);
            op += machine_probe_cache_s(probe, PROBE_OP, device, &shapes[i], 0);
        }
        print_message(
            "device %d: attention over 4 MiB in %.2g s, 64 Mflop in %.2g s, a page %.2g s\n",
            device, read / 9, matrix / 9, op / 9);
        assert_true(read > 0 && matrix > 0 && read < 90 && matrix < 90);
        assert_true(op > 0 && op < read);
    }
    assert_true(machine_probe_cache_s(probe, PROBE_READ, 2, shapes, 1 << 20) == 0);
}

static void check_probe(struct vk *vk, int device)
{
    struct pool *pool;
    struct machine_probe *probe;
    assert_int_equal(pool_create(&pool, 2, test_log()), HTH_OK);
    struct vk *const devices[] = {NULL, vk};
    assert_int_equal(machine_probe_open(&probe, pool, devices, vk ? 2 : 1, test_log()), HTH_OK);
    double small = machine_probe_time_s(probe, PROBE_READ, device, 1 << 20);
    double again = machine_probe_time_s(probe, PROBE_MATRIX, device, 64 << 20);
    print_message("device %d: 1 MiB read in %.2g s, 64 Mflop in %.2g s\n", device, small, again);
    assert_true(small < 10 && again < 10);
    /* noise may hide one product; not each of many */
    double read = 0, matrix = 0, activation = 0;
    for (int i = 0; i < 9; i++) {
        read += machine_probe_time_s(probe, PROBE_READ, device, 8 << 20);
        matrix += machine_probe_time_s(probe, PROBE_MATRIX, device, 64 << 20);
    }
    for (int i = 0; i < 9; i++)
        activation += machine_probe_time_s(probe, PROBE_ACTIVATION, device, 5 << 20);
    assert_true(read > 0 && matrix > 0 && activation > 0);
    assert_true(machine_probe_time_s(probe, PROBE_OP, device, 0) < 1);
    assert_true(machine_probe_time_s(probe, PROBE_DIRECT, device, 1 << 20) == 0);
    if (device) {
        assert_true(machine_probe_time_s(probe, PROBE_COPY, device, 1 << 20) > 0);
        assert_true(machine_probe_time_s(probe, PROBE_HOP, device, 16 << 10) > 0);
        assert_true(machine_probe_time_s(probe, PROBE_READ, 2, 1 << 20) == 0);
    }
    check_attention(probe, device);
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
    assert_int_equal(machine_probe_open(&probe, NULL, NULL, 1, test_log()), HTH_OK);
    for (int kind = PROBE_READ; kind <= PROBE_ACTIVATION; kind++)
        assert_true(machine_probe_time_s(probe, (enum probe_kind)kind, 1, 1 << 20) == 0);
    machine_probe_close(probe);
}

/* Every format that products take is timed: tiny ones here. */
TEST(probes_of_formats)
{
    struct pool *pool;
    struct machine_probe *probe;
    assert_int_equal(pool_create(&pool, 2, test_log()), HTH_OK);
    assert_int_equal(machine_probe_open(&probe, pool, NULL, 1, test_log()), HTH_OK);
    for (size_t i = 0; dtype_at(i); i++) {
        double seconds = 0;
        for (int run = 0; run < 9 && !dtype_at(i)->is_integer; run++)
            seconds += machine_probe_format_s(probe, PROBE_READ, 0, dtype_at(i), UINT64_C(1) << 20);
        if (!dtype_at(i)->is_integer && dtype_at(i)->decode && seconds <= 0)
            fail_msg("%s was not timed", dtype_at(i)->name);
    }
    assert_true(machine_probe_format_s(probe, PROBE_READ, 1, &dtype_q8_0, 1 << 20) == 0);
    machine_probe_close(probe);
    pool_destroy(pool);
}

/* Opens a model once all that it rests on is measured: on a busy machine a time may come out as
 * none, and is measured the next time. */
static struct hth_model *open_measured(const char *path, const struct hth_model_options *options)
{
    struct hth_model *model;
    for (int tries = 0; tries < 9; tries++) {
        assert_int_equal(hth_model_open(&model, path, options), HTH_OK);
        if (!hth_model_get_plan(model).estimated)
            return model;
        hth_model_close(model);
    }
    fail_msg("%s: its rates are not measured", path);
    return NULL;
}

/* Measured once, it is what plans rest on from then on: formats too, once a model needed them. */
TEST(plans_use_what_was_measured)
{
    struct plan_report *report;
    struct hth_model *model;
    const struct hth_model_options cpu = {.device = "cpu"};
    struct plan_request request = {.model = "synth:tiny-llama:q4_k", .device = cpu};
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    assert_true(report->plan.estimated);
    plan_report_close(report);
    assert_int_equal(hth_model_open(&model, request.model, &cpu), HTH_OK); /* of nothing known */
    assert_true(hth_model_get_plan(model).estimated);
    hth_model_close(model);
    assert_int_equal(plan_measure_machine(&cpu), HTH_OK);
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    assert_true(report->plan.estimated);
    plan_report_close(report);
    hth_model_close(open_measured(request.model, &cpu));
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    assert_false(report->plan.estimated);
    plan_report_close(report);
}

/* Opens a model on the CPU; returns whether something was ignored. */
static bool says_ignored(void)
{
    struct hth_model *model;
    const struct hth_model_options options = {.device = "cpu",
                                              .log = test_log()->write,
                                              .log_user = test_log()->user,
                                              .log_level = HTH_LOG_WARNING};
    test_log_clear();
    assert_int_equal(hth_model_open(&model, "synth:tiny-llama:q4_0", &options), HTH_OK);
    hth_model_close(model);
    return strstr(test_log_text(), "is ignored, as ") != NULL;
}

/* Of another build, or broken: said once, as it is measured again then. */
TEST(what_is_outdated_is_measured_again)
{
    struct strbuf path = {0}, was = {0}, now = {0};
    const struct hth_model_options cpu = {.device = "cpu"};
    assert_false(says_ignored());
    assert_true(measured_path(NULL, &path));
    /* nobody asked, and nothing was decided by it */
    assert_int_equal(os_stat(path.ptr, NULL, NULL), OS_FILE_NONE);
    assert_int_equal(plan_measure_machine(&cpu), HTH_OK);
    assert_false(says_ignored());
    assert_int_equal(file_read(path.ptr, 1 << 16, &was, test_log()), HTH_OK);
    char *build = strstr(was.ptr, "hearth ");
    assert_non_null(build);
    for (int broken = 0; broken < 2; broken++) {
        *build = broken ? '"' : 'H';
        test_put_bytes(path.ptr, was.ptr, was.len);
        assert_true(says_ignored());
        assert_false(says_ignored());
        strbuf_free(&now);
        assert_int_equal(file_read(path.ptr, 1 << 16, &now, test_log()), HTH_OK);
        assert_non_null(strstr(now.ptr, "; hearth "));
    }
    strbuf_free(&path);
    strbuf_free(&was);
    strbuf_free(&now);
}

/* --- what was achieved ------------------------------------------------------------------------ */

static const struct hth_turn long_turn = {.n_prompt = 1000000, .n_answer = 1000000};

/* What is expected of a model on the CPU, in seconds. */
static void expect(double seconds[2], double told_prompt, double told_answer)
{
    const struct hth_model_options options = {.device = "cpu", .measure = true};
    struct hth_model *model = open_measured("synth:tiny-llama:q4_0", &options);
    struct hth_expected expected = hth_model_expect(model, &long_turn);
    assert_false(expected.estimated);
    seconds[0] = long_turn.n_prompt / expected.prompt_tokens_per_s;
    seconds[1] = long_turn.n_answer / expected.answer_tokens_per_s;
    assert_int_equal(
        hth_model_achieved(model, &long_turn, told_prompt * seconds[0], told_answer * seconds[1]),
        HTH_OK);
    hth_model_close(model);
}

static void assert_near(double value, double expected)
{
    if (!(value > 0.99 * expected && value < 1.01 * expected))
        fail_msg("%g is not %g", value, expected);
}

TEST(what_was_achieved_corrects_what_is_expected)
{
    double first[2], now[2];
    expect(first, 0, 0); /* nothing was achieved */
    expect(now, 100, 0.001);
    expect(now, 1, 1); /* one absurd run: nothing */
    assert_near(now[0], first[0]);
    assert_near(now[1], first[1]);
    for (int i = 0; i < 3; i++)
        expect(now, 2 * first[0] / now[0], 3 * first[1] / now[1]);
    expect(now, 0, 0);
    assert_near(now[0], 2 * first[0]);
    assert_near(now[1], 3 * first[1]);
}

/* What a turn with these options took is forgotten. */
static void hold_nothing_is_learned(const struct hth_model_options *options, bool reads_file)
{
    struct strbuf path = {0}, before = {0}, after = {0};
    struct hth_model *model;
    assert_true(measured_path(NULL, &path));
    assert_int_equal(file_read(path.ptr, 1 << 16, &before, test_log()), HTH_OK);
    assert_int_equal(hth_model_open(&model, "synth:tiny-llama:q4_0", options), HTH_OK);
    assert_true((model->placing.plan.file_part > 0) == reads_file);
    assert_int_equal(hth_model_achieved(model, &long_turn, 1e3, 1e3), HTH_OK);
    assert_true(!reads_file || hth_model_expect(model, &long_turn).estimated);
    hth_model_close(model);
    assert_int_equal(file_read(path.ptr, 1 << 16, &after, test_log()), HTH_OK);
    assert_string_equal(after.ptr, before.ptr);
    strbuf_free(&path);
    strbuf_free(&before);
    strbuf_free(&after);
}

/* Other threads than were measured, whose rates are scaled; a file, whose speed nobody measures. */
TEST(nothing_is_learned_from_what_rests_on_guesses)
{
    struct hth_model_options options = {.device = "cpu"};
    double seconds[2];
    expect(seconds, 0, 0);
    struct hth_model *model = open_measured("synth:tiny-llama:q4_0", &options);
    const struct plan_heap heap = model->placing.plan.heaps[0];
    hth_model_close(model);
    options.ram_bytes = heap.planned - heap.weights / 2;
    hold_nothing_is_learned(&options, true);
    if (os_cpu_count() < 2)
        test_skip("there is one processor");
    hold_nothing_is_learned(&(struct hth_model_options){.device = "cpu", .n_threads = 1}, false);
}

/* A software device takes what fits, as it was asked for, and is predicted by what it does. */
TEST(a_software_device_is_predicted_vulkan)
{
    struct hth_model_options options = {.device = test_device(), .measure = true};
    struct hth_model *model = open_measured("synth:tiny-llama:q4_0", &options);
    struct hth_plan_info whole = hth_model_get_plan(model);
    struct hth_expected expected = hth_model_expect(model, &long_turn);
    assert_true(whole.gpu_weight_bytes > 0 && !whole.divided);
    assert_true(expected.prompt_tokens_per_s > 0 && expected.answer_tokens_per_s > 0);
    hth_model_close(model);
    options.vram_bytes = whole.gpu_bytes * 3 / 4;
    model = open_measured("synth:tiny-llama:q4_0", &options);
    struct hth_plan_info part = hth_model_get_plan(model);
    assert_true(part.divided && part.gpu_weight_bytes > 0 && part.host_weight_bytes > 0);
    assert_true(part.answer_tokens_per_s > 0);
    hth_model_close(model);
}
