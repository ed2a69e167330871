#include "engine/placing.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "base/mem.h"
#include "engine/experts.h"
#include "engine/plan_part.h"
#include "plan/slots.h"

/* --- exact bytes ------------------------------------------------------------------------------ */

/* One of the GPUs that are planned for. */
struct gpu_side {
    const struct placing *placing;
    struct vk *vk;
    int device;
};

static bool is_wanted(void *user, const struct weight *weight, int64_t expert)
{
    const struct gpu_side *side = user;
    return split_has(&side->placing->split, side->device, weight, expert);
}

static bool is_streamed(void *user, const struct weight *weight, int64_t expert)
{
    return split_streams(user, weight, expert);
}

struct gpu_stream placing_stream(const struct placing *p, int device)
{
    bool streams = p->split.stream_from && p->split.stream_to == device;
    return (struct gpu_stream){
        .weights = (const struct weight *const *)p->model->weights,
        .n_weights = p->model->n_weights,
        .wanted = is_streamed,
        .user = (void *)(uintptr_t)&p->split,
        .ring_bytes = streams ? cost_ring_bytes(&p->units) : 0,
        .from = streams ? p->split.stream_from : 0,
    };
}

int placing_stream_from(const struct placing *p)
{
    int from = p->split.stream_from; /* programs are for buckets */
    return from ? gpu_bucket(from) / 2 + 1 : 0;
}

static enum hth_status build_gpu_part(void *user, struct graph *graph, struct batch_size size)
{
    return part_build(user, graph, size);
}

/* With the cache laid out by the split. */
static enum hth_status measure_exec(const struct gpu_side *side, const struct place *place,
                                    const struct hth_session_options *session,
                                    struct device_need *need, const struct log *log)
{
    const struct placing *p = side->placing;
    uint64_t page_bytes[SPLIT_DEVICES];
    int n_layer = p->model->hp.n_layer, stride = (int)div_up((uint64_t)session->n_ctx, KV_PAGE);
    struct kv_geom *kv = mem_calloc((size_t)n_layer, sizeof *kv);
    if (!kv)
        return log_fail_memory(log, "the cache's shape", (size_t)n_layer * sizeof *kv);
    struct model_part part = {p->model, &p->split, kv, side->device};
    model_kv_geometry(p->model, session_kv_type(session), kv);
    enum hth_status status = split_cache(&p->split, kv, n_layer, page_bytes, log);
    struct gpu_exec_options options = {
        .vk = side->vk,
        .place = place,
        .build = build_gpu_part,
        .user = &part,
        .float_only = session->float_only,
        .forced_rows = p->rows,
        .bars = p->bars[side->device],
        .tuned = p->tuned[side->device],
        .n_seqs = session->n_seqs,
        .table_stride = stride,
        .max_tokens = session->n_batch,
        .max_outputs = session->n_outputs,
        .kv_page_bytes = page_bytes[side->device],
        .n_kv_pages = session->n_seqs * stride,
        .stream = placing_stream(p, side->device),
    };
    struct gpu_need found = {0};
    options.n_best = best_of_gpu(p->model, &options, session->n_best);
    if (status == HTH_OK)
        status = gpu_exec_measure(&options, &found, log);
    need->cache = found.cache;
    need->work = found.work;
    need->ring = found.ring;
    mem_free(kv);
    return status;
}

enum hth_status placing_measure_session(const struct placing *p, struct vk *vk, int device,
                                        const struct hth_session_options *session,
                                        struct device_need *need, const struct log *log)
{
    struct place place;
    struct gpu_side side = {p, vk, device};
    struct place_options options = {.wanted = is_wanted, .user = &side};
    *need = (struct device_need){.fixed = vk_chunk_bytes(vk, 0)};
    enum hth_status status =
        place_measure(&place, vk_get_caps(vk), (const struct weight *const *)p->model->weights,
                      p->model->n_weights, &options, log);
    if (status)
        return status;
    need->weights = place.no_room ? UINT64_MAX / 4 : place.resident_bytes;
    status = measure_exec(&side, &place, session, need, log);
    place_free(&place);
    return status;
}

