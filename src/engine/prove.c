#include "engine/prove.h"

#include <stdio.h>

#include "base/mem.h"
#include "engine/begun.h"
#include "engine/engine.h"
#include "engine/kept.h"
#include "gpu/table.h"

/* A process may end at any time for other reasons, hardly twice in one of many kernels. */
enum { PROOF_VERSION = 2, CHECKED_BEST = 8, MOST_ENDED = 2 };

/* {"of": "…", "right": {"what was checked": NMSE, …}, "wrong": [{"row", "blob", "why"}, …]} */
static const char OF[] = "of", RIGHT[] = "right", WRONG[] = "wrong";
static const char ROW[] = "row", BLOB[] = "blob", WHY[] = "why";

struct prover {
    struct proof *proof;
    struct selftest test;
    struct row_env env;
    const struct model *model;
    const struct kv_geom *kv;
    int n_outputs; /* of a batch, at most */
    struct strbuf path;
    json_t *root;
    struct begun begun;
    bool changed; /* a row was barred: what is fused may be other ops */
    bool news;    /* there is something to keep */
    bool no_room; /* for checking */
};

/* --- the record ------------------------------------------------------------------------------- */

static enum hth_status out_of_memory(const struct prover *p)
{
    return log_fail_memory(p->test.log, "the self-test's record", 0);
}

/* Takes over the rows that the file bars. False: no memory. */
static bool take_bars(struct prover *p)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(p->root, WRONG), i, item)
    {
        const char *row = json_string_value(json_object_get(item, ROW));
        const char *blob = json_string_value(json_object_get(item, BLOB));
        const char *why = json_string_value(json_object_get(item, WHY));
        if (!row || !blob)
            continue;
        if (!row_bars_add(&p->proof->bars, row, blob))
            return false;
        log_warning(p->test.log, "%s: the kernel %s (%s) is not used, as %s: %s", p->env.caps->name,
                    row, blob, p->path.ptr, why ? why : "it is wrong");
    }
    return true;
}

static enum hth_status load(struct prover *p)
{
    struct strbuf of = {0};
    strbuf_printf(&of, "%d; ", PROOF_VERSION);
    kept_of(p->env.caps, &of);
    (void)kept_path("selftest", p->env.caps, &p->path); /* "": nothing is kept */
    enum hth_status status = kept_load(&p->path, &of, &p->root, NULL, p->test.log);
    if (p->root && (!json_is_object(json_object_get(p->root, RIGHT)) ||
                    !json_is_array(json_object_get(p->root, WRONG)))) {
        kept_ignore(&p->path, "it is cut short", p->test.log);
        json_decref(p->root);
        p->root = NULL;
    }
    if (status == HTH_OK && !p->root)
        p->root = json_pack("{s:s, s:{}, s:[]}", OF, of.ptr, RIGHT, WRONG);
    strbuf_free(&of);
    if (status)
        return status;
    return p->root && take_bars(p) ? HTH_OK : out_of_memory(p);
}

static enum hth_status store(struct prover *p)
{
    if (!p->news || !p->path.ptr)
        return HTH_OK;
    return kept_store(&p->path, json_incref(p->root), "kernels are checked again next time",
                      p->test.log);
}

/* --- checking --------------------------------------------------------------------------------- */

/* Does the host do it where no row is right? */
static bool is_hosts(const struct op *op)
{
    return op->kind == OP_TOP_K;
}

/* Says why a row is barred, and what takes its place. */
static enum hth_status bar(struct prover *p, const struct op *op, const struct row_pick *pick,
                           const char *why)
{
    const char *row = pick->row->name, *blob = pick->choice.blob->name;
    struct row_choice next_choice;
    json_t *item = json_pack("{s:s, s:s, s:s}", ROW, row, BLOB, blob, WHY, why);
    if (json_array_append_new(json_object_get(p->root, WRONG), item) ||
        !row_bars_add(&p->proof->bars, row, blob))
        return out_of_memory(p);
    p->changed = p->news = true;
    const struct row *next = row_select(&p->env, op, &next_choice);
    const char *instead = next ? next->name : is_hosts(op) ? "the CPU" : NULL;
    log_warning(p->test.log,
                "%s: the kernel %s (%s) is not used from now on, as a self-test found: %s; %s%s%s",
                p->env.caps->name, row, blob, why, instead ? "in its place: " : "nothing else fits",
                instead ? instead : "", instead ? "; hearth selftest writes a report" : "");
    return HTH_OK;
}

