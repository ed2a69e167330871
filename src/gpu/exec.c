#include "gpu/exec.h"

#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/batch.h"
#include "gpu/cut.h"

enum { MAX_PROGRAMS = 64, LOADS_IN_RING = 4 };

/* A run of steps that is one submit: what it takes from other devices is taken first, what it gives
 * is given last. Or a part of a single step, some of its workgroups. */
struct segment {
    struct vk_cmd *cmd;
    size_t first, count;
    uint32_t part, parts; /* 1: whole steps */
    int takes, gives;     /* the highest numbers of hops; −1: none */
    /* of the batch that runs */
    uint64_t ticket;  /* 0: not submitted */
    uint64_t uploads; /* with which its weights come; 0: with those of the segment before */
    uint64_t time_ns; /* that it took */
};

struct bucket {
    struct batch_size size; /* of no tokens: it holds nothing */
    struct program program;
    uint64_t *times; /* ns of each step, as far as is known; in the program's arena */
    struct segment *segments;
    size_t n_segments;
    uint64_t generation; /* of the recording; 0: not recorded */
    bool timed;          /* `times` are this bucket's own */
    int n_long;          /* runs until now in which a submit took too long, one after the other */
    int n_unwatched;     /* runs whose times need not be read, until the next */
    uint64_t used;       /* gpu_exec.clock when it was last asked for */
};

struct gpu_exec {
    struct gpu_exec_options opt;
    const struct log *log;
    struct bucket buckets[MAX_PROGRAMS];
    int n_buckets;
    uint64_t clock;     /* counts askings for buckets */
    double ns_per_work; /* in buckets that have not run, by the slowest that has, */
    bool measured;      /* if there is one */
    uint32_t *kv_chunks;
    size_t n_kv_chunks;
    uint32_t *page_refs;
    uint32_t activations, batch_upload, batch_device, readback, hops;
    uint64_t activation_bytes, batch_bytes, readback_bytes, hop_bytes, kv_bytes;
    struct place ring;      /* without weights: none pass */
    struct bucket *running; /* between start and finish */
    size_t next;            /* its first segment that is not submitted */
    size_t next_load;       /* its first load that is not brought */
    uint64_t uploads;       /* that the last segment waits for */
    uint64_t passed_bytes, read_bytes;
};

int gpu_bucket(int n)
{
    if (n <= 16)
        return n < 1 ? 1 : n;
    int bucket = 32;
    while (bucket < n)
        bucket *= 2;
    return bucket;
}

/* --- memory ----------------------------------------------------------------------------------- */

static enum hth_status create_pages(struct gpu_exec *exec)
{
    const struct vk_caps *caps = vk_get_caps(exec->opt.vk);
    uint64_t page = exec->opt.kv_page_bytes, left = (uint64_t)exec->opt.n_kv_pages;
    uint64_t limit = caps->max_range_bytes < (1ull << 30) ? caps->max_range_bytes : 1ull << 30;
    uint64_t per_chunk = page ? limit / page : left;
    if (per_chunk == 0)
        return log_fail(exec->log, HTH_ERROR_LIMIT,
                        "a page of the cache has %llu MiB, more than this device can bind",
                        (unsigned long long)(page >> 20));
    size_t n_chunks = (size_t)div_up(left, per_chunk), next = 0;
    exec->page_refs = mem_calloc(left, sizeof *exec->page_refs);
    exec->kv_chunks = mem_calloc(n_chunks, sizeof *exec->kv_chunks);
    if (!exec->page_refs || !exec->kv_chunks)
        return log_fail_memory(exec->log, "the page table", left * sizeof *exec->page_refs);
    if (page == 0) /* all layers have their cache elsewhere, and nobody looks at these */
        return HTH_OK;
    for (size_t i = 0; i < n_chunks; i++) {
        uint64_t n = left < per_chunk ? left : per_chunk;
        enum hth_status status =
            vk_chunk_create(exec->opt.vk, n * page, VK_MEMORY_DEVICE, "cache", &exec->kv_chunks[i]);
        if (status)
            return status;
        exec->n_kv_chunks++;
        exec->kv_bytes += n * page;
        for (uint64_t p = 0; p < n; p++)
            exec->page_refs[next++] = vk_ref(exec->kv_chunks[i], p * page);
        left -= n;
    }
    return HTH_OK;
}

