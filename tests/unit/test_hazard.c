#include "logits.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/engine.h"
#include "gpu/hazard.h"

/* The oracle of barriers. It knows nothing of hazard.c's arithmetic: memory is a few bytes, an
 * access is the set of bytes it touches, and every pair of steps is looked at. */

enum { CHUNKS = 3, CHUNK_BYTES = 20, MAX_STEPS = 40 };

struct touched {
    bool reads[CHUNKS][CHUNK_BYTES], writes[CHUNKS][CHUNK_BYTES];
};

static struct touched bytes_of(const struct access *access)
{
    struct touched out = {0};
    for (int i = 0; i < access->n_reads; i++)
        for (uint64_t b = access->reads[i].from; b < access->reads[i].to; b++)
            out.reads[access->reads[i].chunk][b] = true;
    for (int i = 0; i < access->n_writes; i++)
        for (uint64_t b = access->writes[i].from; b < access->writes[i].to; b++)
            out.writes[access->writes[i].chunk][b] = true;
    return out;
}

/* Read after write, write after read, write after write. */
static bool depends(const struct access *first, const struct access *second)
{
    struct touched a = bytes_of(first), b = bytes_of(second);
    for (int c = 0; c < CHUNKS; c++)
        for (int i = 0; i < CHUNK_BYTES; i++)
            if ((a.writes[c][i] && (b.reads[c][i] || b.writes[c][i])) ||
                (a.reads[c][i] && b.writes[c][i]))
                return true;
    return false;
}

typedef bool depends_fn(const struct access *first, const struct access *second);

/* The first pair without a barrier between; false: none. */
static bool find_unseparated(struct access *const *steps, size_t n, depends_fn *pair_depends,
                             size_t pair[2])
{
    for (size_t j = 1; j < n; j++)
        for (size_t i = j; i-- > 0 && !steps[i + 1]->barrier;)
            if (pair_depends(steps[i], steps[j])) {
                pair[0] = i;
                pair[1] = j;
                return true;
            }
    return false;
}

/* Every pair separated; and without any one of the barriers, some pair not. */
static void check_barriers(struct access *const *steps, size_t n, depends_fn *pair_depends)
{
    size_t pair[2];
    if (find_unseparated(steps, n, pair_depends, pair))
        fail_msg("steps %zu and %zu depend on each other without a barrier", pair[0], pair[1]);
    for (size_t i = 0; i < n; i++) {
        if (!steps[i]->barrier)
            continue;
        steps[i]->barrier = false;
        if (!find_unseparated(steps, n, pair_depends, pair))
            fail_msg("the barrier before step %zu separates nothing", i);
        steps[i]->barrier = true;
    }
}

static struct range random_range(struct rng *rng)
{
    uint64_t from = rng_below(rng, CHUNK_BYTES), size = 1 + rng_below(rng, 4);
    uint64_t to = from + size < CHUNK_BYTES ? from + size : CHUNK_BYTES;
    return (struct range){rng_below(rng, CHUNKS), from, to};
}

static void random_steps(struct rng *rng, struct access *steps, struct access **list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct access *step = list[i] = &steps[i];
        *step = (struct access){.n_reads = (int)rng_below(rng, 4),
                                .n_writes = (int)rng_below(rng, 3),
                                .barrier = rng_below(rng, 2)}; /* what stood there must not count */
        for (int r = 0; r < step->n_reads; r++)
            step->reads[r] = random_range(rng);
        for (int w = 0; w < step->n_writes; w++)
            step->writes[w] = random_range(rng);
    }
}

TEST(every_pair_is_separated_and_no_barrier_superfluous)
{
    static struct access steps[MAX_STEPS];
    struct access *list[MAX_STEPS];
    struct rng rng = rng_seed(1);
    size_t n_barriers = 0;
    for (int round = 0; round < 3000; round++) {
        size_t n = rng_below(&rng, MAX_STEPS + 1);
        random_steps(&rng, steps, list, n);
        hazard_solve(list, n);
        check_barriers(list, n, depends);
        for (size_t i = 0; i < n; i++)
            n_barriers += list[i]->barrier;
    }
    assert_true(n_barriers > 10000); /* the lists had something to separate */
}

