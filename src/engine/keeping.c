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
    for (int d = 1; d < model->n_devices; d++)
        model->devices[d].keeping.n_refused = vk_refusals(model->devices[d].vk, &had);
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

/* What is being loaded: one GPU's part, behind those of others. */
struct loading {
    const struct hth_model *model;
    int device;
    uint64_t before, all; /* bytes of those before, and of all */
};

static bool is_wanted(void *user, const struct weight *weight, int64_t expert)
{
    const struct loading *loading = user;
    return split_has(&loading->model->placing.split, loading->device, weight, expert);
}

static bool pass_progress(void *user, uint64_t done, uint64_t total)
{
    const struct loading *loading = user;
    const struct hth_model_options *opt = &loading->model->opt;
    uint64_t all = loading->all > total ? loading->all : total;
    return opt->progress(opt->progress_user, loading->before + done, all);
}

/* The weights of each GPU's part, and all vectors. */
static enum hth_status load(struct hth_model *model)
{
    const struct placing *placing = &model->placing;
    struct loading loading = {.model = model};
    enum hth_status status = HTH_OK;
    for (int d = 1; d < model->n_devices; d++)
        loading.all +=
            placing->split.used[d] && model->n_devices > 2 ? placing->need[d].weights : 0;
    for (int d = 1; d < model->n_devices && status == HTH_OK; d++) {
        struct place_options options = {.progress = model->opt.progress ? pass_progress : NULL,
                                        .wanted = is_wanted,
                                        .user = &loading};
        if (!placing->split.used[d])
            continue;
        loading.device = d;
        status = place_weights(&model->devices[d].place, model->devices[d].vk,
                               (const struct weight *const *)model->model->weights,
                               model->model->n_weights, &options, &model->keeping.log);
        loading.before += placing->need[d].weights;
    }
    return status;
}

static uint64_t session_bytes(const struct device_need *need)
{
    return need->cache + need->work + need->ring;
}

/* Bytes of a device that open sessions take, beyond the one that is planned for. */
static enum hth_status measure_sessions(const struct hth_model *model, int d, uint64_t *beyond)
{
    const struct placing *placing = &model->placing;
    uint64_t planned = session_bytes(&placing->need[d]), all = 0;
    *beyond = 0;
    for (const struct hth_session *s = model->sessions; s; s = s->next) {
        struct device_need need;
        enum hth_status status = placing_measure_session(placing, model->devices[d].vk, d, &s->opt,
                                                         &need, &model->keeping.log);
        if (status)
            return status;
        all += session_bytes(&need);
    }
    *beyond = all > planned ? all - planned : 0;
    return HTH_OK;
}

/* Is there room for all open sessions? Where there is not, less is planned for next time. */
static enum hth_status fit_sessions(const struct hth_model *model, bool last,
                                    struct placing_devices *devices, bool *fits)
{
    const struct placing *placing = &model->placing;
    *fits = true;
    for (int d = 1; d < model->n_devices; d++) {
        uint64_t beyond, planned_for = model->devices[d].keeping.planned_for;
        if (!placing->split.used[d])
            continue;
        enum hth_status status = measure_sessions(model, d, &beyond);
        if (status)
            return status;
        uint64_t need = device_need_all(&placing->need[d]);
        if (need + beyond <= planned_for)
            continue;
        uint64_t over = need + beyond - planned_for;
        devices->most[d] = !last && need > over ? need - over : 1;
        *fits = false;
    }
    return HTH_OK;
}

/* A plan with room for all open sessions. */
static enum hth_status decide(struct hth_model *model)
{
    enum { ROUNDS = 6 };
    struct placing *placing = &model->placing;
    struct placing_devices devices = {.n = model->n_devices};
    for (int d = 1; d < model->n_devices; d++) {
        devices.vk[d] = model->devices[d].vk;
        devices.most[d] = model->devices[d].keeping.most;
    }
    bool fits = false;
    for (int round = 0; !fits; round++) {
        enum hth_status status = placing_decide(placing, &devices, &model->keeping.log);
        for (int d = 1; d < model->n_devices && round == 0; d++)
            model->devices[d].keeping.planned_for = placing->budget[d];
        if (status == HTH_OK)
            status = fit_sessions(model, round >= ROUNDS, &devices, &fits);
        if (status)
            return status;
    }
    return HTH_OK;
}

/* Is a weight read from the file again, whatever the CPU has of it: when it is streamed, with every
 * prompt, and of experts when they change places? */