enum hth_status gpu_exec_read_page(struct gpu_exec *exec, int page, void *bytes)
{
    uint32_t ref = exec->page_refs[page];
    return vk_download(exec->opt.vk, vk_ref_chunk(ref), vk_ref_offset(ref), bytes,
                       exec->opt.kv_page_bytes);
}

enum hth_status gpu_exec_write_page(struct gpu_exec *exec, int page, const void *bytes)
{
    uint32_t ref = exec->page_refs[page];
    return vk_upload(exec->opt.vk, vk_ref_chunk(ref), vk_ref_offset(ref), bytes,
                     exec->opt.kv_page_bytes);
}

/* Makes a chunk at least `need` bytes, losing its contents. */
static enum hth_status grow(struct gpu_exec *exec, uint32_t *chunk, uint64_t *have, uint64_t need,
                            enum vk_memory kind, const char *label)
{
    if (need <= *have)
        return HTH_OK;
    if (*chunk)
        vk_chunk_destroy(exec->opt.vk, *chunk);
    *chunk = 0;
    *have = 0;
    enum hth_status status = vk_chunk_create(exec->opt.vk, need, kind, label, chunk);
    if (status == HTH_OK)
        *have = need;
    return status;
}

static enum hth_status grow_batch(struct gpu_exec *exec, uint64_t need)
{
    uint64_t have = exec->batch_bytes;
    enum hth_status status =
        grow(exec, &exec->batch_upload, &have, need, VK_MEMORY_UPLOAD, "batch (host)");
    if (status == HTH_OK)
        status =
            grow(exec, &exec->batch_device, &exec->batch_bytes, need, VK_MEMORY_DEVICE, "batch");
    if (status)
        exec->batch_bytes = 0; /* one of the two is lost: both are made anew next time */
    return status;
}

/* --- programs --------------------------------------------------------------------------------- */

static void free_segments(struct gpu_exec *exec, struct bucket *bucket)
{
    for (size_t i = 0; i < bucket->n_segments; i++)
        vk_cmd_destroy(exec->opt.vk, bucket->segments[i].cmd);
    mem_free(bucket->segments);
    bucket->segments = NULL;
    bucket->n_segments = 0;
}

/* What a step weighs beside others: bytes moved, and arithmetic at 16 operations a byte. */
static uint64_t step_work(const struct step *step)
{
    return step->bytes + step->flops / 16 + 1;
}

/* The end of the steps from `first` on that run without meeting another device. Hops are given in
 * the order of their numbers: where one that is taken is there, those before it are. */
static size_t run_end(const struct program *program, size_t first)
{
    size_t i = first;
    int taken = -1;
    for (; i < program->n_steps && program->steps[i].takes >= 0; i++)
        taken = program->steps[i].takes > taken ? program->steps[i].takes : taken;
    while (i < program->n_steps && program->steps[i].takes <= taken && program->steps[i].gives < 0)
        i++;
    while (i < program->n_steps && program->steps[i].gives >= 0)
        i++;
    return i;
}

/* The end of the steps from `first` to `end` that may be one submit: it must not free the room of
 * its own weights, and few bytes of weights should be all that it waits for. */
static size_t load_end(const struct program *program, size_t first, size_t end, uint64_t few)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < program->n_loads; i++) {
        const struct load *load = &program->loads[i];
        bool here = load->first >= first && load->first < end;
        if (here && load->first > first && (load->after > first || bytes + load->bytes > few))
            return load->first;
        bytes += here ? load->bytes : 0;
    }
    return end;
}

/* Cuts all steps; returns how many runs there are, with their ends. */
static size_t cut_program(const struct program *program, const uint64_t *times, uint64_t most,
                          uint64_t few, size_t *ends)
{
    size_t n = 0;
    for (size_t first = 0, end; first < program->n_steps; first = end) {
        end = load_end(program, first, run_end(program, first), few);
        size_t more = cut_steps(times + first, end - first, most, ends + n);
        for (size_t i = 0; i < more; i++)
            ends[n + i] += first;
        n += more;
    }
    return n;
}