/* Did measuring propose it, and nothing else? */
static bool is_tuned(const struct prover *p, const struct op *op, const struct row_pick *pick)
{
    struct row_env plain = p->env;
    struct row_choice choice;
    plain.tuned = NULL;
    return p->env.tuned && !(row_select(&plain, op, &choice) == pick->row &&
                             row_choice_equal(&choice, &pick->choice));
}

/* Such a shape is not used any more: the row may be right as it is by itself. */
static bool untune(struct prover *p, const struct op *op, const struct row_pick *pick)
{
    char class[sizeof p->proof->tuned->items->class];
    if (!is_tuned(p, op, pick))
        return false;
    struct table_entry *entry =
        table_class(&p->env, op, class, sizeof class) ? table_find(p->proof->tuned, class) : NULL;
    if (!entry || !entry->row[0])
        return false;
    log_warning(p->test.log,
                "%s: the kernel %s (%s) is not used as it was tuned, as a self-test found that it "
                "is wrong so",
                p->env.caps->name, pick->row->name, pick->choice.blob->name);
    table_clear(entry);
    p->proof->n_untuned++;
    p->changed = true;
    return true;
}

static enum hth_status bar_result(struct prover *p, const struct op *op,
                                  const struct row_pick *pick, const struct selftest_result *result)
{
    char why[256], numbers[128];
    selftest_explain(result, numbers, sizeof numbers);
    if (result->verdict == SELFTEST_WRONG)
        snprintf(why, sizeof why, "%s of rows of %lld: %s", op_def_of(op->kind)->name,
                 (long long)op->in[0]->ne[0], numbers);
    else
        snprintf(why, sizeof why, "it does not run: %.200s",
                 p->proof->heard[0] ? p->proof->heard : "the driver refuses it");
    return bar(p, op, pick, why);
}

/* What no process survives is not tried again; that is kept at once, as the next one may be as bad.
 */
static enum hth_status bar_ended(struct prover *p, const struct op *op, const struct row_pick *pick)
{
    char why[64];
    if (untune(p, op, pick))
        return HTH_OK;
    snprintf(why, sizeof why, "hearth was ended %d times while it ran", p->begun.n_ended);
    enum hth_status status = bar(p, op, pick, why);
    return status ? status : store(p);
}

static enum hth_status check_row(struct prover *p, const struct op *op, const struct row_pick *pick,
                                 int n_tokens, const char *name)
{
    struct selftest_result result;
    struct proof *proof = p->proof;
    if (begun_count(&p->begun, name) >= MOST_ENDED)
        return bar_ended(p, op, pick);
    begun_note(&p->begun, name);
    enum hth_status status = selftest_run(&p->test, op, pick, n_tokens, &result);
    if (status == HTH_ERROR_DEVICE_LOST && untune(p, op, pick))
        return status;
    if (status == HTH_ERROR_DEVICE_LOST) {
        enum hth_status said = bar(p, op, pick, "the device was lost while it ran");
        said = said ? said : store(p);
        return said ? said : status;
    }
    if (status == HTH_ERROR_MEMORY ||
        status == HTH_ERROR_LIMIT) { /* placing says what is missing */
        log_info(p->test.log, "no room for the self-test: the model runs without");
        p->no_room = proof->unfinished = true;
        return HTH_OK;
    }
    if (status)
        return status;
    proof->n_checked++;
    proof->seconds += (double)result.spent_ns / 1e9;
    if (result.verdict != SELFTEST_RIGHT && untune(p, op, pick))
        return HTH_OK;
    if (result.verdict != SELFTEST_RIGHT)
        return bar_result(p, op, pick, &result);
    p->news = true;
    json_t *right = json_object_get(p->root, RIGHT);
    return json_object_set_new(right, name, json_real(result.nmse)) ? out_of_memory(p) : HTH_OK;
}