uint64_t placing_gpu_bytes(const struct placing *p)
{
    uint64_t bytes = 0;
    for (int d = 1; d < p->machine.n_devices; d++)
        bytes += device_need_all(&p->need[d]);
    return bytes;
}

/* --- the split of a plan ---------------------------------------------------------------------- */

static int device_of_weight(void *user, const struct weight *weight, int expert)
{
    const struct placing *p = user;
    int unit = p->units.unit_of_weight[weight->index];
    if (p->whole)
        return p->whole;
    if (expert < 0 && p->hand.weight_at[weight->index] >= 0)
        return p->hand.weight_at[weight->index];
    if (unit < 0)
        return SPLIT_HOST;
    struct choice choice = p->plan.items[unit].choice;
    if (expert < 0)
        return choice.device;
    int layer = p->units.items[unit].layer;
    int at = p->hand.expert_at[(size_t)layer * (size_t)p->hand.n_expert + (size_t)expert];
    return at >= 0 ? at : expert < choice.resident ? choice.device : SPLIT_HOST;
}

static int device_of_cache(void *user, int layer)
{
    const struct placing *p = user;
    int unit = p->units.layer_first[layer];
    while (p->units.items[unit].kind != UNIT_KV)
        unit++;
    return p->whole ? p->whole : p->plan.items[unit].choice.device;
}

/* Units are streamed but for tensors that were put elsewhere by hand. */
static bool weight_is_streamed(void *user, const struct weight *weight)
{
    const struct placing *p = user;
    int unit = p->units.unit_of_weight[weight->index];
    return unit >= 0 && p->hand.weight_at[weight->index] < 0 &&
           p->plan.items[unit].choice.mode == PREFILL_STREAM;
}

bool placing_caches(const void *placing, int layer)
{
    const struct placing *p = placing;
    if (p->whole || !p->plan.items || p->plan.turn.no_cache)
        return false;
    for (int i = p->units.layer_first[layer]; i < p->units.layer_first[layer + 1]; i++) {
        const struct unit *unit = &p->units.items[i];
        struct choice choice = p->plan.items[i].choice;
        if (unit->kind == UNIT_EXPERTS && choice.device > 0 && choice.resident > 0 &&
            choice.resident < unit->n)
            return true;
    }
    return false;
}

uint64_t placing_host_bytes(const struct placing *p, const struct weight *weight)
{
    int layer = split_is_experts(weight) ? model_layer_of(weight->name) : -1;
    bool all = layer >= 0 && layer < p->model->hp.n_layer && placing_caches(p, layer);
    return all ? weight->size_bytes : split_host_bytes(&p->split, weight);
}

double placing_expert_price(const struct placing *p)
{
    const struct machine_device *devices = p->machine.devices;
    return slots_price(devices[0].rate[RATE_READ], devices[EXPERTS_DEVICE].rate[RATE_COPY]);
}

uint64_t placing_expert_bytes(const struct placing *p)
{
    const double part = 1.0 / 8, least = 1 << 20; /* of a token's time */
    double rate = p->machine.devices[EXPERTS_DEVICE].rate[RATE_COPY];
    double tokens_per_s = p->plan.answer_tokens_per_s;
    double bytes = tokens_per_s > 0 ? part * rate / tokens_per_s : 0;
    return (uint64_t)(bytes > least ? bytes : least);
}

static enum hth_status split_by_plan(struct placing *p)
{
    struct split_choice choice = {.n_devices = p->machine.n_devices,
                                  .weight = device_of_weight,
                                  .cache = device_of_cache,
                                  .user = p};
    if (!p->whole && p->plan.stream_from > 0) {
        choice.streamed = weight_is_streamed;
        choice.stream_to = p->plan.stream_to;
        choice.stream_from = p->plan.stream_from;
    }
    split_free(&p->split);
    return split_create(&p->split, p->model, &choice);
}

/* --- telling ---------------------------------------------------------------------------------- */