static int step_axis(const struct step *step)
{
    return cut_axis(step->groups, step->choice.blob->reads_counts);
}

/* How many submits a run of steps is: one step that takes too long is done in parts. */
static uint32_t parts_of(const struct gpu_exec *exec, const struct bucket *bucket, size_t first,
                         size_t end)
{
    const struct step *step = &bucket->program.steps[first];
    int axis = step_axis(step);
    return end - first > 1 || axis < 0 || exec->opt.profile
               ? 1
               : cut_parts(bucket->times[first], step->groups[axis]);
}

/* All parts take what the step takes; the last gives what it gives. */
static void set_segment(struct segment *segment, const struct program *program, size_t first,
                        size_t end)
{
    segment->first = first;
    segment->count = end - first;
    segment->takes = segment->gives = -1;
    for (size_t i = first; i < end; i++) {
        const struct step *step = &program->steps[i];
        int gives = segment->part + 1 == segment->parts ? step->gives : -1;
        segment->takes = step->takes > segment->takes ? step->takes : segment->takes;
        segment->gives = gives > segment->gives ? gives : segment->gives;
    }
}

static struct segment *list_segments(const struct gpu_exec *exec, const struct bucket *bucket,
                                     const size_t *ends, size_t n_runs, size_t *n_segments)
{
    size_t n = 0, first = 0;
    for (size_t i = 0; i < n_runs; first = ends[i++])
        n += parts_of(exec, bucket, first, ends[i]);
    struct segment *segments = mem_calloc(n + 1, sizeof *segments), *next = segments;
    first = 0;
    for (size_t i = 0; segments && i < n_runs; first = ends[i++]) {
        uint32_t parts = parts_of(exec, bucket, first, ends[i]);
        for (uint32_t part = 0; part < parts; part++) {
            *next = (struct segment){.part = part, .parts = parts};
            set_segment(next++, &bucket->program, first, ends[i]);
        }
    }
    *n_segments = n;
    return segments;
}

static bool is_cut_so(const struct bucket *bucket, const struct segment *segments, size_t n)
{
    bool same = bucket->segments && n == bucket->n_segments;
    for (size_t i = 0; i < n && same; i++)
        same = segments[i].first == bucket->segments[i].first &&
               segments[i].count == bucket->segments[i].count &&
               segments[i].parts == bucket->segments[i].parts;
    return same;
}

/* Submits by the times of the steps; as few as can be, where steps are timed one by one. */
static enum hth_status cut_bucket(struct gpu_exec *exec, struct bucket *bucket)
{
    const struct program *program = &bucket->program;
    size_t n_segments = 0; /* without a step where weights only pass */
    size_t *ends = mem_calloc(program->n_steps + 1, sizeof *ends);
    struct segment *segments = NULL;
    if (ends) {
        uint64_t most = exec->opt.profile ? UINT64_MAX : CUT_AIM_NS;
        size_t n_runs = cut_program(program, bucket->times, most,
                                    exec->ring.resident_bytes / LOADS_IN_RING, ends);
        segments = list_segments(exec, bucket, ends, n_runs, &n_segments);
    }
    mem_free(ends);
    if (!segments)
        return log_fail_memory(exec->log, "the list of submits", program->n_steps * sizeof *ends);
    if (is_cut_so(bucket, segments, n_segments)) {
        mem_free(segments);
        return HTH_OK;
    }
    free_segments(exec, bucket);
    bucket->segments = segments;
    bucket->n_segments = n_segments;
    bucket->generation = 0;
    return HTH_OK;
}

/* What steps take is not known before they run. */
static enum hth_status guess_times(struct gpu_exec *exec, struct bucket *bucket)
{
    struct program *program = &bucket->program;
    bucket->times = arena_calloc(&program->arena, program->n_steps + 1, sizeof *bucket->times);
    if (!bucket->times)
        return log_fail_memory(exec->log, "the list of submits", program->n_steps);
    for (size_t i = 0; i < program->n_steps; i++)
        bucket->times[i] =
            1 + (uint64_t)((double)step_work(&program->steps[i]) * exec->ns_per_work);
    return HTH_OK;
}