TEST(pairs_depend_as_their_bytes_do)
{
    struct access steps[2], *list[2];
    struct rng rng = rng_seed(2);
    int n_dependent = 0;
    for (int round = 0; round < 20000; round++) {
        random_steps(&rng, steps, list, 2);
        bool want = depends(&steps[0], &steps[1]);
        assert_int_equal(hazard_between(&steps[0], &steps[1]), want);
        n_dependent += want;
    }
    assert_in_range(n_dependent, 2000, 18000);
}

/* Against all ways to place barriers. */
TEST(no_way_needs_fewer_barriers)
{
    enum { N = 8 };
    struct access steps[N], *list[N];
    struct rng rng = rng_seed(3);
    for (int round = 0; round < 200; round++) {
        random_steps(&rng, steps, list, N);
        hazard_solve(list, N);
        int solved = 0, fewest = N;
        for (int i = 0; i < N; i++)
            solved += steps[i].barrier;
        for (unsigned ways = 0; ways < 1u << N; ways++) {
            size_t pair[2];
            int n = 0;
            for (int i = 0; i < N; i++)
                n += steps[i].barrier = ways >> i & 1;
            if (n < fewest && !find_unseparated(list, N, depends, pair))
                fewest = n;
        }
        assert_int_equal(solved, fewest);
    }
}

TEST(edges_and_reads_do_not_depend)
{
    struct access a = {.writes = {{1, 0, 16}}, .n_writes = 1};
    struct access b = {.reads = {{1, 16, 32}, {2, 0, 16}}, .n_reads = 2};
    struct access *list[] = {&a, &b, &b};
    assert_false(hazard_between(&a, &b));
    assert_false(hazard_between(&b, &b));
    hazard_solve(list, 2);
    assert_false(a.barrier || b.barrier);
    hazard_solve(NULL, 0);
}

/* The oracle itself sees a barrier taken away. */
TEST(the_oracle_notices)
{
    struct access write = {.writes = {{0, 0, 4}}, .n_writes = 1};
    struct access other = {.writes = {{1, 0, 4}}, .n_writes = 1};
    struct access read = {.reads = {{0, 3, 5}}, .n_reads = 1};
    struct access *list[] = {&write, &other, &read};
    size_t pair[2];
    assert_true(find_unseparated(list, 3, depends, pair));
    assert_int_equal(pair[0], 0);
    assert_int_equal(pair[1], 2);
    hazard_solve(list, 3);
    assert_false(write.barrier || other.barrier);
    assert_true(read.barrier);
    assert_false(find_unseparated(list, 3, depends, pair));
}

/* --- a real program -----------------------------------------------------------------------------
 */

static bool ranges_meet(const struct range *a, const struct range *b)
{
    return a->chunk == b->chunk && (a->from < b->from ? b->from < a->to : a->from < b->to);
}

static bool lists_meet(const struct range *a, int n_a, const struct range *b, int n_b)
{
    bool meet = false;
    for (int i = 0; i < n_a * n_b; i++)
        meet |= ranges_meet(&a[i / n_b], &b[i % n_b]);
    return meet;
}

static bool depends_in_program(const struct access *first, const struct access *second)
{
    return lists_meet(first->writes, first->n_writes, second->reads, second->n_reads) ||
           lists_meet(first->reads, first->n_reads, second->writes, second->n_writes) ||
           lists_meet(first->writes, first->n_writes, second->writes, second->n_writes);
}

enum {
    CACHE = -1
}; /* ranges of the cache, whose contents outlive a batch, have chunk UINT32_MAX */

static void check_range(const struct program *program, const struct step *step,
                        const struct range *range, uint32_t *chunk)
{
    if (range->from >= range->to)
        fail_msg("%s, %s: an empty range", step->label, step->name);
    if (range->chunk == (uint32_t)CACHE)
        return;
    if (*chunk == 0)
        *chunk = range->chunk;
    assert_int_equal(range->chunk, *chunk); /* all activations lie in one */
    if (range->to > program->activation_bytes)
        fail_msg("%s, %s: bytes past the end of the activations", step->label, step->name);
}

/* What flows through the activations: whatever is read was written by a step before, and whatever
 * is written is read by a step after (or is the logits) before it is written over. */