/* Layers whose keys and values are on a GPU. */
static int layers_at(const struct placing *p, int device)
{
    int n = 0;
    for (int i = 0; i < p->model->hp.n_layer; i++)
        n += p->split.of_cache[i] == device;
    return n;
}

struct hth_plan_info placing_info(const struct placing *p)
{
    struct hth_plan_info info = {.n_ctx = p->session.n_ctx,
                                 .n_seqs = p->session.n_seqs,
                                 .n_batch = p->session.n_batch,
                                 .gpu_bytes = placing_gpu_bytes(p),
                                 .file_part = p->whole ? 0 : p->plan.file_part,
                                 .sentence = p->sentence};
    for (size_t i = 0; i < p->model->n_weights; i++) {
        uint64_t bytes = split_host_bytes(&p->split, p->model->weights[i]);
        info.host_weight_bytes += bytes;
        info.streamed_bytes += p->split.streamed[i] ? bytes : 0;
    }
    info.stream_from = placing_stream_from(p);
    for (int d = 1; d < p->machine.n_devices; d++) {
        info.gpu_weight_bytes += p->need[d].weights;
        info.gpu_kv_bytes += p->need[d].cache;
        info.gpu_budget_bytes += p->split.used[d] ? p->budget[d] : 0;
        info.n_gpus += p->split.used[d];
        info.n_layers_kv_gpu += layers_at(p, d);
    }
    info.divided = p->machine.n_devices > 1 && !p->whole;
    info.host_kv_bytes = p->plan.heaps[0].kv;
    info.prompt_tokens_per_s = p->plan.prompt_tokens_per_s;
    info.answer_tokens_per_s = p->plan.answer_tokens_per_s;
    info.estimated = p->plan.estimated;
    return info;
}

static double mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

static void say(struct placing *p, const char *format, ...) ATTR_PRINTF(2, 3);

/* Appends to the sentence. */
static void say(struct placing *p, const char *format, ...)
{
    size_t n = strlen(p->sentence);
    va_list args;
    va_start(args, format);
    vsnprintf(p->sentence + n, sizeof p->sentence - n, format, args);
    va_end(args);
}

/* "A and B": GPUs with a part, or all of them. */
static void say_gpus(struct placing *p, bool with_part)
{
    const char *and = "";
    for (int d = 1; d < p->machine.n_devices; d++)
        if (!with_part || p->split.used[d]) {
            say(p, "%s%s", and, p->machine.devices[d].name);
            and = " and ";
        }
}

/* Why not all of it is on a GPU. */
static void say_why(struct placing *p)
{
    uint64_t most = 0;
    for (int d = 1; d < p->machine.n_devices; d++)
        most = p->budget[d] > most ? p->budget[d] : most;
    if (!p->whole_bytes)
        say(p, "as asked for");
    else if (p->machine.n_devices == 2)
        say(p, "all of it would take %.1f MiB of the %.1f to use", mib(p->whole_bytes), mib(most));
    else
        say(p, "all of it would take %.1f MiB, and no GPU has more than %.1f to use",
            mib(p->whole_bytes), mib(most));
}

/* "… are on A, … on B": each GPU's part. */
static void say_parts(struct placing *p)
{
    const char *are = "are ";
    for (int d = 1; d < p->machine.n_devices; d++)
        if (p->split.used[d]) {
            say(p, "%.1f MiB of weights and the keys and values of %d of %d layers %son %s, ",
                mib(p->need[d].weights), layers_at(p, d), p->model->hp.n_layer, are,
                p->machine.devices[d].name);
            are = "";
        }
}

static void say_where(struct placing *p, const struct hth_plan_info *info)
{
    if (p->machine.n_devices == 1 || p->whole) {
        say(p, "all of it is on ");
        if (p->whole)
            say_gpus(p, true);
        else
            say(p, "%s", p->machine.devices[SPLIT_HOST].name);
    } else if (!info->gpu_bytes) {
        say(p, "all of it is with the CPU and nothing on ");
        say_gpus(p, false);
        say(p, ", as ");
        if (p->whole_bytes)
            say_why(p);
        else
            say(p, "asked for or as there is no room");
    } else {
        say_parts(p);
        say(p, "%.1f MiB of weights with the CPU, ", mib(info->host_weight_bytes));
        say_why(p);
    }
}