static void empty_bucket(struct gpu_exec *exec, struct bucket *bucket)
{
    free_segments(exec, bucket);
    program_free(&bucket->program);
    *bucket = (struct bucket){0};
}

static const struct place *ring_for(const struct gpu_exec *exec, int n_tokens)
{
    return exec->ring.weights && n_tokens >= exec->opt.stream.from ? &exec->ring : NULL;
}

/* Chunk numbers stand in the steps' arguments, so buffers must exist before: the first compile only
 * learns the sizes. */
static enum hth_status compile_bucket_program(struct gpu_exec *exec, struct bucket *bucket,
                                              const struct graph *graph)
{
    for (int round = 0; round < 2; round++) {
        struct compile_options options = {.vk = exec->opt.vk,
                                          .env = gpu_exec_env(&exec->opt),
                                          .place = exec->opt.place,
                                          .ring = ring_for(exec, graph->n_tokens),
                                          .activations = exec->activations,
                                          .batch_chunk = exec->batch_device,
                                          .hops = exec->hops,
                                          .table_stride = exec->opt.table_stride};
        enum hth_status status = compile_program(&bucket->program, graph, &options, exec->log);
        if (status)
            return status;
        uint32_t activations = exec->activations, batch = exec->batch_device, hops = exec->hops;
        status = grow(exec, &exec->activations, &exec->activation_bytes,
                      bucket->program.activation_bytes, VK_MEMORY_DEVICE, "activations");
        if (status == HTH_OK)
            status = grow_batch(exec, 4ull * bucket->program.batch.n_words);
        if (status == HTH_OK && !vk_chunk_data(exec->opt.vk, exec->activations))
            status = grow(exec, &exec->readback, &exec->readback_bytes,
                          bucket->program.result_bytes, VK_MEMORY_READBACK, "results");
        if (status == HTH_OK)
            status = grow(exec, &exec->hops, &exec->hop_bytes, bucket->program.hop_bytes,
                          VK_MEMORY_READBACK, "hops");
        bool same =
            activations == exec->activations && batch == exec->batch_device && hops == exec->hops;
        if (status == HTH_OK && same)
            return HTH_OK;
        /* programs of other buckets name the old chunks, which may be gone even where nothing came
         * in their place: they are compiled anew when next used */
        program_free(&bucket->program);
        for (int i = 0; i < exec->n_buckets; i++)
            if (&exec->buckets[i] != bucket)
                empty_bucket(exec, &exec->buckets[i]);
        if (status)
            return status;
    }
    return log_fail(exec->log, HTH_ERROR_DEVICE, "the buffers of a batch did not settle");
}

static enum hth_status create_bucket(struct gpu_exec *exec, struct bucket *bucket,
                                     struct batch_size size)
{
    struct graph graph;
    enum hth_status status = exec->opt.build(exec->opt.user, &graph, size);
    struct row_env env = gpu_exec_env(&exec->opt);
    if (status == HTH_OK)
        status = compile_fuse(&graph, &env);
    if (status == HTH_OK)
        status = compile_bucket_program(exec, bucket, &graph);
    graph_free(&graph);
    if (status == HTH_OK)
        status = guess_times(exec, bucket);
    if (status == HTH_OK)
        status = cut_bucket(exec, bucket);
    if (status) {
        empty_bucket(exec, bucket);
        return status;
    }
    bucket->size = size;
    return HTH_OK;
}

/* A bucket that holds nothing; where all hold something, the one not used for longest gives way. */
static struct bucket *take_bucket(struct gpu_exec *exec)
{
    struct bucket *oldest = &exec->buckets[0];
    for (int i = 0; i < exec->n_buckets; i++) {
        if (exec->buckets[i].size.n_tokens == 0)
            return &exec->buckets[i];
        if (exec->buckets[i].used < oldest->used)
            oldest = &exec->buckets[i];
    }
    if (exec->n_buckets < MAX_PROGRAMS)
        return &exec->buckets[exec->n_buckets++];
    empty_bucket(exec, oldest);
    return oldest;
}

