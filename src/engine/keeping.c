#include "engine/keeping.h"

#include <stdio.h>
#include <string.h>

#include "engine/plan_part.h"
#include "engine/session_part.h"
#include "engine/tuned.h"

enum {
    MOST_LOSSES = 3,  /* in a row, before the device is given up */
    WELL_AGAIN = 100, /* batches after which a loss is forgotten */
};

/* Figures are of the order that programs come and go with; none is critical. */
static const uint64_t POLL_EVERY_NS = 100000000;
static const uint64_t CALM_NS = 2000000000, CALM_MOST_NS = 240000000000;

/* --- what the device says --------------------------------------------------------------------- */

static void hear(void *user, enum hth_log_level level, const char *line)
{
    struct hth_model *model = user;
    if (level == HTH_LOG_ERROR && atomic_load(&model->keeping.keeps))
        snprintf(model->keeping.kept, sizeof model->keeping.kept, "%s", line);
    else
        log_pass_on(&model->log, level, line);
}

/* What was said and refused so far matters no more. */
static void forget(struct hth_model *model)
{
    uint64_t had;
    model->keeping.kept[0] = '\0';
    model->keeping.n_refused = model->vk ? vk_refusals(model->vk, &had) : 0;
}

void keeping_begin(struct hth_model *model)
{
    forget(model);
    atomic_store(&model->keeping.keeps, true);
}

enum hth_status keeping_end(struct hth_model *model, enum hth_status status)
{
    atomic_store(&model->keeping.keeps, false);
    if (status && model->keeping.kept[0])
        log_line(&model->log, HTH_LOG_ERROR, "%s", model->keeping.kept);
    return status;
}

/* --- deciding and loading --------------------------------------------------------------------- */

static bool is_wanted(void *user, const struct weight *weight, int64_t expert)
{
    const struct hth_model *model = user;
    return split_on_gpu(&model->placing.split, weight, expert);
}

static bool pass_progress(void *user, uint64_t done, uint64_t total)
{
    struct hth_model *model = user;
    return model->opt.progress(model->opt.progress_user, done, total);
}

/* The weights of the GPU's part, and all vectors. */
static enum hth_status load(struct hth_model *model)
{
    struct place_options options = {
        .progress = model->opt.progress ? pass_progress : NULL, .wanted = is_wanted, .user = model};
    return place_weights(&model->place, model->vk,
                         (const struct weight *const *)model->model->weights,
                         model->model->n_weights, &options, &model->keeping.log);
}

static uint64_t session_bytes(const struct device_need *need)
{
    return need->cache + need->work + need->ring;
}

/* Bytes of the device that open sessions take, beyond the one that is planned for. */
static enum hth_status measure_sessions(const struct hth_model *model, uint64_t *beyond)
{
    const struct placing *placing = &model->placing;
    uint64_t planned = session_bytes(&placing->need), all = 0;
    *beyond = 0;
    for (const struct hth_session *s = model->sessions; s; s = s->next) {
        struct device_need need;
        enum hth_status status =
            placing_measure_session(placing, model->vk, &s->opt, &need, &model->keeping.log);
        if (status)
            return status;
        all += session_bytes(&need);
    }
    *beyond = all > planned ? all - planned : 0;
    return HTH_OK;
}

/* A plan with room for all open sessions. */
static enum hth_status decide(struct hth_model *model)
{
    enum { ROUNDS = 6 };
    struct placing *placing = &model->placing;
    struct keeping *keeping = &model->keeping;
    uint64_t most = keeping->most, beyond;
    for (int round = 0;; round++) {
        enum hth_status status = placing_decide(placing, model->vk, most, &keeping->log);
        keeping->planned_for = round ? keeping->planned_for : placing->budget;
        if (status || !placing->split.used[SPLIT_GPU])
            return status;
        status = measure_sessions(model, &beyond);
        uint64_t need = device_need_all(&placing->need);
        if (status || need + beyond <= keeping->planned_for)
            return status;
        uint64_t over = need + beyond - keeping->planned_for;
        most = round < ROUNDS && need > over ? need - over : 1;
    }
}