static void check_flow(const struct program *program)
{
    /* of each byte: 1 + the last step that wrote it; and whether that was read */
    uint32_t *writer = mem_calloc(program->activation_bytes, sizeof *writer);
    bool *was_read = mem_calloc(program->n_steps + 1, sizeof *was_read);
    assert_true(writer && was_read);
    uint32_t chunk = 0;
    for (size_t s = 0; s < program->n_steps; s++) {
        const struct step *step = &program->steps[s];
        const struct access *access = &step->access;
        assert_true(access->n_writes > 0);
        assert_true(access->n_reads <= HAZARD_MAX_RANGES && access->n_writes <= HAZARD_MAX_RANGES);
        for (int r = 0; r < access->n_reads; r++) {
            check_range(program, step, &access->reads[r], &chunk);
            for (uint64_t b = access->reads[r].from;
                 access->reads[r].chunk != (uint32_t)CACHE && b < access->reads[r].to; b++) {
                if (!writer[b])
                    fail_msg("%s, %s: reads byte %llu, which nobody wrote", step->label, step->name,
                             (unsigned long long)b);
                was_read[writer[b]] = true;
            }
        }
        for (int w = 0; w < access->n_writes; w++) {
            check_range(program, step, &access->writes[w], &chunk);
            if (access->writes[w].chunk == (uint32_t)CACHE)
                was_read[s + 1] = true;
            else
                for (uint64_t b = access->writes[w].from; b < access->writes[w].to; b++)
                    writer[b] = (uint32_t)s + 1;
        }
    }
    for (uint64_t b = 0; b < program->result_bytes; b++)
        was_read[writer[program->result_place + b]] = true;
    for (size_t s = 0; s < program->n_steps; s++)
        if (!was_read[s + 1])
            fail_msg("%s, %s: nobody reads what it writes", program->steps[s].label,
                     program->steps[s].name);
    mem_free(writer);
    mem_free(was_read);
}

static void check_program(struct hth_session *session, struct batch_size size)
{
    const struct program *program;
    if (gpu_exec_program(session->gpu[1].exec, size, &program) != HTH_OK)
        fail_msg("%s", test_log_text());
    struct access *copies = mem_calloc(program->n_steps, sizeof *copies);
    struct access **list = mem_calloc(program->n_steps, sizeof(struct access *));
    assert_true(copies && list);
    size_t n_barriers = 0;
    for (size_t i = 0; i < program->n_steps; i++) {
        copies[i] = program->steps[i].access;
        list[i] = &copies[i];
        n_barriers += copies[i].barrier;
    }
    printf("%d tokens, %d outputs, best %d: %zu steps, %zu barriers\n", size.n_tokens,
           size.n_outputs, size.n_best, program->n_steps, n_barriers);
    check_barriers(list, program->n_steps, depends_in_program);
    check_flow(program);
    mem_free(copies);
    mem_free(list);
}

TEST(programs_of_a_model)
{
    const char *device = test_device();
    const char *const rows[] = {NULL, "matmul_int", "matmul_f16", "matmul_coop_f16",
                                "matmul_coop_s8"};
    bool has[ARRAY_LEN(rows)] = {true};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!has[i])
            continue;
        struct hth_model *model = model_open(
            "synth:tiny-moe:q4_k", (struct hth_model_options){.device = device, .rows = rows[i]});
        has[1] = vk_get_caps(model->devices[1].vk)->int_dot_any;
        has[2] = vk_get_caps(model->devices[1].vk)->fp16;
        has[3] = has[4] = vk_get_caps(model->devices[1].vk)->n_matrices > 0;
        struct hth_session_options options = {.n_ctx = 128, .n_batch = 64, .n_seqs = 2};
        struct hth_session *session;
        if (hth_session_open(&session, model, &options) != HTH_OK)
            fail_msg("%s", test_log_text());
        check_program(session, (struct batch_size){1, 1, 0});
        check_program(session, (struct batch_size){1, 1, 1});
        check_program(session, (struct batch_size){5, 5, 40});
        check_program(session, (struct batch_size){64, 1, 0});
        hth_session_close(session);
        hth_model_close(model);
    }
}