static bool is_for(const struct bucket *bucket, struct batch_size size)
{
    return bucket->size.n_tokens == size.n_tokens && bucket->size.n_outputs == size.n_outputs &&
           bucket->size.n_best == size.n_best;
}

static enum hth_status find_bucket(struct gpu_exec *exec, struct batch_size size,
                                   struct bucket **out)
{
    struct bucket *bucket = NULL;
    for (int i = 0; i < exec->n_buckets && !bucket; i++)
        if (is_for(&exec->buckets[i], size))
            bucket = &exec->buckets[i];
    enum hth_status status = HTH_OK;
    if (!bucket) {
        bucket = take_bucket(exec);
        status = create_bucket(exec, bucket, size);
    }
    bucket->used = ++exec->clock;
    *out = bucket;
    return status;
}

int gpu_output_bucket(int n_outputs, int n_tokens)
{
    int bucket = n_outputs <= 1 ? 1 : gpu_bucket(n_outputs);
    return bucket < n_tokens ? bucket : n_tokens;
}

/* The bucket that holds so many tokens and outputs. */
static enum hth_status bucket_for(struct gpu_exec *exec, struct batch_size size,
                                  struct bucket **out)
{
    size.n_tokens = gpu_bucket(size.n_tokens);
    size.n_outputs = gpu_output_bucket(size.n_outputs, size.n_tokens);
    return find_bucket(exec, size, out);
}

/* --- recording -------------------------------------------------------------------------------- */

/* The workgroups of a step that a segment does. */
static struct vk_groups groups_of(const struct segment *segment, const struct step *step)
{
    struct vk_groups groups = {.count = {step->groups[0], step->groups[1], step->groups[2]}};
    if (segment->parts > 1) {
        int axis = step_axis(step);
        uint64_t all = step->groups[axis], part = segment->part, parts = segment->parts;
        groups.first[axis] = (uint32_t)(all * part / parts);
        groups.count[axis] = (uint32_t)(all * (part + 1) / parts) - groups.first[axis];
    }
    return groups;
}

static void record_segment(struct gpu_exec *exec, struct bucket *bucket, size_t index)
{
    struct segment *segment = &bucket->segments[index];
    struct program *program = &bucket->program;
    struct vk_cmd *cmd = segment->cmd;
    bool last = index == bucket->n_segments - 1;
    vk_cmd_begin(cmd);
    if (index == 0) {
        vk_cmd_copy(cmd, exec->batch_upload, 0, exec->batch_device, 0,
                    4ull * program->batch.n_words);
        vk_cmd_barrier(cmd);
    }
    vk_cmd_timestamp(cmd, 0);
    for (size_t i = 0; i < segment->count; i++) {
        struct step *step = &program->steps[segment->first + i];
        if (step->access.barrier || i == 0)
            vk_cmd_barrier(cmd);
        vk_cmd_label(cmd, step->label);
        const struct vk_groups groups = groups_of(segment, step);
        vk_cmd_dispatch_part(cmd, step->pipeline, step->args, step->args_bytes, &groups);
        if (exec->opt.profile)
            vk_cmd_timestamp(cmd, (uint32_t)(1 + i));
    }
    if (!exec->opt.profile)
        vk_cmd_timestamp(cmd, 1);
    if (last && exec->readback) {
        vk_cmd_barrier(cmd);
        vk_cmd_copy(cmd, exec->activations, program->result_place, exec->readback, 0,
                    program->result_bytes);
    }
}

static enum hth_status record(struct gpu_exec *exec, struct bucket *bucket)
{
    uint64_t generation = vk_generation(exec->opt.vk);
    if (bucket->generation == generation)
        return HTH_OK;
    for (size_t i = 0; i < bucket->program.n_steps; i++) {
        enum hth_status status = vk_pipeline_wait(exec->opt.vk, bucket->program.steps[i].pipeline);
        if (status)
            return status;
    }
    for (size_t i = 0; i < bucket->n_segments; i++) {
        struct segment *segment = &bucket->segments[i];
        enum hth_status status = HTH_OK;
        uint32_t stamps = exec->opt.profile ? (uint32_t)segment->count + 1 : 2;
        if (!segment->cmd)
            status = vk_cmd_create(exec->opt.vk, stamps, &segment->cmd);
        if (status)
            return status;
        record_segment(exec, bucket, i);
        status = vk_cmd_end(segment->cmd);
        if (status)
            return status;
    }
    bucket->generation = generation;
    return HTH_OK;
}

