/* The tuner on invented devices, some of which are noisy: what it finds, keeps and never keeps. */
#include "gpu/tuner.h"

#include <stdio.h>

#include "base/rng.h"
#include "harness/invented_gpu.h"
#include "products.h"

struct device {
    struct vk_caps caps;
    /* How long a choice really takes, and its helpers. */
    struct tuner_time (*takes)(const struct device *device, const struct row_pick *pick);
    uint64_t seed; /* of what it takes, where that is drawn */
    double noise;  /* at most, as a share of the time, up or down; */
    double burst;  /* and now and then so many times as long for a while */
    bool (*is_right)(const struct row_pick *pick);
    enum hth_status (*fails)(const struct row_pick *pick);
    int stop_after; /* timings; 0: never */
    int n_prepared, n_checked, busy;
    struct row_pick seen[2 * TUNER_MOST_TRIED];
    int n_seen;
    struct rng rng;
    struct tuner tuner;
};

static void note(struct device *d, const struct row_pick *pick)
{
    for (int i = 0; i < d->n_seen; i++)
        if (d->seen[i].row == pick->row && row_choice_equal(&d->seen[i].choice, &pick->choice))
            return;
    assert_true(d->n_seen < 2 * TUNER_MOST_TRIED);
    d->seen[d->n_seen++] = *pick;
}

static enum hth_status time_pick(void *user, const struct row_pick *pick, struct tuner_time *out)
{
    struct device *d = user;
    enum hth_status status = d->fails ? d->fails(pick) : HTH_OK;
    note(d, pick);
    *out = d->takes(d, pick);
    double factor = 1 + d->noise * (2 * rng_double(&d->rng) - 1);
    if (d->burst > 1 && d->busy-- <= 0)
        d->busy = (int)rng_below(&d->rng, 40);
    factor *= d->burst > 1 && d->busy < 5 ? d->burst : 1;
    out->own *= factor;
    out->helpers *= factor;
    return status;
}

static enum hth_status check(void *user, const struct row_pick *pick, bool *right)
{
    struct device *d = user;
    d->n_checked++;
    *right = !d->is_right || d->is_right(pick);
    return HTH_OK;
}

static void prepare(void *user, const struct row_pick *pick)
{
    (void)pick;
    ((struct device *)user)->n_prepared++;
}

static bool stop(void *user)
{
    const struct device *d = user;
    return d->stop_after > 0 && d->tuner.n_timed >= d->stop_after;
}

static void device_begin(struct device *d,
                         struct tuner_time (*takes)(const struct device *, const struct row_pick *))
{
    *d = (struct device){.caps = {INVENTED_GPU}, .takes = takes, .rng = rng_seed(1)};
    d->caps.fp16 = d->caps.int_dot = d->caps.int_dot_any = d->caps.subgroup_control = true;
    d->caps.subgroup_min = 16;
    d->tuner = (struct tuner){.time = time_pick,
                              .check = check,
                              .prepare = prepare,
                              .stop = stop,
                              .user = d,
                              .env = {.caps = &d->caps, .n_seqs = 1}};
}

static uint32_t knob(const struct row_pick *pick, const char *name)
{
    return choice_get(&pick->choice, name, 0);
}

static enum hth_status run(struct device *d, int n_tokens, struct table_entry *entry)
{
    struct product p;
    product_begin(&p, &dtype_q8_0, 4096, 4096, n_tokens);
    enum hth_status status = tuner_run(&d->tuner, p.op, entry);
    product_end(&p);
    return status;
}

/* What an entry makes of the op, and what it would be without. */
static struct row_pick pick_of(struct device *d, int n_tokens, const struct table_entry *entry)
{
    struct table table = {0};
    struct product p;
    struct row_env env = d->tuner.env;
    struct row_pick pick;
    product_begin(&p, &dtype_q8_0, 4096, 4096, n_tokens);
    if (entry) {
        char class[sizeof entry->class];
        assert_true(table_class(&env, p.op, class, sizeof class));
        struct table_entry *added = table_add(&table, class);
        *added = *entry;
        snprintf(added->class, sizeof added->class, "%s", class);
    }
    env.tuned = &table;
    pick.row = row_select(&env, p.op, &pick.choice);
    product_end(&p);
    table_free(&table);
    return pick;
}