static void tell(struct placing *p)
{
    struct hth_plan_info info = placing_info(p);
    p->sentence[0] = '\0';
    say_where(p, &info);
    if (info.stream_from)
        say(p,
            "; %.1f MiB of the CPU's pass through the GPU where %d tokens or more are "
            "computed at once",
            mib(info.streamed_bytes), info.stream_from);
    if (info.file_part > 0)
        say(p,
            "; RAM is too small: %.0f %% of what the CPU should hold is read from the "
            "file for every token",
            100 * info.file_part);
    if (info.answer_tokens_per_s > 0)
        say(p, "; expected: prompt %.1f, answer %.1f tokens/s%s", info.prompt_tokens_per_s,
            info.answer_tokens_per_s, info.estimated ? " (estimated)" : "");
}

/* --- deciding --------------------------------------------------------------------------------- */

static struct plan_options plan_options_of(const struct placing *p)
{
    return (struct plan_options){
        .n_batch = p->session.n_batch, .skew = USUAL_EXPERT_SKEW, .as_run = true};
}

bool placing_as_measured(const struct placing *p)
{
    int n_threads = p->opt.n_threads;
    return (n_threads == 0 || n_threads == p->machine.n_threads) && !p->opt.no_repack;
}

/* Rates that a plan over `devices` (bits) rests on. All are measured where it decides by them,
 * where that is asked for, and where they were once and do not hold any more; formats and
 * caches that are new to a device, wherever it is measured. */
static enum hth_status know_rates(struct placing *p, const struct placing_devices *devices,
                                  unsigned mask, const struct log *log)
{
    struct machine *machine = &p->machine;
    bool decides = false;
    for (int d = 0; d < machine->n_devices; d++)
        decides |=
            machine->devices[d].outdated || (d > 0 && !p->whole && !machine->devices[d].stands_in);
    const struct plan_measuring measuring = {machine, devices->vk, p->pool};
    enum hth_status status = HTH_OK;
    if (!placing_as_measured(p))
        return HTH_OK;
    if (decides || p->opt.measure)
        status = plan_measure(&measuring, false, log);
    return status ? status : plan_measure_units(&measuring, &p->units, mask, log);
}

/* Everything on one GPU; what that is worth. */
static enum hth_status judge_whole(struct placing *p, struct plan *out, const struct log *log)
{
    struct plan_options options = plan_options_of(p);
    struct choice *choices = mem_calloc((size_t)p->units.n_units, sizeof *choices);
    if (!choices)
        return log_fail_memory(log, "a plan", (size_t)p->units.n_units * sizeof *choices);
    for (int i = 0; i < p->units.n_units; i++)
        choices[i] =
            (struct choice){.device = (int8_t)p->whole, .resident = (int16_t)p->units.items[i].n};
    enum hth_status status = plan_judge(out, &p->machine, &p->units, &options, choices, log);
    mem_free(choices);
    return status;
}

/* What all of it would take on one GPU. */
static enum hth_status measure_whole(struct placing *p, struct vk *vk, const struct log *log)
{
    int device = p->whole;
    enum hth_status status = split_by_plan(p);
    if (status == HTH_OK)
        status = placing_measure_session(p, vk, device, &p->session, &p->need[device], log);
    if (status == HTH_OK && (!p->whole_bytes || device_need_all(&p->need[device]) < p->whole_bytes))
        p->whole_bytes = device_need_all(&p->need[device]);
    return status;
}