/* --- watching --------------------------------------------------------------------------------- */

/* Times of all segments, of which the first part of a step gets those of all its parts; returns
 * their sum. 0: there is no clock. */
static uint64_t read_times(struct gpu_exec *exec, struct bucket *bucket, uint64_t *longest)
{
    uint64_t sum = 0;
    *longest = 0;
    for (size_t i = 0; i < bucket->n_segments; i++) {
        struct segment *segment = &bucket->segments[i];
        uint64_t time_ns = segment->time_ns = vk_cmd_time_ns(exec->opt.vk, segment->cmd, 0, 1);
        if (segment->part > 0)
            bucket->segments[i - segment->part].time_ns += time_ns;
        *longest = time_ns > *longest ? time_ns : *longest;
        sum += time_ns;
    }
    return sum;
}

/* A first run tells others what to expect. */
static void note_speed(struct gpu_exec *exec, const struct bucket *bucket, uint64_t time_ns)
{
    uint64_t work = 0;
    for (size_t i = 0; i < bucket->program.n_steps; i++)
        work += step_work(&bucket->program.steps[i]);
    double own = (double)time_ns / (double)work;
    if (own > exec->ns_per_work || !exec->measured)
        exec->ns_per_work = own;
    exec->measured = true;
}

/* No submit may freeze a desktop, and none should be shorter than need be: after the first run of a
 * bucket its steps are cut anew by the time that they took, and again where a submit comes to take
 * too long, as attention does with a longer context. Once or twice is no reason: it may have waited
 * for others' work. Where none took half as long, the next runs are not looked at: a token divided
 * between devices has as many submits as hops, and reading their times costs more than some. */
static enum hth_status watch_submits(struct gpu_exec *exec, struct bucket *bucket)
{
    enum { LONG_ENOUGH = 3, UNWATCHED = 7 };
    uint64_t longest, sum = 0;
    if (bucket->n_unwatched > 0)
        bucket->n_unwatched--;
    else if (!exec->opt.profile && bucket->n_segments > 0)
        sum = read_times(exec, bucket, &longest);
    if (sum == 0)
        return HTH_OK;
    bucket->n_unwatched = bucket->timed && longest < CUT_MOST_NS / 2 ? UNWATCHED : 0;
    bucket->n_long = longest > CUT_MOST_NS ? bucket->n_long + 1 : 0;
    if (bucket->timed && bucket->n_long < LONG_ENOUGH)
        return HTH_OK;
    if (!bucket->timed)
        note_speed(exec, bucket, sum);
    bucket->timed = true;
    for (size_t i = 0; i < bucket->n_segments; i++) {
        const struct segment *segment = &bucket->segments[i];
        if (segment->part == 0)
            cut_fit(bucket->times + segment->first, segment->count, segment->time_ns);
    }
    enum hth_status status = cut_bucket(exec, bucket);
    return status ? status : record(exec, bucket); /* so that the next run allocates nothing */
}

/* --- running ---------------------------------------------------------------------------------- */

enum hth_status gpu_exec_start(struct gpu_exec *exec, const struct batch *batch)
{
    struct bucket *bucket = NULL;
    enum hth_status status = bucket_for(exec, batch_size(batch), &bucket);
    if (status == HTH_OK)
        status = record(exec, bucket);
    if (status)
        return status;
    batch_fill(&bucket->program.batch, batch, exec->page_refs, (uint32_t)exec->opt.n_kv_pages,
               vk_chunk_data(exec->opt.vk, exec->batch_upload));
    for (size_t i = 0; i < bucket->n_segments; i++)
        bucket->segments[i].ticket = bucket->segments[i].uploads = 0;
    if (bucket->program.n_loads)
        place_follow(&exec->ring, exec->opt.place);
    exec->running = bucket;
    exec->next = exec->next_load = 0;
    exec->uploads = vk_uploads(exec->opt.vk);
    return HTH_OK;
}