/* The CPU's matrices are copied as it likes them best, all or, where memory is short, none. */
static enum hth_status open_interleaved(struct hth_model *model)
{
    uint64_t bytes = 0, room = os_memory_available_bytes();
    for (size_t i = 0; i < model->model->n_weights; i++)
        bytes += placing_host_bytes(&model->placing, model->model->weights[i]);
    if (model->opt.ram_bytes && model->opt.ram_bytes < room)
        room = model->opt.ram_bytes;
    if (model->opt.no_repack || bytes == 0 || bytes > room - room / 8)
        return HTH_OK;
    /* what is streamed is read there again with every prompt, and experts when they change places
     */
    bool stays = model->synth.ptr || model->placing.split.stream_from > 0 ||
                 placing_any_caches(&model->placing);
    struct interleaved_options options = {.most_bytes = room - room / 8,
                                          .let_go = stays ? NULL : os_map_drop};
    return interleaved_create(&model->interleaved, model->model->n_weights, &options,
                              &model->keeping.log);
}

/* Experts that are divided change places, as uses change. */
static enum hth_status open_experts(struct hth_model *model)
{
    struct placing *placing = &model->placing;
    struct experts_options options = {.model = model->model,
                                      .split = &placing->split,
                                      .place = &model->place,
                                      .cached = placing_caches,
                                      .user = placing,
                                      .interleaved = model->interleaved,
                                      .pool = model->pool,
                                      .price = placing_expert_price(placing),
                                      .most_bytes = placing_expert_bytes(placing)};
    return experts_open(&model->experts, &options, &model->keeping.log);
}

/* The weights of both sides. */
static void free_weights(struct hth_model *model)
{
    experts_close(model->experts);
    model->experts = NULL;
    place_free(&model->place);
    interleaved_destroy(model->interleaved);
    model->interleaved = NULL;
}

static enum hth_status place_once(struct hth_model *model)
{
    free_weights(model);
    enum hth_status status = decide(model);
    if (status)
        return status;
    status = open_interleaved(model);
    if (status)
        return status;
    forget(model); /* measuring does without what it cannot have */
    if (model->placing.split.used[SPLIT_GPU]) {
        status = load(model);
        return status ? status : open_experts(model);
    }
    if (!model->keeping.opened) { /* else memory may come back */
        vk_close(model->vk);
        model->vk = NULL;
    }
    return HTH_OK;
}

/* --- getting over failures -------------------------------------------------------------------- */

static void calm_longer(struct keeping *keeping)
{
    keeping->calm_ns = 2 * keeping->calm_ns < CALM_MOST_NS ? 2 * keeping->calm_ns : CALM_MOST_NS;
    keeping->cramped_ns = os_time_ns();
}

enum trouble { TROUBLE_OTHER, TROUBLE_LOST, TROUBLE_REFUSED };

/* What ended with `status` on the device. */
static enum trouble trouble_of(const struct hth_model *model, enum hth_status status)
{
    uint64_t had;
    if (!model->vk)
        return TROUBLE_OTHER;
    if (status == HTH_ERROR_DEVICE_LOST)
        return TROUBLE_LOST;
    bool memory = status == HTH_ERROR_MEMORY || status == HTH_ERROR_LIMIT;
    return memory && vk_refusals(model->vk, &had) != model->keeping.n_refused ? TROUBLE_REFUSED
                                                                              : TROUBLE_OTHER;
}

static const char *reason(const struct keeping *keeping)
{
    return keeping->kept[0] ? keeping->kept : "the driver says no more";
}

/* Plans for what the device had when it refused more; where that was said before, for half. */
static void plan_for_less(struct hth_model *model)
{
    struct keeping *keeping = &model->keeping;
    uint64_t had;
    vk_refusals(model->vk, &had);
    bool first = keeping->most > keeping->planned_for;
    if (first)
        log_warning(&model->log,
                    "the GPU had less memory than the driver had granted: planned again with what "
                    "is left (%s)",
                    reason(keeping));
    keeping->most = first || had < keeping->most / 2 ? had : keeping->most / 2;
    calm_longer(keeping);
}

static void give_up_device(struct hth_model *model, const char *why)
{
    log_warning(&model->log, "the GPU %s, and all goes on on the CPU (%s)", why,
                reason(&model->keeping));
}

static enum hth_status open_device(struct hth_model *model)
{
    return device_open(&model->vk, &model->opt, false, &model->keeping.log);
}

