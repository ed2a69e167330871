/* What a step declares (struct access) against what it does. Barriers are solved from the declared
 * sets alone, so a range forgotten there is a race that no result of a single op shows. */
#include "base/mem.h"
#include "harness/test.h"
#include "op_gpu.h"

enum { POISON = 0xff, READS = 1, WRITES = 2, BEHIND_BYTES = 64 << 10 };

void (*op_declared_tamper)(struct program *program);

/* Copies of the chunk's first `size` bytes. */
struct images {
    uint64_t size;
    unsigned char *start;               /* before the first step */
    unsigned char *before, *after;      /* as the steps before left it, and as the step does */
    unsigned char *poisoned, *answered; /* the same with what it does not read poisoned */
    unsigned char *declared;            /* READS and WRITES of each byte */
};

static void images_free(struct images *m)
{
    mem_free(m->start);
    mem_free(m->before);
    mem_free(m->after);
    mem_free(m->poisoned);
    mem_free(m->answered);
    mem_free(m->declared);
}

static bool images_create(struct images *m, uint64_t size)
{
    m->size = size;
    m->start = mem_alloc(size);
    m->before = mem_alloc(size);
    m->after = mem_alloc(size);
    m->poisoned = mem_alloc(size);
    m->answered = mem_alloc(size);
    m->declared = mem_alloc(size);
    return m->start && m->before && m->after && m->poisoned && m->answered && m->declared;
}

static const char *owner_of(const struct gpu_case *c, uint64_t offset)
{
    for (size_t i = 0; i < c->n_regions; i++)
        if (offset >= c->regions[i].from && offset < c->regions[i].to)
            return c->regions[i].name;
    return "nothing of this op";
}

/* A cache's own chunk number stands for its layer in every page. */
static bool mark_cache(const struct gpu_case *c, const struct range *range, unsigned char bit,
                       struct images *m)
{
    const struct op *op = c->run->call->op;
    for (int i = 0; i < OP_MAX_IN + OP_MAX_OUT; i++) {
        const struct tensor *tensor = i < OP_MAX_IN ? op->in[i] : op->out[i - OP_MAX_IN];
        if (!tensor || tensor->kind != TENSOR_KV || tensor->kv.k_offset != range->from)
            continue;
        const struct kv_geom *kv = &tensor->kv;
        uint64_t end = kv->v_offset + (uint64_t)kv->n_head_kv * KV_PAGE *
                                          dtype_row_bytes(kv->v_type, (uint64_t)kv->v_dim);
        for (size_t p = 0; p < c->run->n_pages; p++) {
            uint64_t page = (uint64_t)(c->page_refs[p] & 0xffffff) * VK_REF_ALIGN;
            for (uint64_t b = page + kv->k_offset; b < page + end; b++)
                m->declared[b] |= bit;
        }
        return true;
    }
    return false;
}

static enum hth_status mark(const struct gpu_case *c, const struct step *step,
                            const struct range *range, unsigned char bit, struct images *m)
{
    bool known = range->from < range->to;
    if (range->chunk == UINT32_MAX)
        known = known && mark_cache(c, range, bit, m);
    else
        known = known && range->chunk == c->chunk && range->to <= m->size;
    if (!known)
        return log_fail(test_log(), HTH_ERROR_LIMIT,
                        "%s of %s declares bytes %llu to %llu of chunk %u, where nothing is",
                        step->name, step->label, (unsigned long long)range->from,
                        (unsigned long long)range->to, range->chunk);
    for (uint64_t b = range->from; range->chunk == c->chunk && b < range->to; b++)
        m->declared[b] |= bit;
    return HTH_OK;
}

static enum hth_status mark_step(const struct gpu_case *c, const struct step *step,
                                 struct images *m)
{
    const struct access *access = &step->access;
    enum hth_status status = HTH_OK;
    memset(m->declared, 0, m->size);
    for (int i = 0; i < access->n_reads && status == HTH_OK; i++)
        status = mark(c, step, &access->reads[i], READS, m);
    for (int i = 0; i < access->n_writes && status == HTH_OK; i++)
        status = mark(c, step, &access->writes[i], WRITES, m);
    return status;
}

/* What may change and is not declared as read; of one region, or of all (NULL). */
static void poison(const struct gpu_case *c, const struct gpu_region *only, struct images *m)
{
    memcpy(m->poisoned, m->before, m->size);
    for (size_t i = 0; i < c->n_regions; i++) {
        const struct gpu_region *region = &c->regions[i];
        for (uint64_t b = region->from;
             region->changes && (!only || only == region) && b < region->to; b++)
            if (!(m->declared[b] & READS))
                m->poisoned[b] = POISON;
    }
}