/* The segment that begins with a step, or has it; the one that ends it. */
static struct segment *segment_of(struct bucket *bucket, size_t step)
{
    struct segment *segment = bucket->segments;
    while (segment->first + segment->count <= step)
        segment++;
    return segment;
}

static struct segment *last_segment_of(struct bucket *bucket, size_t step)
{
    struct segment *segment = segment_of(bucket, step);
    return segment + segment->parts - 1;
}

/* Brings weights for steps before `end`, as far as all that read what lies there are submitted. */
static enum hth_status bring_weights(struct gpu_exec *exec, size_t end)
{
    struct bucket *bucket = exec->running;
    const struct program *program = &bucket->program;
    size_t submitted =
        exec->next < bucket->n_segments ? bucket->segments[exec->next].first : program->n_steps;
    for (; exec->next_load < program->n_loads; exec->next_load++) {
        const struct load *load = &program->loads[exec->next_load];
        if (load->first >= end || load->after > submitted)
            break;
        if (load->after)
            vk_upload_after(exec->opt.vk, last_segment_of(bucket, load->after - 1)->ticket);
        enum hth_status status = place_bring(&exec->ring, load->placed);
        if (status)
            return status;
        segment_of(bucket, load->first)->uploads = vk_uploads(exec->opt.vk);
        exec->passed_bytes += load->bytes;
    }
    return HTH_OK;
}

static enum hth_status submit_next(struct gpu_exec *exec)
{
    struct segment *segment = &exec->running->segments[exec->next];
    enum hth_status status = bring_weights(exec, segment->first + segment->count);
    if (status)
        return status;
    if (segment->uploads)
        exec->uploads = segment->uploads;
    return vk_submit_after(exec->opt.vk, segment->cmd, exec->uploads, &segment->ticket);
}

void *gpu_exec_hops(struct gpu_exec *exec)
{
    return exec->hops ? vk_chunk_data(exec->opt.vk, exec->hops) : NULL;
}

enum hth_status gpu_exec_advance(struct gpu_exec *exec, int given)
{
    struct bucket *bucket = exec->running;
    for (; exec->next < bucket->n_segments; exec->next++) {
        if (bucket->segments[exec->next].takes > given)
            break;
        enum hth_status status = submit_next(exec);
        if (status)
            return status;
    }
    return bring_weights(exec, SIZE_MAX); /* while others compute */
}

enum hth_status gpu_exec_wait_hop(struct gpu_exec *exec, int hop)
{
    const struct bucket *bucket = exec->running;
    for (size_t i = 0; i < exec->next; i++)
        if (bucket->segments[i].gives >= hop)
            return vk_wait(exec->opt.vk, bucket->segments[i].ticket);
    return log_fail(exec->log, HTH_ERROR_DEVICE, "what the GPU hands over (%d) is not under way",
                    hop);
}

/* Where the result of a batch is; what a copy brings, it brings for the whole bucket. */
static const void *read_result(struct gpu_exec *exec, const struct bucket *bucket,
                               const struct batch *batch)
{
    const struct program *program = &bucket->program;
    uint64_t row_bytes = program->result_bytes / (uint64_t)bucket->size.n_outputs;
    exec->read_bytes +=
        exec->readback ? program->result_bytes : row_bytes * (uint64_t)batch->n_outputs;
    if (exec->readback)
        return vk_chunk_data(exec->opt.vk, exec->readback);
    return (const char *)vk_chunk_data(exec->opt.vk, exec->activations) + program->result_place;
}

enum hth_status gpu_exec_finish(struct gpu_exec *exec, const struct batch *batch,
                                const void **result)
{
    struct bucket *bucket = exec->running;
    exec->running = NULL;
    *result = NULL;
    enum hth_status status = HTH_OK;
    if (exec->next > 0)
        status = vk_wait(exec->opt.vk, bucket->segments[exec->next - 1].ticket);
    if (status == HTH_OK && exec->next == bucket->n_segments)
        status = watch_submits(exec, bucket);
    if (status)
        return status;
    if (batch->n_outputs && bucket->program.result_bytes)
        *result = read_result(exec, bucket, batch);
    return HTH_OK;
}