static double seconds_of(struct device *d, int n_tokens, const struct table_entry *entry)
{
    const struct row_pick pick = pick_of(d, n_tokens, entry);
    const struct tuner_time time = d->takes(d, &pick);
    return time.own + time.helpers;
}

/* --- what it finds ---------------------------------------------------------------------------- */

static struct tuner_time flat(const struct device *d, const struct row_pick *pick)
{
    (void)d, (void)pick;
    return (struct tuner_time){100, 0};
}

TEST(where_nothing_is_faster_nothing_is_said)
{
    struct device d;
    struct table_entry entry = {0};
    device_begin(&d, flat);
    assert_int_equal(run(&d, 1, &entry), HTH_OK);
    assert_true(entry.whole && !entry.row[0] && !entry.n_knobs && entry.gain == 1);
    assert_int_equal(d.n_checked, 0);
    assert_true(d.n_prepared > 5); /* each is looked at once, beside the default */
    assert_int_equal(d.tuner.n_timed, 2 * (d.n_seen - 1));
    assert_int_equal(d.n_prepared, d.n_seen - 1);
}

/* Two knobs of the row that is the default. */
static struct tuner_time two_knobs(const struct device *d, const struct row_pick *pick)
{
    (void)d;
    double time = strcmp(pick->row->name, "matvec_f32") == 0 ? 100 : 300;
    time *= knob(pick, "ROWS") == 2 ? 0.8 : 1;
    time *= pick->choice.subgroup_size == 32 ? 0.75 : 1;
    return (struct tuner_time){time, 0};
}

TEST(knobs_of_the_default_row)
{
    struct device d;
    struct table_entry entry = {0};
    device_begin(&d, two_knobs);
    assert_int_equal(run(&d, 1, &entry), HTH_OK);
    assert_string_equal(entry.row, "matvec_f32");
    assert_int_equal(entry.n_knobs, 2);
    assert_true(entry.gain > 1.66 && entry.gain < 1.67 && entry.whole);
    const struct row_pick pick = pick_of(&d, 1, &entry);
    assert_int_equal(knob(&pick, "ROWS"), 2);
    assert_int_equal(pick.choice.subgroup_size, 32);
}

static struct tuner_time other_row(const struct device *d, const struct row_pick *pick)
{
    (void)d;
    double time = strcmp(pick->row->name, "matmul_f16") == 0 ? 70 : 100;
    time *= knob(pick, "BN") == 64 && knob(pick, "TN") == 4 ? 0.8 : 1;
    return (struct tuner_time){time, 0};
}

TEST(another_row_and_its_knobs)
{
    struct device d;
    struct table_entry entry = {0};
    device_begin(&d, other_row);
    assert_int_equal(run(&d, 512, &entry), HTH_OK);
    assert_string_equal(entry.row, "matmul_f16");
    const struct row_pick pick = pick_of(&d, 512, &entry);
    assert_int_equal(knob(&pick, "BN"), 64);
    assert_true(entry.gain > 1.78 && entry.gain < 1.79);
}

/* --- what it never keeps ---------------------------------------------------------------------- */

/* A factor for each choice, drawn from the device's seed: most are slower, some a little, a few are
 * faster. */