/* Nothing of the model is on the device any more. */
static void reopen_device(struct hth_model *model)
{
    struct keeping *keeping = &model->keeping;
    vk_close(model->vk);
    model->vk = NULL;
    keeping->n_well = 0;
    if (++keeping->n_lost >= MOST_LOSSES) {
        give_up_device(model, "is lost again and again");
        return;
    }
    log_warning(&model->log,
                "the GPU was lost: it is opened again, and what it held is made anew (%s)",
                reason(keeping));
    if (open_device(model) || !model->vk)
        give_up_device(model, "was lost and cannot be opened again");
}

/* Makes that what failed can be tried again; weights and sessions have left. */
static void get_over(struct hth_model *model, enum trouble trouble)
{
    if (trouble == TROUBLE_LOST)
        reopen_device(model);
    else
        plan_for_less(model);
    forget(model);
}

/* Decides and loads, as often as it takes. */
static enum hth_status place(struct hth_model *model)
{
    enum hth_status status = place_once(model);
    enum trouble trouble;
    while (status && (trouble = trouble_of(model, status)) != TROUBLE_OTHER) {
        get_over(model, trouble);
        status = place_once(model);
    }
    if (status == HTH_OK && model->keeping.opened)
        status = model_tell(model);
    model->keeping.placed = status == HTH_OK;
    return status;
}

/* Everything leaves the devices. `lost`: what was there is lost. */
static void leave(struct hth_model *model, bool lost)
{
    for (struct hth_session *s = model->sessions; s; s = s->next)
        session_leave(s, lost);
    free_weights(model);
    model->keeping.placed = false;
}

enum hth_status keeping_recover(struct hth_model *model, enum hth_status status)
{
    enum trouble trouble = trouble_of(model, status);
    if (trouble == TROUBLE_OTHER)
        return status;
    leave(model, trouble == TROUBLE_LOST);
    get_over(model, trouble);
    return place(model);
}

void keeping_well(struct hth_model *model)
{
    struct keeping *keeping = &model->keeping;
    if (keeping->n_lost > 0 && ++keeping->n_well >= WELL_AGAIN)
        keeping->n_lost = 0;
}

/* --- moving ----------------------------------------------------------------------------------- */

/* Bytes of units that are not on the device; *least: of the smallest that is worth it there. A
 * device that stands in for a GPU takes what fits, whatever that gains. */
static uint64_t bytes_left_out(const struct placing *placing, uint64_t *least)
{
    bool takes_all = placing->machine.n_devices > 1 && placing->machine.devices[1].stands_in;
    uint64_t all = 0;
    *least = UINT64_MAX;
    for (int i = 0; i < placing->units.n_units && placing->plan.items; i++) {
        const struct unit *unit = &placing->units.items[i];
        const struct plan_unit *item = &placing->plan.items[i];
        int there = unit->kind == UNIT_EXPERTS ? item->choice.resident : unit->n;
        int left = item->choice.device > 0 ? unit->n - there : unit->n;
        uint64_t bytes = unit->bytes * (uint64_t)left;
        if (left == 0 || !(unit->allowed >> 1))
            continue;
        all += bytes;
        if ((takes_all || item->gain_s > 0) && bytes < *least)
            *least = bytes;
    }
    return all;
}

/* There is more room than was planned for: enough for all that is left out (then all goes there),
 * or for a good part of what is there? */
static bool is_worth_it(const struct hth_model *model, uint64_t room, uint64_t held)
{
    const struct placing *placing = &model->placing;
    uint64_t least, all = bytes_left_out(placing, &least);
    uint64_t extra = placing->split.used[SPLIT_GPU] ? 0 : placing->units.working_bytes;
    uint64_t planned = model->keeping.planned_for;
    if (all == 0 || room <= planned)
        return false;
    if (room >= held + extra + all)
        return true;
    return least < UINT64_MAX && room >= held + extra + least && room - planned >= held / 8;
}

static double mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

/* By a new plan for what there is now. */
static enum hth_status move(struct hth_model *model, uint64_t room)
{
    uint64_t before = device_need_all(&model->placing.need);
    leave(model, false);
    model->keeping.most = UINT64_MAX;
    enum hth_status status = place(model);
    if (status)
        return status;
    const struct placing *placing = &model->placing;
    uint64_t now = device_need_all(&placing->need);
    if (now < before)
        log_warning(&model->log,
                    "another program takes the GPU's memory, of which %.1f MiB may be used: %.1f "
                    "MiB went to the host's memory; now %s",
                    mib(room), mib(before - now), placing->sentence);
    else if (now > before)
        log_info(&model->log,
                 "%.1f MiB of the GPU's memory may be used again: %.1f MiB went back there; now %s",
                 mib(room), mib(now - before), placing->sentence);
    calm_longer(&model->keeping);
    return HTH_OK;
}