enum hth_status gpu_exec_run(struct gpu_exec *exec, const struct batch *batch, const void **result)
{
    *result = NULL;
    enum hth_status status = gpu_exec_start(exec, batch);
    if (status)
        return status;
    status = gpu_exec_advance(exec, INT_MAX);
    enum hth_status end = gpu_exec_finish(exec, batch, result);
    return status ? status : end;
}

enum hth_status gpu_exec_program(struct gpu_exec *exec, struct batch_size size,
                                 const struct program **program)
{
    struct bucket *bucket = NULL;
    enum hth_status status = bucket_for(exec, size, &bucket);
    *program = status ? NULL : &bucket->program;
    return status;
}

enum hth_status gpu_exec_times(struct gpu_exec *exec, struct batch_size size, uint64_t *times)
{
    struct bucket *bucket = NULL;
    enum hth_status status = bucket_for(exec, size, &bucket);
    for (size_t i = 0; status == HTH_OK && i < bucket->n_segments; i++) {
        const struct segment *segment = &bucket->segments[i];
        for (size_t k = 0; k < segment->count; k++)
            times[segment->first + k] =
                vk_cmd_time_ns(exec->opt.vk, segment->cmd, (uint32_t)k, (uint32_t)k + 1);
    }
    return status;
}

uint64_t gpu_exec_bytes(const struct gpu_exec *exec)
{
    return exec->kv_bytes + exec->activation_bytes + 2 * exec->batch_bytes + exec->readback_bytes +
           exec->hop_bytes + exec->ring.resident_bytes;
}

uint64_t gpu_exec_passed_bytes(const struct gpu_exec *exec)
{
    return exec->passed_bytes;
}

uint64_t gpu_exec_read_bytes(const struct gpu_exec *exec)
{
    return exec->read_bytes;
}

static enum hth_status create_ring(struct gpu_exec *exec)
{
    const struct gpu_stream *stream = &exec->opt.stream;
    struct place_options places = gpu_exec_ring(&exec->opt);
    if (stream->ring_bytes == 0)
        return HTH_OK;
    return place_weights(&exec->ring, exec->opt.vk, stream->weights, stream->n_weights, &places,
                         exec->log);
}

enum hth_status gpu_exec_create(struct gpu_exec **out, const struct gpu_exec_options *options,
                                const struct log *log)
{
    *out = NULL;
    struct gpu_exec *exec = mem_calloc(1, sizeof *exec);
    if (!exec)
        return log_fail_memory(log, "the GPU executor", sizeof *exec);
    exec->opt = *options;
    exec->log = log;
    exec->ns_per_work = cut_unknown_ns(1);
    const struct program *program;
    struct bucket *one = NULL;
    struct batch_size size = {options->max_tokens, options->max_outputs, options->n_best};
    enum hth_status status = create_pages(exec);
    if (status == HTH_OK)
        status = create_ring(exec);
    if (status == HTH_OK && options->max_outputs > 1)
        status = gpu_exec_program(exec, size, &program);
    size.n_outputs = 1;
    if (status == HTH_OK)
        status = gpu_exec_program(exec, size, &program);
    size.n_tokens = 1;
    if (status == HTH_OK)
        status = find_bucket(exec, size, &one);
    if (status == HTH_OK)
        status = record(exec, one); /* so that running it allocates nothing */
    if (status) {
        gpu_exec_destroy(exec);
        return status;
    }
    *out = exec;
    return HTH_OK;
}

void gpu_exec_destroy(struct gpu_exec *exec)
{
    if (!exec)
        return;
    struct vk *vk = exec->opt.vk;
    for (int i = 0; i < exec->n_buckets; i++)
        empty_bucket(exec, &exec->buckets[i]);
    for (size_t i = 0; i < exec->n_kv_chunks; i++)
        vk_chunk_destroy(vk, exec->kv_chunks[i]);
    place_free(&exec->ring);
    const uint32_t chunks[] = {exec->activations, exec->batch_upload, exec->batch_device,
                               exec->readback, exec->hops};
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++)
        if (chunks[i])
            vk_chunk_destroy(vk, chunks[i]);
    mem_free(exec->kv_chunks);
    mem_free(exec->page_refs);
    mem_free(exec);
}