static enum hth_status run_on(const struct gpu_case *c, const struct program *program, size_t at,
                              const unsigned char *from, unsigned char *to, uint64_t size)
{
    enum hth_status status = vk_upload(c->vk, c->chunk, 0, from, size);
    if (status == HTH_OK)
        status = gpu_case_run(c, program, at, 1);
    return status ? status : vk_download(c->vk, c->chunk, 0, to, size);
}

/* The first byte where the two runs tell of something undeclared, and what that is; else `size`. */
static uint64_t first_fault(const struct images *m, const char **what)
{
    for (uint64_t b = 0; b < m->size; b++) {
        bool wrote = m->after[b] != m->before[b] || m->answered[b] != m->poisoned[b];
        if (!wrote || (m->declared[b] & WRITES && m->answered[b] == m->after[b]))
            continue;
        *what = m->declared[b] & WRITES ? "writes what depends on memory that it does not "
                                          "declare as read"
                                        : "writes what it does not declare as written";
        return b;
    }
    return m->size;
}

/* The region whose poison a step notices; NULL if none does alone. */
static const char *what_it_reads(const struct gpu_case *c, const struct program *program, size_t at,
                                 struct images *m)
{
    const char *what;
    for (size_t i = 0; i < c->n_regions; i++) {
        poison(c, &c->regions[i], m);
        if (c->regions[i].changes &&
            run_on(c, program, at, m->poisoned, m->answered, m->size) == HTH_OK &&
            first_fault(m, &what) < m->size)
            return c->regions[i].name;
    }
    return NULL;
}

static enum hth_status check_step(const struct gpu_case *c, const struct program *program,
                                  size_t at, struct images *m)
{
    const struct step *step = &program->steps[at];
    enum hth_status status = mark_step(c, step, m);
    poison(c, NULL, m);
    if (status == HTH_OK)
        status = run_on(c, program, at, m->before, m->after, m->size);
    if (status == HTH_OK)
        status = run_on(c, program, at, m->poisoned, m->answered, m->size);
    if (status)
        return status;
    const char *what = "";
    uint64_t bad = first_fault(m, &what);
    if (bad == m->size)
        return HTH_OK;
    const char *read = m->declared[bad] & WRITES ? what_it_reads(c, program, at, m) : NULL;
    return log_fail(test_log(), HTH_ERROR_LIMIT,
                    "step %zu, %s of %s, %s%s%s: first at byte %llu, in %s", at, step->name,
                    step->label, what, read ? ": of " : "", read ? read : "",
                    (unsigned long long)bad, owner_of(c, bad));
}

/* Kernels read the batch, and no range stands for it: it must be what the host wrote. */
static enum hth_status check_batch(const struct gpu_case *c, const struct program *program)
{
    uint64_t size = 4ull * program->batch.n_words;
    unsigned char *words = mem_alloc(size);
    if (!words)
        return log_fail_memory(test_log(), "a copy of the batch", size);
    enum hth_status status = vk_download(c->vk, c->batch_chunk, 0, words, size);
    if (status == HTH_OK && memcmp(words, vk_chunk_data(c->vk, c->batch_upload), size) != 0)
        status = log_fail(test_log(), HTH_ERROR_LIMIT, "a step of %s wrote into the batch",
                          program->steps[0].label);
    mem_free(words);
    return status;
}

/* The chunk as the case begins; what earlier cases left between regions gives way to poison. */
static enum hth_status read_start(const struct gpu_case *c, struct images *m)
{
    enum hth_status status = vk_download(c->vk, c->chunk, 0, m->after, m->size);
    memset(m->before, POISON, m->size);
    for (size_t i = 0; i < c->n_regions && status == HTH_OK; i++) {
        const struct gpu_region *region = &c->regions[i];
        if (region->empty)
            memset(m->before + region->from, c->stale, region->to - region->from);
        else
            memcpy(m->before + region->from, m->after + region->from, region->to - region->from);
    }
    memcpy(m->start, m->before, m->size);
    return status;
}

enum hth_status op_declared_check(const struct gpu_case *c, const struct program *program)
{
    struct images m;
    uint64_t size = program->activation_bytes + BEHIND_BYTES;
    if (size > c->chunk_bytes)
        return log_fail(test_log(), HTH_ERROR_LIMIT, "the case is too large to be checked");
    enum hth_status status = images_create(&m, size)
                                 ? read_start(c, &m)
                                 : log_fail_memory(test_log(), "copies of a chunk", 6 * size);
    for (size_t i = 0; i < program->n_steps && status == HTH_OK; i++) {
        status = check_step(c, program, i, &m);
        memcpy(m.before, m.after, size);
    }
    if (status == HTH_OK)
        status = check_batch(c, program);
    if (status == HTH_OK)
        status = vk_upload(c->vk, c->chunk, 0, m.start, size);
    images_free(&m);
    return status;
}