static struct tuner_time drawn(const struct device *d, const struct row_pick *pick)
{
    uint64_t hash = d->seed * 0x9e3779b97f4a7c15u + pick->choice.subgroup_size;
    for (uint32_t i = 0; i < pick->choice.blob->n_specs; i++)
        hash = (hash ^ pick->choice.spec[i]) * 0x100000001b3u;
    for (const char *at = pick->row->name; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 0x100000001b3u;
    struct rng rng = rng_seed(hash);
    return (struct tuner_time){100 * (0.97 + 0.2 * rng_double(&rng)), 0};
}

/* What is kept takes at most so many times as long as the default really does. */
static void never_slower(double noise, double burst, double most, int n_devices)
{
    struct device d;
    int n_kept = 0;
    for (int seed = 0; seed < n_devices; seed++) {
        struct table_entry entry = {0};
        int n_tokens = seed % 2 ? 512 : 1;
        device_begin(&d, drawn);
        d.seed = (uint64_t)seed + 1;
        d.rng = rng_seed(d.seed);
        d.noise = noise;
        d.burst = burst;
        assert_int_equal(run(&d, n_tokens, &entry), HTH_OK);
        double before = seconds_of(&d, n_tokens, NULL), now = seconds_of(&d, n_tokens, &entry);
        if (now > most * before)
            fail_msg("device %d: %s takes %g instead of %g", seed, entry.row, now, before);
        n_kept += entry.row[0] != '\0';
    }
    print_message("%d of %d devices: something faster was kept\n", n_kept, n_devices);
    assert_true(n_kept > n_devices / 8);
}

TEST(never_slower_on_quiet_devices)
{
    never_slower(0, 1, 1, 300);
}

TEST(never_slower_on_noisy_devices)
{
    never_slower(0.03, 1, 1.003, 1000);
    never_slower(0.06, 1, 1.01, 1000);
    never_slower(0.12, 1, 1.03, 500);
}

TEST(never_slower_on_devices_that_others_use)
{
    never_slower(0.02, 1.6, 1.003, 1000);
}

static bool is_not_wide(const struct row_pick *pick)
{
    return pick->choice.subgroup_size != 32;
}

TEST(what_is_wrong_is_never_kept)
{
    struct device d;
    struct table_entry entry = {0};
    device_begin(&d, two_knobs);
    d.is_right = is_not_wide;
    assert_int_equal(run(&d, 1, &entry), HTH_OK);
    const struct row_pick pick = pick_of(&d, 1, &entry);
    assert_int_equal(pick.choice.subgroup_size, 16);
    assert_int_equal(knob(&pick, "ROWS"), 2);
    assert_true(d.tuner.n_wrong >= 1);
}

/* Tiles of integers: ten times as fast. */
static struct tuner_time fast_integers(const struct device *d, const struct row_pick *pick)
{
    (void)d;
    return (struct tuner_time){pick->row->integer ? 10 : 100, 0};
}

TEST(few_columns_stay_exact)
{
    struct device d;
    for (int n_tokens = 8; n_tokens <= 64; n_tokens *= 2) {
        struct table_entry entry = {0};
        device_begin(&d, fast_integers);
        d.caps.int_dot = false; /* so that integers are not the default */
        assert_int_equal(run(&d, n_tokens, &entry), HTH_OK);
        assert_string_equal(entry.row, n_tokens > ROW_FEW_TOKENS ? "matmul_int" : "");
    }
}

/* Integers win by themselves, but not with their helper. */
static struct tuner_time costly_helper(const struct device *d, const struct row_pick *pick)
{
    (void)d;
    return (struct tuner_time){pick->row->integer ? 90 : 100, pick->row->integer ? 20 : 0};
}

TEST(faster_with_helpers_and_without)
{
    struct device d;
    struct table_entry entry = {0};
    device_begin(&d, costly_helper);
    d.caps.int_dot = false;
    assert_int_equal(run(&d, 64, &entry), HTH_OK);
    assert_string_equal(entry.row, "");
    device_begin(&d, costly_helper); /* here they are the default, and floats lose without */
    entry = (struct table_entry){0};
    assert_int_equal(run(&d, 64, &entry), HTH_OK);
    assert_string_equal(entry.row, "");
}

/* --- bounds ----------------------------------------------------------------------------------- */

/* Each candidate is a little faster than all before: everything is measured to the end. */
static struct tuner_time ever_faster(const struct device *d, const struct row_pick *pick)
{
    (void)pick;
    return (struct tuner_time){1e6 / (1 + d->tuner.n_timed * d->tuner.n_timed), 0};
}

TEST(measurements_are_bounded)
{
    struct device d;
    enum { EACH = 2 + 2 * TUNER_PAIRS };
    for (int n_tokens = 1; n_tokens <= 512; n_tokens *= 8) {
        struct table_entry entry = {0};
        device_begin(&d, ever_faster);
        assert_int_equal(run(&d, n_tokens, &entry), HTH_OK);
        assert_true(entry.whole);
        assert_true(d.tuner.n_timed <= TUNER_MOST_TRIED * EACH + 2 * TUNER_PAIRS);
    }
    struct table_entry entry = {0}; /* where nothing is faster one look at each is enough */
    device_begin(&d, flat);
    assert_int_equal(run(&d, 512, &entry), HTH_OK);
    assert_true(d.tuner.n_timed <= 2 * TUNER_MOST_TRIED);
    entry = (struct table_entry){0};
    d.stop_after = 1;
    int n = d.tuner.n_timed;
    assert_int_equal(run(&d, 512, &entry), HTH_ERROR_CANCELLED);
    assert_int_equal(d.tuner.n_timed, n);
}

/* Cut off after any number of timings, one candidate at least, and gone on with as often as it
 * takes. */
TEST(it_goes_on_where_it_ended)
{
    struct device d;
    struct table_entry whole = {0};
    device_begin(&d, two_knobs);
    assert_int_equal(run(&d, 1, &whole), HTH_OK);
    int all = d.tuner.n_timed;
    for (int step = 1; step < all; step += 1 + step / 4) {
        struct table_entry entry = {0};
        int rounds = 0;
        double best = 100;
        int n_done = 0, n_prepared;
        enum hth_status status = HTH_ERROR_CANCELLED;
        device_begin(&d, two_knobs);
        while (status == HTH_ERROR_CANCELLED) {
            assert_true(!entry.whole && rounds++ < 4 * TUNER_MOST_TRIED);
            d.stop_after = d.tuner.n_timed + step;
            n_prepared = d.n_prepared;
            status = run(&d, 1, &entry);
            assert_true(d.n_prepared > n_prepared || status == HTH_OK);
            double now = seconds_of(&d, 1, &entry); /* what was found is not lost */
            assert_true(now <= best && entry.n_done >= n_done);
            best = now;
            n_done = entry.n_done;
        }
        assert_int_equal(status, HTH_OK);
        assert_true(entry.whole);
        assert_string_equal(entry.row, whole.row);
        assert_true(best <= seconds_of(&d, 1, &whole));
    }
    int before = d.tuner.n_timed;
    assert_int_equal(run(&d, 1, &whole), HTH_OK); /* nothing is left */
    struct table_entry last = {.n_done = 4};      /* nor in the last knob, of one column */
    assert_int_equal(run(&d, 1, &last), HTH_OK);
    assert_int_equal(d.tuner.n_timed, before);
}

TEST(an_entry_that_no_longer_fits_is_begun_anew)
{
    struct device d;
    struct table_entry entry = {.row = "matvec_f32", .knobs = {{"ROWS", 3}}, .n_knobs = 1};
    entry.n_done = 4;
    device_begin(&d, two_knobs);
    assert_int_equal(run(&d, 1, &entry), HTH_OK);
    assert_true(entry.whole && entry.gain > 1.66);
}

/* --- failures --------------------------------------------------------------------------------- */

static enum hth_status wide_does_not_compile(const struct row_pick *pick)
{
    return pick->choice.subgroup_size == 32 ? HTH_ERROR_DEVICE : HTH_OK;
}

static enum hth_status two_rows_lose_the_device(const struct row_pick *pick)
{
    return knob(pick, "ROWS") == 2 ? HTH_ERROR_DEVICE_LOST : HTH_OK;
}

static enum hth_status no_memory(const struct row_pick *pick)
{
    return knob(pick, "ROWS") == 2 ? HTH_ERROR_MEMORY : HTH_OK;
}

static enum hth_status nothing_runs(const struct row_pick *pick)
{
    (void)pick;
    return HTH_ERROR_DEVICE;
}

TEST(what_fails_is_out)
{
    struct device d;
    struct table_entry entry = {0};
    device_begin(&d, two_knobs);
    d.fails = wide_does_not_compile;
    assert_int_equal(run(&d, 1, &entry), HTH_OK);
    const struct row_pick pick = pick_of(&d, 1, &entry);
    assert_int_equal(pick.choice.subgroup_size, 16);
    assert_int_equal(knob(&pick, "ROWS"), 2);
    entry = (struct table_entry){0};
    device_begin(&d, two_knobs);
    d.fails = nothing_runs;
    assert_int_equal(run(&d, 1, &entry), HTH_OK);
    assert_true(entry.whole && !entry.row[0]);
}

TEST(what_loses_the_device_is_not_tried_again)
{
    struct device d;
    struct table_entry entry = {0};
    device_begin(&d, two_knobs);
    d.fails = two_rows_lose_the_device;
    assert_int_equal(run(&d, 1, &entry), HTH_ERROR_DEVICE_LOST);
    assert_true(entry.whole && !entry.row[0]);
    assert_int_equal(run(&d, 1, &entry), HTH_OK);
    entry = (struct table_entry){0};
    device_begin(&d, two_knobs);
    d.fails = no_memory;
    assert_int_equal(run(&d, 1, &entry), HTH_ERROR_MEMORY);
    assert_false(entry.whole);
    assert_string_equal(entry.row, "matvec_f32"); /* as far as it came */
}