/* Is there room for all of it on a GPU, and on which is it fastest? Then nothing needs deciding. */
static enum hth_status try_whole(struct placing *p, const struct placing_devices *devices,
                                 const struct log *log)
{
    struct device_need none = {0};
    int best = 0;
    for (int d = 1; d < devices->n; d++) {
        struct plan plan = {0};
        if (!hand_allows_whole(&p->hand, &p->units, d))
            continue;
        p->whole = d;
        enum hth_status status = measure_whole(p, devices->vk[d], log);
        bool fits = device_need_all(&p->need[d]) <= p->budget[d];
        if (status == HTH_OK && fits)
            status = know_rates(p, devices, 1u << d, log);
        if (status == HTH_OK && fits)
            status = judge_whole(p, &plan, log);
        if (status)
            return status;
        bool better = fits && (best == 0 || plan.turn_s < p->plan.turn_s);
        plan_free(better ? &p->plan : &plan);
        if (!better)
            continue;
        p->plan = plan;
        best = d;
    }
    p->whole = best;
    for (int d = 1; d < devices->n && best; d++)
        if (d != best)
            p->need[d] = none;
    return best ? split_by_plan(p) : HTH_OK;
}

/* What the split takes on each GPU. */
static enum hth_status measure_split(struct placing *p, const struct placing_devices *devices,
                                     const struct log *log)
{
    enum hth_status status = HTH_OK;
    for (int d = 1; d < devices->n && status == HTH_OK; d++) {
        p->need[d] = (struct device_need){0};
        if (p->split.used[d])
            status = placing_measure_session(p, devices->vk[d], d, &p->session, &p->need[d], log);
    }
    return status;
}

/* One plan for `budget` bytes of each GPU, with units cut anew, and what it takes there. */
static enum hth_status try_plan(struct placing *p, const struct placing_devices *devices,
                                const uint64_t *budget, uint64_t working, const struct log *log)
{
    struct plan_options options = plan_options_of(p);
    plan_free(&p->plan);
    units_free(&p->units);
    enum hth_status status = plan_cut_model(&p->units, p->model, &p->session, log);
    if (status)
        return status;
    p->units.working_bytes = working;
    for (int d = 1; d < p->machine.n_devices; d++)
        p->machine.devices[d].budget_bytes = budget[d];
    hand_bind(&p->hand, p->model, &p->machine, &p->units, working);
    status = plan_create(&p->plan, &p->machine, &p->units, &options, log);
    if (status == HTH_OK)
        status = split_by_plan(p);
    return status ? status : measure_split(p, devices, log);
}

/* What a GPU holds beside units, at most. */
static uint64_t held_beside(const struct placing *p)
{
    uint64_t most = 0;
    for (int d = 1; d < p->machine.n_devices; d++) {
        uint64_t held = p->need[d].fixed + p->need[d].work;
        most = held > most ? held : most;
    }
    return most;
}

/* Less to plan for where a plan takes too much; false: none does. */
static bool plan_for_less(const struct placing *p, uint64_t *budget, bool beside_known, bool last)
{
    bool any = false;
    for (int d = 1; d < p->machine.n_devices; d++) {
        uint64_t taken = device_need_all(&p->need[d]), planned = p->plan.heaps[d].planned;
        uint64_t over = taken > p->budget[d] ? taken - p->budget[d] : 0;
        any |= over > 0;
        if (over && beside_known)
            budget[d] = planned > over ? planned - over : 0;
        if (last)
            budget[d] = 0;
    }
    return any;
}

/* Plans count a little other than what is allocated: where one takes too much, the next knows what
 * devices hold beside units, or is made for so much less. */
static enum hth_status find_split(struct placing *p, const struct placing_devices *devices,
                                  const struct log *log)
{
    enum { ROUNDS = 8 };
    uint64_t budget[SPLIT_DEVICES], working = held_beside(p) + 1;
    memcpy(budget, p->budget, sizeof budget);
    for (int round = 0; round <= ROUNDS; round++) {
        enum hth_status status = try_plan(p, devices, budget, working, log);
        uint64_t held = held_beside(p);
        if (status || !plan_for_less(p, budget, held <= working, round + 1 == ROUNDS))
            return status;
        working = held > working ? held : working;
    }
    return log_fail(log, HTH_ERROR_LIMIT,
                    "no plan keeps to %llu MiB of device memory: use --device cpu",
                    (unsigned long long)(p->budget[1] >> 20));
}