/* Budgets are given back bit by bit and taken again: only room that has been there for a while is
 * used, and longer each time. */
static enum hth_status follow_budget(struct hth_model *model, uint64_t now_ns)
{
    struct keeping *keeping = &model->keeping;
    uint64_t margin, room = plan_room(model->vk, &model->opt, &margin);
    uint64_t held = vk_allocated_bytes(model->vk, VK_MEMORY_DEVICE);
    uint64_t slack = keeping->slack_bytes < margin ? keeping->slack_bytes : margin;
    bool used = model->placing.split.used[SPLIT_GPU];
    if (used && held > room && held - room > slack)
        return move(model, room);
    if (!is_worth_it(model, room, held))
        keeping->cramped_ns = now_ns;
    else if (now_ns - keeping->cramped_ns >= keeping->calm_ns)
        return move(model, room);
    return HTH_OK;
}

enum hth_status keeping_poll(struct hth_model *model)
{
    struct keeping *keeping = &model->keeping;
    uint64_t now_ns = os_time_ns();
    enum hth_status status = HTH_OK;
    if (keeping->placed && model->vk && now_ns - keeping->polled_ns >= keeping->every_ns) {
        keeping->polled_ns = now_ns;
        status = follow_budget(model, now_ns);
    }
    return status || keeping->placed ? status : place(model);
}

/* Kernels that are new to this device are compared with the CPU. Where for an op none is right, the
 * CPU runs the model, unless the device was asked for: then compiling says what is missing. */
static enum hth_status prove_device(struct hth_model *model)
{
    const char *asked = model->opt.device;
    struct proof *proof = &model->proof;
    if (!model->vk || model->opt.self_test_s < 0 || model->rows)
        return HTH_OK;
    proof->heard = model->keeping.kept;
    proof->most_seconds = model->opt.self_test_s > 0 ? model->opt.self_test_s : PROVE_SECONDS;
    model->keeping.kept[0] = '\0';
    enum hth_status status =
        prove_model(proof, model->vk, model->model, &model->opt.session, &model->keeping.log);
    if (status == HTH_OK && proof->unfit[0] && (!asked || !*asked || strcmp(asked, "auto") == 0)) {
        log_warning(&model->log, "%s is not used: no kernel for %s is right on it",
                    vk_get_caps(model->vk)->name, proof->unfit);
        vk_close(model->vk);
        model->vk = NULL;
    }
    return status;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* What was found best, where nothing else is said. */
static enum hth_status use_tuned(struct hth_model *model)
{
    int n_threads = model->opt.n_threads;
    enum hth_status status = tuned_use(model);
    if (status || model->opt.n_threads == n_threads)
        return status;
    pool_destroy(model->pool);
    model->pool = NULL;
    return pool_create(&model->pool, model->opt.n_threads, &model->log);
}

static void begin_placing(struct hth_model *model)
{
    model->placing = (struct placing){.model = model->model,
                                      .opt = model->opt,
                                      .pool = model->pool,
                                      .rows = model->rows,
                                      .bars = &model->proof.bars,
                                      .session = model->opt.session};
}

enum hth_status keeping_open(struct hth_model *model)
{
    struct keeping *keeping = &model->keeping;
    *keeping = (struct keeping){.log = {hear, model, model->log.max_level},
                                .most = UINT64_MAX,
                                .every_ns = POLL_EVERY_NS,
                                .calm_ns = CALM_NS,
                                .slack_bytes = UINT64_MAX,
                                .polled_ns = os_time_ns(),
                                .cramped_ns = os_time_ns()};
    keeping_begin(model);
    enum hth_status status = open_device(model);
    if (status == HTH_OK)
        status = use_tuned(model);
    begin_placing(model);
    if (status == HTH_OK)
        status = prove_device(model);
    status = keeping_end(model, status ? status : place(model));
    keeping->opened = true;
    return status;
}

void keeping_close(struct hth_model *model)
{
    free_weights(model);
    vk_close(model->vk);
    placing_free(&model->placing);
}