static bool is_read_again(const struct placing *placing, const struct weight *weight)
{
    int layer = split_is_experts(weight) ? model_layer_of(weight->name) : -1;
    bool changes =
        layer >= 0 && layer < placing->model->hp.n_layer && placing_caches(placing, layer);
    return changes || placing->split.streamed[weight->index];
}

/* The CPU's matrices are copied as it likes them best, all or, where memory is short, none: what is
 * read again from the file must stay in memory beside the copies, or it would come from the disk
 * every time. */
static enum hth_status open_interleaved(struct hth_model *model)
{
    const struct placing *placing = &model->placing;
    uint64_t bytes = 0, again = 0, room = os_memory_available_bytes();
    for (size_t i = 0; i < model->model->n_weights; i++) {
        const struct weight *weight = model->model->weights[i];
        uint64_t own = placing_host_bytes(placing, weight);
        bytes += own;
        again += is_read_again(placing, weight) ? own : 0;
    }
    if (model->opt.ram_bytes && model->opt.ram_bytes < room)
        room = model->opt.ram_bytes;
    room -= room / 8;
    if (model->opt.no_repack || bytes == 0 || bytes > room)
        return HTH_OK;
    if (!model->synth.ptr && again > room - bytes) { /* what is made is in memory anyway */
        log_info(&model->log,
                 "the CPU reads weights as the file has them: beside copies of them the %.1f MiB "
                 "that are read there again would not stay in memory",
                 (double)again / (1 << 20));
        return HTH_OK;
    }
    struct interleaved_options options = {.most_bytes = room,
                                          .let_go = model->synth.ptr || again ? NULL : os_map_drop};
    return interleaved_create(&model->interleaved, model->model->n_weights, &options,
                              &model->keeping.log);
}