enum hth_status placing_fit_batch(struct hth_session_options *session,
                                  const struct machine *machine, const struct units *units,
                                  const struct plan_options *options, const struct log *log)
{
    int n = session->n_batch, most = session->n_ctx * session->n_seqs;
    enum hth_status status = plan_choose_batch(&n, machine, units, options, log);
    if (n > session->n_batch)
        session->n_batch = gpu_bucket(n) < most ? gpu_bucket(n) : most;
    return status;
}

/* Where nobody has said how many tokens are computed at once. */
static enum hth_status choose_batch(struct placing *p, const struct log *log)
{
    const struct plan_options options = plan_options_of(p);
    int usual = p->session.n_batch;
    if (p->opt.session.n_batch)
        return HTH_OK;
    for (int d = 1; d < p->machine.n_devices; d++)
        p->machine.devices[d].budget_bytes = p->budget[d];
    hand_bind(&p->hand, p->model, &p->machine, &p->units, plan_working_bytes(&p->units, usual));
    enum hth_status status = placing_fit_batch(&p->session, &p->machine, &p->units, &options, log);
    if (p->session.n_batch > usual)
        p->batch = p->session.n_batch;
    return status;
}

/* All but what was said by hand. */
static void forget_plan(struct placing *p)
{
    struct placing kept = {.model = p->model,
                           .opt = p->opt,
                           .pool = p->pool,
                           .rows = p->rows,
                           .session = p->session,
                           .batch = p->batch,
                           .hand = p->hand,
                           .hand_read = p->hand_read};
    memcpy(kept.bars, p->bars, sizeof kept.bars);
    memcpy(kept.tuned, p->tuned, sizeof kept.tuned);
    plan_free(&p->plan);
    units_free(&p->units);
    split_free(&p->split);
    *p = kept;
}

static enum hth_status read_hand(struct placing *p, const struct log *log)
{
    if (p->hand_read)
        return HTH_OK;
    hand_free(&p->hand);
    enum hth_status status = plan_check_limits(&p->machine, &p->opt, log);
    if (status == HTH_OK)
        status = hand_read(&p->hand, p->model, &p->machine, &p->opt, log);
    p->hand_read = status == HTH_OK;
    return status;
}

/* What there is of each GPU. */
static void set_budgets(struct placing *p, const struct placing_devices *devices)
{
    for (int d = 1; d < devices->n; d++) {
        uint64_t budget = p->machine.devices[d].budget_bytes, most = devices->most[d];
        p->budget[d] = budget < most ? budget : most;
    }
}

enum hth_status placing_decide(struct placing *p, const struct placing_devices *devices,
                               const struct log *log)
{
    forget_plan(p);
    session_fill(&p->session, &p->model->hp);
    enum hth_status status = plan_own_machine(&p->machine, devices, &p->opt, log);
    if (status)
        return status;
    set_budgets(p, devices);
    status = read_hand(p, log);
    if (status == HTH_OK)
        status = plan_cut_model(&p->units, p->model, &p->session, log);
    if (status == HTH_OK)
        status = try_whole(p, devices, log);
    if (status == HTH_OK && !p->whole)
        status = know_rates(p, devices, ~0u, log);
    if (status == HTH_OK && !p->whole)
        status = choose_batch(p, log);
    if (status == HTH_OK && !p->whole)
        status = find_split(p, devices, log);
    if (status)
        return status;
    for (int d = 1; d < devices->n; d++) /* plans were made for less, maybe */
        p->machine.devices[d].budget_bytes = p->budget[d];
    if (devices->n > 1)
        hand_say_left_out(&p->hand, &p->machine, log);
    tell(p);
    return HTH_OK;
}

void placing_drop_device(struct placing *p, int device)
{
    if (p->hand_read)
        hand_drop_device(&p->hand, p->model, device);
}

void placing_free(struct placing *p)
{
    forget_plan(p);
    hand_free(&p->hand);
    p->hand_read = false;
}