/* Until a row is right, or none is left. */
static enum hth_status check_op(struct prover *p, const struct op *op, int n_tokens)
{
    for (;;) {
        struct row_pick pick;
        struct strbuf name = {0};
        pick.row = row_select(&p->env, op, &pick.choice);
        if (!pick.row) {
            if (!is_hosts(op))
                snprintf(p->proof->unfit, sizeof p->proof->unfit, "%s", op->label);
            return HTH_OK;
        }
        selftest_name(op, &pick, n_tokens, &name);
        enum hth_status status = name.failed ? out_of_memory(p) : HTH_OK;
        bool known = !name.failed && json_object_get(json_object_get(p->root, RIGHT), name.ptr);
        size_t n_bars = p->proof->bars.n + (size_t)p->proof->n_untuned;
        if (status == HTH_OK && !known && p->proof->seconds > p->proof->most_seconds)
            p->proof->unfinished = known = true;
        known |= p->no_room;
        if (status == HTH_OK && !known)
            status = check_row(p, op, &pick, n_tokens, name.ptr);
        strbuf_free(&name);
        if (status || p->proof->bars.n + (size_t)p->proof->n_untuned == n_bars)
            return status;
    }
}

/* With an output of each sequence, and more where more are wanted. */
static enum hth_status check_bucket(struct prover *p, int n_tokens)
{
    struct graph graph;
    int n_outputs = p->n_outputs < n_tokens ? p->n_outputs : n_tokens;
    const struct batch_size size = {n_tokens, gpu_output_bucket(n_outputs, n_tokens), CHECKED_BEST};
    enum hth_status status = whole_build(p->model, p->kv, &graph, size);
    if (status == HTH_OK)
        status = compile_fuse(&graph, &p->env);
    for (size_t i = 0; status == HTH_OK && i < graph.n_ops; i++)
        status = check_op(p, graph.ops[i], n_tokens);
    graph_free(&graph);
    return status;
}

int prove_buckets(int n_batch, int *buckets)
{
    static const int first[] = {1, ROW_FEW_TOKENS - 1};
    int largest = gpu_bucket(n_batch), n = 0;
    buckets[n++] = largest;
    for (size_t i = 0; i < ARRAY_LEN(first); i++)
        if (first[i] < largest)
            buckets[n++] = first[i];
    for (int bucket = 2; bucket < largest; bucket = gpu_bucket(bucket + 1))
        if (bucket != first[1])
            buckets[n++] = bucket;
    return n;
}

static enum hth_status check_buckets(struct prover *p, int n_batch)
{
    int buckets[PROVE_MAX_BUCKETS], n = prove_buckets(n_batch, buckets);
    enum hth_status status = HTH_OK;
    do {
        p->changed = false;
        p->proof->unfit[0] = '\0';
        for (int i = 0; i < n && status == HTH_OK; i++)
            status = check_bucket(p, buckets[i]);
    } while (status == HTH_OK && p->changed);
    return status;
}

enum hth_status prove_model(struct proof *proof, struct vk *vk, const struct model *model,
                            const struct hth_session_options *session, const struct log *log)
{
    struct hth_session_options filled = *session;
    session_fill(&filled, &model->hp);
    struct prover p = {.proof = proof,
                       .test = {vk, log},
                       .model = model,
                       .n_outputs =
                           filled.n_seqs > filled.n_outputs ? filled.n_seqs : filled.n_outputs,
                       .env = {.caps = vk_get_caps(vk),
                               .float_only = filled.float_only,
                               .bars = &proof->bars,
                               .tuned = proof->tuned,
                               .n_seqs = filled.n_seqs}};
    int n_layer = model->hp.n_layer;
    struct kv_geom *kv = mem_calloc((size_t)n_layer, sizeof *kv);
    if (!kv)
        return log_fail_memory(log, "the cache's shape", (size_t)n_layer * sizeof *kv);
    p.kv = kv;
    model_kv_geometry(model, session_kv_type(&filled), kv);
    enum hth_status status = kv_layout(kv, n_layer, log) ? HTH_OK : HTH_ERROR_LIMIT;
    if (status == HTH_OK)
        status = load(&p);
    if (status == HTH_OK) {
        begun_open(&p.begun, p.path.ptr);
        status = check_buckets(&p, filled.n_batch);
        begun_close(&p.begun);
    }
    if (status == HTH_OK)
        status = store(&p);
    json_decref(p.root);
    strbuf_free(&p.path);
    mem_free(kv);
    return status;
}

void proof_free(struct proof *proof)
{
    row_bars_free(&proof->bars);
}