/* Experts that are divided change places, as uses change. */
static enum hth_status open_experts(struct hth_model *model)
{
    struct placing *placing = &model->placing;
    struct experts_options options = {.model = model->model,
                                      .split = &placing->split,
                                      .place = &model->devices[EXPERTS_DEVICE].place,
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
    for (int d = 1; d < model->n_devices; d++)
        place_free(&model->devices[d].place);
    interleaved_destroy(model->interleaved);
    model->interleaved = NULL;
}

/* A device leaves; nothing of the model is there. Those behind it have another number then. */
static void drop_device(struct hth_model *model, int d)
{
    struct model_device *devices = model->devices;
    vk_close(devices[d].vk);
    proof_free(&devices[d].proof);
    kernels_free(&devices[d].kernels);
    placing_drop_device(&model->placing, d);
    model->n_devices--;
    memmove(&devices[d], &devices[d + 1], (size_t)(model->n_devices - d) * sizeof *devices);
    devices[model->n_devices] = (struct model_device){0};
}

/* Drops those that the plan puts nothing on; were there any? */
static bool drop_unused(struct hth_model *model)
{
    int before = model->n_devices;
    for (int d = before; d-- > 1;)
        if (!model->placing.split.used[d])
            drop_device(model, d);
    return model->n_devices < before;
}

/* When the model is opened, devices that have no part of it are closed; later they may get one. The
 * others then have other numbers. */
static enum hth_status decide_devices(struct hth_model *model)
{
    enum hth_status status = decide(model);
    while (status == HTH_OK && !model->keeping.opened && drop_unused(model) && model->n_devices > 1)
        status = decide(model);
    return status;
}

static enum hth_status place_once(struct hth_model *model)
{
    free_weights(model);
    enum hth_status status = decide_devices(model);
    if (status == HTH_OK)
        status = open_interleaved(model);
    if (status)
        return status;
    forget(model); /* measuring does without what it cannot have */
    status = load(model);
    return status ? status : open_experts(model);
}

/* --- getting over failures -------------------------------------------------------------------- */

static void calm_longer(struct keeping *keeping)
{
    keeping->calm_ns = 2 * keeping->calm_ns < CALM_MOST_NS ? 2 * keeping->calm_ns : CALM_MOST_NS;
    keeping->cramped_ns = os_time_ns();
}

enum trouble { TROUBLE_OTHER, TROUBLE_LOST, TROUBLE_REFUSED };

static bool has_refused(const struct model_device *device)
{
    uint64_t had;
    return vk_refusals(device->vk, &had) != device->keeping.n_refused;
}

/* What ended with `status` on the device. */
static enum trouble trouble_of(const struct hth_model *model, enum hth_status status)
{
    bool memory = status == HTH_ERROR_MEMORY || status == HTH_ERROR_LIMIT;
    bool lost = false, refused = false;
    for (int d = 1; d < model->n_devices; d++) {
        lost |= vk_is_lost(model->devices[d].vk);
        refused |= has_refused(&model->devices[d]);
    }
    if (status == HTH_ERROR_DEVICE_LOST && lost)
        return TROUBLE_LOST;
    return memory && refused ? TROUBLE_REFUSED : TROUBLE_OTHER;
}

static const char *reason(const struct keeping *keeping)
{
    return keeping->kept[0] ? keeping->kept : "the driver says no more";
}

/* One of several has its name. */
static const char *called(const struct hth_model *model, int d)
{
    return model->n_devices > 2 ? vk_get_caps(model->devices[d].vk)->name : "the GPU";
}

/* Plans for what the device had when it refused more; where that was said before, for half. */
static void plan_for_less(struct hth_model *model, int d)
{
    struct keeping_device *keeping = &model->devices[d].keeping;
    uint64_t had;
    vk_refusals(model->devices[d].vk, &had);
    bool first = keeping->most > keeping->planned_for;
    if (first)
        log_warning(&model->log,
                    "%s had less memory than the driver had granted: planned again with what "
                    "is left (%s)",
                    called(model, d), reason(&model->keeping));
    keeping->most = first || had < keeping->most / 2 ? had : keeping->most / 2;
    calm_longer(&model->keeping);
}

/* What a device was, while it is opened again. */
struct lost_device {
    int index;
    char name[256];
};

static struct lost_device lost_device_of(const struct hth_model *model, int d)
{
    const struct vk *vk = model->devices[d].vk;
    struct lost_device lost = {.index = vk_get_index(vk)};
    snprintf(lost.name, sizeof lost.name, "%s", vk_get_caps(vk)->name);
    return lost;
}

/* The same device, or where it was the only one what the options ask for now; NULL: neither. */
static struct vk *open_again(struct hth_model *model, const struct lost_device *lost)
{
    const struct log *log = &model->keeping.log;
    struct device_list list = {.index = {lost->index}, .n = 1};
    struct vk *vk = NULL;
    bool only = model->n_devices == 2;
    if (only && device_choose_now(&list, model->opt.device, log))
        return NULL;
    if (list.n == 0 || device_open_at(&vk, list.index[0], &model->opt, log))
        return NULL;
    if (only || strcmp(vk_get_caps(vk)->name, lost->name) == 0)
        return vk;
    vk_close(vk);
    return NULL;
}

/* Nothing of the model is on the device any more. */
static void reopen_device(struct hth_model *model, int d)
{
    struct model_device *device = &model->devices[d];
    const struct lost_device lost = lost_device_of(model, d);
    bool only = model->n_devices == 2, again = ++device->keeping.n_lost < MOST_LOSSES;
    const char *called = only ? "the GPU" : lost.name;
    device->keeping.n_well = 0;
    vk_close(device->vk);
    device->vk = NULL;
    if (again) {
        log_warning(&model->log,
                    "%s was lost: it is opened again, and what it held is made anew (%s)", called,
                    reason(&model->keeping));
        device->vk = open_again(model, &lost);
    }
    if (device->vk)
        return;
    log_warning(&model->log, "%s %s, and all goes on %s (%s)", called,
                again ? "was lost and cannot be opened again" : "is lost again and again",
                only ? "on the CPU" : "without it", reason(&model->keeping));
    drop_device(model, d);
}

/* Makes that what failed can be tried again; weights and sessions have left. */
static void get_over(struct hth_model *model, enum trouble trouble)
{
    for (int d = model->n_devices; d-- > 1;) {
        const struct model_device *device = &model->devices[d];
        if (trouble == TROUBLE_LOST && vk_is_lost(device->vk))
            reopen_device(model, d);
        else if (trouble == TROUBLE_REFUSED && has_refused(device))
            plan_for_less(model, d);
    }
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
    for (int d = 1; d < model->n_devices; d++) {
        struct keeping_device *keeping = &model->devices[d].keeping;
        if (keeping->n_lost > 0 && ++keeping->n_well >= WELL_AGAIN)
            keeping->n_lost = 0;
    }
}

/* --- moving ----------------------------------------------------------------------------------- */

static bool any_stands_in(const struct machine *machine)
{
    bool any = false;
    for (int d = 1; d < machine->n_devices; d++)
        any |= machine->devices[d].stands_in;
    return any;
}

/* Bytes of units that are on no GPU; *least: of the smallest that is worth it there. A device that
 * stands in for a GPU takes what fits, whatever that gains. */
static uint64_t bytes_left_out(const struct placing *placing, uint64_t *least)
{
    bool takes_all = any_stands_in(&placing->machine);
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

/* What of a device may be in use, and is. */
struct room {
    uint64_t room, held, margin;
};

static struct room room_of(const struct hth_model *model, int d)
{
    struct room room = {.held = vk_allocated_bytes(model->devices[d].vk, VK_MEMORY_DEVICE)};
    room.room = plan_room(model->devices[d].vk, &model->opt, &room.margin);
    return room;
}

/* There is more room than was planned for: enough for all that is left out (then all goes there),
 * or for a good part of what is there? */
static bool is_worth_it(const struct hth_model *model, int d, const struct room *room)
{
    const struct placing *placing = &model->placing;
    const struct units *units = &placing->units;
    uint64_t least, all = bytes_left_out(placing, &least);
    uint64_t extra = placing->split.used[d] ? 0 : units->working_bytes + units->taken_bytes[d];
    uint64_t planned = model->devices[d].keeping.planned_for;
    if (all == 0 || room->room <= planned)
        return false;
    if (room->room >= room->held + extra + all)
        return true;
    return least < UINT64_MAX && room->room >= room->held + extra + least &&
           room->room - planned >= room->held / 8;
}

static double mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

/* By a new plan for what there is now, as device `d` has more or less room. */
static enum hth_status move(struct hth_model *model, int d, uint64_t room)
{
    const struct placing *placing = &model->placing;
    uint64_t before = device_need_all(&placing->need[d]);
    leave(model, false);
    for (int i = 1; i < model->n_devices; i++)
        model->devices[i].keeping.most = UINT64_MAX;
    enum hth_status status = place(model);
    if (status)
        return status;
    uint64_t now = d < model->n_devices ? device_need_all(&placing->need[d]) : before;
    if (now < before)
        log_warning(&model->log,
                    "another program takes %s's memory, of which %.1f MiB may be used: %.1f "
                    "MiB went %s; now %s",
                    called(model, d), mib(room), mib(before - now),
                    model->n_devices > 2 ? "elsewhere" : "to the host's memory", placing->sentence);
    else if (now > before)
        log_info(&model->log,
                 "%.1f MiB of %s's memory may be used again: %.1f MiB went back there; now %s",
                 mib(room), called(model, d), mib(now - before), placing->sentence);
    calm_longer(&model->keeping);
    return HTH_OK;
}

/* Budgets are given back bit by bit and taken again: only room that has been there for a while is
 * used, and longer each time. */
static enum hth_status follow_budgets(struct hth_model *model, uint64_t now_ns)
{
    struct keeping *keeping = &model->keeping;
    struct room worth = {0};
    int worth_it = 0;
    for (int d = 1; d < model->n_devices; d++) {
        struct room room = room_of(model, d);
        uint64_t slack = keeping->slack_bytes < room.margin ? keeping->slack_bytes : room.margin;
        if (model->placing.split.used[d] && room.held > room.room && room.held - room.room > slack)
            return move(model, d, room.room);
        if (!worth_it && is_worth_it(model, d, &room)) {
            worth_it = d;
            worth = room;
        }
    }
    if (!worth_it)
        keeping->cramped_ns = now_ns;
    else if (now_ns - keeping->cramped_ns >= keeping->calm_ns)
        return move(model, worth_it, worth.room);
    return HTH_OK;
}

enum hth_status keeping_poll(struct hth_model *model)
{
    struct keeping *keeping = &model->keeping;
    uint64_t now_ns = os_time_ns();
    enum hth_status status = HTH_OK;
    if (keeping->placed && model->n_devices > 1 &&
        now_ns - keeping->polled_ns >= keeping->every_ns) {
        keeping->polled_ns = now_ns;
        status = follow_budgets(model, now_ns);
    }
    return status || keeping->placed ? status : place(model);
}

/* Kernels that are new to this device are compared with the CPU. Where for an op none is right, the
 * CPU runs the model, unless the device was asked for: then compiling says what is missing. */
static enum hth_status prove_device(struct hth_model *model, int d)
{
    const char *asked = model->opt.device;
    struct model_device *device = &model->devices[d];
    struct proof *proof = &device->proof;
    proof->heard = model->keeping.kept;
    proof->tuned = &device->kernels.table;
    proof->most_seconds = model->opt.self_test_s > 0 ? model->opt.self_test_s : PROVE_SECONDS;
    model->keeping.kept[0] = '\0';
    enum hth_status status =
        prove_model(proof, device->vk, model->model, &model->opt.session, &model->keeping.log);
    if (proof->n_untuned) {
        enum hth_status stored = kernels_store(&device->kernels, &model->log);
        status = status ? status : stored;
    }
    if (status == HTH_OK && proof->unfit[0] && (!asked || !*asked || strcmp(asked, "auto") == 0)) {
        log_warning(&model->log, "%s is not used: no kernel for %s is right on it",
                    vk_get_caps(device->vk)->name, proof->unfit);
        drop_device(model, d);
    }
    return status;
}

static enum hth_status prove_devices(struct hth_model *model)
{
    enum hth_status status = HTH_OK;
    if (model->opt.self_test_s < 0 || model->rows)
        return HTH_OK;
    for (int d = model->n_devices; d-- > 1 && status == HTH_OK;)
        status = prove_device(model, d);
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

/* Of rows that are named only those run, as they are by themselves. */
static enum hth_status load_kernels(struct hth_model *model)
{
    enum hth_status status = HTH_OK;
    if (model->opt.untuned || model->rows)
        return HTH_OK;
    for (int d = 1; d < model->n_devices && status == HTH_OK; d++) {
        const struct vk_caps *caps = vk_get_caps(model->devices[d].vk);
        struct kernels *kernels = &model->devices[d].kernels;
        status = kernels_load(kernels, caps, &model->log);
        int n = kernels_count(kernels);
        if (n)
            log_info(&model->log,
                     "%s: for %d kinds of operations the kernels that hearth tune found",
                     caps->name, n);
    }
    return status;
}

static void begin_placing(struct hth_model *model)
{
    model->placing = (struct placing){.model = model->model,
                                      .opt = model->opt,
                                      .pool = model->pool,
                                      .rows = model->rows,
                                      .session = model->opt.session};
    for (int d = 1; d < SPLIT_DEVICES; d++) {
        model->placing.bars[d] = &model->devices[d].proof.bars;
        model->placing.tuned[d] = &model->devices[d].kernels.table;
    }
}

/* Of several, those that can be opened are used. */
static enum hth_status open_devices(struct hth_model *model)
{
    struct device_list list;
    enum hth_status status = device_choose_now(&list, model->opt.device, &model->keeping.log);
    model->n_devices = 1;
    if (status)
        return status;
    for (int i = 0; i < list.n; i++) {
        struct model_device *device = &model->devices[model->n_devices];
        status = device_open_at(&device->vk, list.index[i], &model->opt, &model->keeping.log);
        device->keeping.most = UINT64_MAX;
        if (status == HTH_OK)
            model->n_devices++;
        else if (list.n > 1)
            log_warning(&model->log, "vulkan:%d is not used, as it cannot be opened (%s)",
                        list.index[i], reason(&model->keeping));
    }
    return model->n_devices > 1 ? HTH_OK : status;
}

enum hth_status keeping_open(struct hth_model *model)
{
    struct keeping *keeping = &model->keeping;
    *keeping = (struct keeping){.log = {hear, model, model->log.max_level},
                                .every_ns = POLL_EVERY_NS,
                                .calm_ns = CALM_NS,
                                .slack_bytes = UINT64_MAX,
                                .polled_ns = os_time_ns(),
                                .cramped_ns = os_time_ns()};
    keeping_begin(model);
    enum hth_status status = open_devices(model);
    if (status == HTH_OK)
        status = use_tuned(model);
    if (status == HTH_OK)
        status = load_kernels(model);
    begin_placing(model);
    if (status == HTH_OK)
        status = prove_devices(model);
    status = keeping_end(model, status ? status : place(model));
    keeping->opened = true;
    return status;
}

void keeping_drop_devices(struct hth_model *model)
{
    while (model->n_devices > 1)
        drop_device(model, model->n_devices - 1);
}

void keeping_close(struct hth_model *model)
{
    free_weights(model);
    keeping_drop_devices(model);
    placing_free(&model->placing);
}
