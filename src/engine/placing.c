#include "engine/placing.h"

#include <stdio.h>

#include "base/mem.h"
#include "engine/plan_part.h"
#include "plan/slots.h"

/* --- exact bytes ------------------------------------------------------------------------------ */

static bool is_wanted(void *user, const struct weight *weight, int64_t expert)
{
    return split_on_gpu(user, weight, expert);
}

static bool is_streamed(void *user, const struct weight *weight, int64_t expert)
{
    return split_streams(user, weight, expert);
}

struct gpu_stream placing_stream(const struct placing *p)
{
    return (struct gpu_stream){
        .weights = (const struct weight *const *)p->model->weights,
        .n_weights = p->model->n_weights,
        .wanted = is_streamed,
        .user = (void *)(uintptr_t)&p->split,
        .ring_bytes = p->split.stream_from ? cost_ring_bytes(&p->units) : 0,
        .from = p->split.stream_from,
    };
}

static enum hth_status build_gpu_part(void *user, struct graph *graph, struct batch_size size)
{
    return part_build(user, graph, size);
}

/* With the cache laid out by the split. */
static enum hth_status measure_exec(const struct placing *p, struct vk *vk,
                                    const struct place *place,
                                    const struct hth_session_options *session,
                                    struct device_need *need, const struct log *log)
{
    uint64_t page_bytes[SPLIT_DEVICES];
    int n_layer = p->model->hp.n_layer, stride = (int)div_up((uint64_t)session->n_ctx, KV_PAGE);
    struct kv_geom *kv = mem_calloc((size_t)n_layer, sizeof *kv);
    if (!kv)
        return log_fail_memory(log, "the cache's shape", (size_t)n_layer * sizeof *kv);
    struct model_part part = {p->model, &p->split, kv, SPLIT_GPU};
    model_kv_geometry(p->model, session_kv_type(session), kv);
    enum hth_status status = split_cache(&p->split, kv, n_layer, page_bytes, log);
    struct gpu_exec_options options = {
        .vk = vk,
        .place = place,
        .build = build_gpu_part,
        .user = &part,
        .float_only = session->float_only,
        .forced_rows = p->rows,
        .bars = p->bars,
        .n_seqs = session->n_seqs,
        .table_stride = stride,
        .max_tokens = session->n_batch,
        .max_outputs = session->n_outputs,
        .kv_page_bytes = page_bytes[SPLIT_GPU],
        .n_kv_pages = session->n_seqs * stride,
        .stream = placing_stream(p),
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

enum hth_status placing_measure_session(const struct placing *p, struct vk *vk,
                                        const struct hth_session_options *session,
                                        struct device_need *need, const struct log *log)
{
    struct place place;
    struct place_options options = {.wanted = is_wanted, .user = (void *)(uintptr_t)&p->split};
    *need = (struct device_need){.fixed = vk_chunk_bytes(vk, 0)};
    enum hth_status status =
        place_measure(&place, vk_get_caps(vk), (const struct weight *const *)p->model->weights,
                      p->model->n_weights, &options, log);
    if (status)
        return status;
    need->weights = place.no_room ? UINT64_MAX / 4 : place.resident_bytes;
    status = measure_exec(p, vk, &place, session, need, log);
    place_free(&place);
    return status;
}

/* --- the split of a plan ---------------------------------------------------------------------- */

static bool weight_on_gpu(void *user, const struct weight *weight, int expert)
{
    const struct placing *p = user;
    int unit = p->units.unit_of_weight[weight->index];
    if (p->whole)
        return true;
    if (expert < 0 && p->hand.weight_at[weight->index] >= 0)
        return p->hand.weight_at[weight->index] > 0;
    if (unit < 0)
        return false;
    struct choice choice = p->plan.items[unit].choice;
    if (expert < 0)
        return choice.device > 0;
    int layer = p->units.items[unit].layer;
    int at = p->hand.expert_at[(size_t)layer * (size_t)p->hand.n_expert + (size_t)expert];
    return at >= 0 ? at > 0 : choice.device > 0 && expert < choice.resident;
}

static bool cache_on_gpu(void *user, int layer)
{
    const struct placing *p = user;
    int unit = p->units.layer_first[layer];
    while (p->units.items[unit].kind != UNIT_KV)
        unit++;
    return p->whole || p->plan.items[unit].choice.device > 0;
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

bool placing_any_caches(const struct placing *p)
{
    bool any = false;
    for (int i = 0; i < p->model->hp.n_layer; i++)
        any |= placing_caches(p, i);
    return any;
}

uint64_t placing_host_bytes(const struct placing *p, const struct weight *weight)
{
    int layer = split_is_experts(weight) ? split_layer_of(weight->name) : -1;
    bool all = layer >= 0 && layer < p->model->hp.n_layer && placing_caches(p, layer);
    return all ? weight->size_bytes : split_host_bytes(&p->split, weight);
}

double placing_expert_price(const struct placing *p)
{
    const struct machine_device *devices = p->machine.devices;
    return slots_price(devices[0].rate[RATE_READ], devices[1].rate[RATE_COPY]);
}

uint64_t placing_expert_bytes(const struct placing *p)
{
    const double part = 1.0 / 8, least = 1 << 20; /* of a token's time */
    double rate = p->machine.devices[1].rate[RATE_COPY], tokens_per_s = p->plan.answer_tokens_per_s;
    double bytes = tokens_per_s > 0 ? part * rate / tokens_per_s : 0;
    return (uint64_t)(bytes > least ? bytes : least);
}

static enum hth_status split_by_plan(struct placing *p)
{
    struct split_choice choice = {.weight = weight_on_gpu, .cache = cache_on_gpu, .user = p};
    if (!p->whole && p->plan.stream_from > 0) {
        choice.streamed = weight_is_streamed;
        choice.stream_from = p->plan.stream_from;
    }
    split_free(&p->split);
    return split_create(&p->split, p->model, &choice);
}

/* --- telling ---------------------------------------------------------------------------------- */

struct hth_plan_info placing_info(const struct placing *p)
{
    struct hth_plan_info info = {.n_ctx = p->session.n_ctx,
                                 .n_seqs = p->session.n_seqs,
                                 .n_batch = p->session.n_batch,
                                 .gpu_weight_bytes = p->need.weights,
                                 .gpu_kv_bytes = p->need.cache,
                                 .gpu_bytes = device_need_all(&p->need),
                                 .file_part = p->whole ? 0 : p->plan.file_part,
                                 .sentence = p->sentence};
    for (size_t i = 0; i < p->model->n_weights; i++) {
        uint64_t bytes = split_host_bytes(&p->split, p->model->weights[i]);
        info.host_weight_bytes += bytes;
        info.streamed_bytes += p->split.streamed[i] ? bytes : 0;
    }
    if (p->split.stream_from) /* programs are for buckets */
        info.stream_from = gpu_bucket(p->split.stream_from) / 2 + 1;
    for (int i = 0; i < p->model->hp.n_layer; i++)
        info.n_layers_kv_gpu += p->split.of_cache[i] == SPLIT_GPU;
    info.gpu_budget_bytes = info.gpu_bytes ? p->budget : 0;
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

static void tell(struct placing *p, bool gpu)
{
    struct hth_plan_info info = placing_info(p);
    const char *name = p->machine.devices[gpu].name;
    char where[384], why[96] = "as asked for";
    if (p->whole_bytes)
        snprintf(why, sizeof why, "all of it would take %.1f MiB of the %.1f to use",
                 mib(p->whole_bytes), mib(p->budget));
    if (!gpu || p->whole)
        snprintf(where, sizeof where, "all of it is on %s", name);
    else if (!info.gpu_bytes)
        snprintf(where, sizeof where, "all of it is with the CPU and nothing on %s, as %s", name,
                 p->whole_bytes ? why : "asked for or as there is no room");
    else
        snprintf(where, sizeof where,
                 "%.1f MiB of weights and the keys and values of %d of %d layers are on %s, %.1f "
                 "MiB of weights with the CPU, %s",
                 mib(info.gpu_weight_bytes), info.n_layers_kv_gpu, p->model->hp.n_layer, name,
                 mib(info.host_weight_bytes), why);
    int n = snprintf(p->sentence, sizeof p->sentence, "%s", where);
    if (info.stream_from)
        n += snprintf(p->sentence + n, sizeof p->sentence - (size_t)n,
                      "; %.1f MiB of the CPU's pass through the GPU where %d tokens or more are "
                      "computed at once",
                      mib(info.streamed_bytes), info.stream_from);
    if (info.file_part > 0)
        n += snprintf(p->sentence + n, sizeof p->sentence - (size_t)n,
                      "; RAM is too small: %.0f %% of what the CPU should hold is read from the "
                      "file for every token",
                      100 * info.file_part);
    if (info.answer_tokens_per_s > 0)
        snprintf(p->sentence + n, sizeof p->sentence - (size_t)n,
                 "; expected: prompt %.1f, answer %.1f tokens/s%s", info.prompt_tokens_per_s,
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

/* Rates that a plan over `devices` (bits) rests on. All are measured where it decides by them, and
 * where that is asked for; formats that are new to a device, wherever it is measured. */
static enum hth_status know_rates(struct placing *p, struct vk *vk, unsigned devices,
                                  const struct log *log)
{
    struct machine *machine = &p->machine;
    bool as_measured = placing_as_measured(p);
    bool decides = vk && !p->whole && !machine->devices[1].stands_in;
    enum hth_status status = HTH_OK;
    if (!as_measured)
        return HTH_OK;
    if (decides || p->opt.measure)
        status = plan_measure(machine, vk, p->pool, false, log);
    return status ? status : plan_measure_formats(machine, &p->units, vk, p->pool, devices, log);
}

/* Everything on the GPU; what that is worth is only told. */
static enum hth_status judge_whole(struct placing *p, const struct log *log)
{
    struct plan_options options = plan_options_of(p);
    struct choice *choices = mem_calloc((size_t)p->units.n_units, sizeof *choices);
    if (!choices)
        return log_fail_memory(log, "a plan", (size_t)p->units.n_units * sizeof *choices);
    for (int i = 0; i < p->units.n_units; i++)
        choices[i] = (struct choice){.device = 1, .resident = (int16_t)p->units.items[i].n};
    plan_free(&p->plan);
    enum hth_status status = plan_judge(&p->plan, &p->machine, &p->units, &options, choices, log);
    mem_free(choices);
    return status;
}

/* Is there room for all of it? Then nothing needs deciding. */
static enum hth_status try_whole(struct placing *p, struct vk *vk, const struct log *log)
{
    if (!hand_allows_whole(&p->hand, &p->units))
        return HTH_OK;
    p->whole = true;
    enum hth_status status = split_by_plan(p);
    if (status == HTH_OK)
        status = placing_measure_session(p, vk, &p->session, &p->need, log);
    p->whole_bytes = device_need_all(&p->need);
    p->whole = p->whole_bytes <= p->budget;
    if (status == HTH_OK && p->whole)
        status = know_rates(p, vk, 1u << SPLIT_GPU, log);
    return status == HTH_OK && p->whole ? judge_whole(p, log) : status;
}

/* One plan for `budget` bytes of the device, with units cut anew, and what it takes there. */
static enum hth_status try_plan(struct placing *p, struct vk *vk, uint64_t budget, uint64_t working,
                                const struct log *log)
{
    struct plan_options options = plan_options_of(p);
    plan_free(&p->plan);
    units_free(&p->units);
    enum hth_status status = plan_cut_model(&p->units, p->model, &p->session, log);
    if (status)
        return status;
    p->units.working_bytes = working;
    if (p->machine.n_devices > 1)
        p->machine.devices[1].budget_bytes = budget;
    hand_bind(&p->hand, p->model, &p->machine, &p->units, working);
    status = plan_create(&p->plan, &p->machine, &p->units, &options, log);
    if (status == HTH_OK)
        status = split_by_plan(p);
    if (status == HTH_OK && p->split.used[SPLIT_GPU])
        status = placing_measure_session(p, vk, &p->session, &p->need, log);
    if (status == HTH_OK && !p->split.used[SPLIT_GPU])
        p->need = (struct device_need){0};
    return status;
}

/* Plans count a little other than what is allocated: where one takes too much, the next knows what
 * the device holds beside units, or is made for so much less. */
static enum hth_status find_split(struct placing *p, struct vk *vk, const struct log *log)
{
    enum { ROUNDS = 8 };
    uint64_t budget = p->budget, working = p->need.fixed + p->need.work + 1;
    for (int round = 0; round <= ROUNDS; round++) {
        enum hth_status status = try_plan(p, vk, budget, working, log);
        uint64_t taken = device_need_all(&p->need), held = p->need.fixed + p->need.work;
        if (status || taken <= p->budget)
            return status;
        uint64_t over = taken - p->budget;
        if (held > working)
            working = held;
        else
            budget = p->plan.heaps[1].planned > over ? p->plan.heaps[1].planned - over : 0;
        if (round + 1 == ROUNDS)
            budget = 0;
    }
    return log_fail(log, HTH_ERROR_LIMIT, "no plan keeps to %llu MiB of device memory",
                    (unsigned long long)(p->budget >> 20));
}

/* All but what was said by hand. */
static void forget_plan(struct placing *p)
{
    plan_free(&p->plan);
    units_free(&p->units);
    split_free(&p->split);
    *p = (struct placing){.model = p->model,
                          .opt = p->opt,
                          .pool = p->pool,
                          .rows = p->rows,
                          .bars = p->bars,
                          .session = p->session,
                          .hand = p->hand,
                          .hand_read = p->hand_read};
}

static enum hth_status read_hand(struct placing *p, const struct log *log)
{
    if (p->hand_read)
        return HTH_OK;
    hand_free(&p->hand);
    enum hth_status status = hand_read(&p->hand, p->model, &p->machine, &p->opt, log);
    p->hand_read = status == HTH_OK;
    return status;
}

enum hth_status placing_decide(struct placing *p, struct vk *vk, uint64_t most,
                               const struct log *log)
{
    forget_plan(p);
    session_fill(&p->session, &p->model->hp);
    enum hth_status status = plan_own_machine(&p->machine, vk, &p->opt, log);
    if (status)
        return status;
    p->budget = vk ? p->machine.devices[1].budget_bytes : 0;
    p->budget = p->budget < most ? p->budget : most;
    status = read_hand(p, log);
    if (status == HTH_OK)
        status = plan_cut_model(&p->units, p->model, &p->session, log);
    if (status == HTH_OK && vk)
        status = try_whole(p, vk, log);
    if (status == HTH_OK && !p->whole)
        status = know_rates(p, vk, vk ? ~0u : 1u << SPLIT_HOST, log);
    if (status == HTH_OK && !p->whole)
        status = find_split(p, vk, log);
    if (status)
        return status;
    p->machine.devices[1].budget_bytes = p->budget; /* plans were made for less, maybe */
    if (vk)
        hand_say_left_out(&p->hand, &p->machine, log);
    tell(p, vk != NULL);
    return HTH_OK;
}

void placing_free(struct placing *p)
{
    forget_plan(p);
    hand_free(&p->hand);
    p->hand_read = false;
}
