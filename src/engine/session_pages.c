#include "engine/session_part.h"

#include <string.h>

#include "base/mem.h"

/* --- which token is where --------------------------------------------------------------------- */

static uint32_t page_at(const struct hth_session *session, int seq, int pos)
{
    int stride;
    const uint32_t *table = kv_table(session->kv, &stride);
    return table[(size_t)seq * (size_t)stride + (size_t)(pos / KV_PAGE)];
}

static int32_t *id_at(const struct hth_session *session, int seq, int pos)
{
    return &session->page_ids[(size_t)page_at(session, seq, pos) * KV_PAGE + pos % KV_PAGE];
}

void session_note_id(struct hth_session *session, int seq, int pos, int32_t id)
{
    *id_at(session, seq, pos) = id;
}

/* --- saving ----------------------------------------------------------------------------------- */

void session_saved_free(struct hth_session *session)
{
    struct saved_pages *saved = &session->saved;
    mem_free(saved->geom);
    mem_free(saved->of_cache);
    mem_free(saved->slots);
    for (int d = 1; d < SPLIT_DEVICES; d++)
        mem_free(saved->on_gpu[d]);
    mem_free_aligned(saved->on_host);
    *saved = (struct saved_pages){0};
}

/* Numbers the pages that sequences hold; returns how many. */
static size_t number_pages(const struct hth_session *session, uint32_t *slots)
{
    size_t n = 0;
    for (int page = 0; page < kv_n_pages(session->kv); page++)
        slots[page] = kv_page_used(session->kv, page) ? (uint32_t)n++ : UINT32_MAX;
    return n;
}

static enum hth_status read_pages(const struct hth_session *session, int device)
{
    const struct saved_pages *saved = &session->saved;
    enum hth_status status = HTH_OK;
    for (int page = 0; page < kv_n_pages(session->kv) && status == HTH_OK; page++)
        if (saved->slots[page] != UINT32_MAX)
            status = gpu_exec_read_page(session->gpu[device].exec, page,
                                        saved->on_gpu[device] +
                                            saved->slots[page] * saved->page_bytes[device]);
    return status;
}

/* All of `n` pages that a GPU has. */
static bool save_pages(struct hth_session *session, int device, size_t n)
{
    struct saved_pages *saved = &session->saved;
    if (n == 0 || !saved->page_bytes[device])
        return true;
    saved->on_gpu[device] = mem_calloc(n, saved->page_bytes[device]);
    return saved->on_gpu[device] && read_pages(session, device) == HTH_OK;
}

static bool has_pages_on_gpu(const struct saved_pages *saved)
{
    bool has = false;
    for (int d = 1; d < SPLIT_DEVICES; d++)
        has |= saved->page_bytes[d] > 0;
    return has;
}

/* The host's pages stay where they are, in `saved` from now on; the GPU's are read. */
static bool save(struct hth_session *session, bool lost)
{
    struct saved_pages *saved = &session->saved;
    int n_layer = session->model->model->hp.n_layer;
    memcpy(saved->page_bytes, session->kv_page_bytes, sizeof saved->page_bytes);
    if (lost && has_pages_on_gpu(saved))
        return false;
    saved->slots = mem_calloc((size_t)kv_n_pages(session->kv), sizeof *saved->slots);
    saved->of_cache = mem_calloc((size_t)n_layer, sizeof *saved->of_cache);
    saved->geom = mem_calloc((size_t)n_layer, sizeof *saved->geom);
    if (!saved->slots || !saved->of_cache || !saved->geom)
        return false;
    memcpy(saved->geom, session->kv_geom, (size_t)n_layer * sizeof *saved->geom);
    memcpy(saved->of_cache, session->model->placing.split.of_cache, (size_t)n_layer);
    size_t n = number_pages(session, saved->slots);
    for (int d = 1; d < SPLIT_DEVICES; d++)
        if (!save_pages(session, d, n))
            return false;
    saved->on_host = session->cpu_kv;
    session->cpu_kv = NULL;
    return true;
}

void session_doubt(struct hth_session *session)
{
    os_mutex_lock(&session->pages);
    session->contents = CONTENTS_LOST;
    os_mutex_unlock(&session->pages);
}

void session_save(struct hth_session *session, bool lost)
{
    if (session->contents != CONTENTS_THERE)
        return; /* they were to come back, and have not; or are doubted */
    os_mutex_lock(&session->pages);
    session->contents = save(session, lost) ? CONTENTS_SAVED : CONTENTS_LOST;
    os_mutex_unlock(&session->pages);
    if (session->contents == CONTENTS_LOST)
        session_saved_free(session);
}

/* --- bringing back ---------------------------------------------------------------------------- */

/* One layer's keys and values, from a page laid out in one way into one laid out in another. */
static void copy_layer(unsigned char *to, const struct kv_geom *to_geom, const unsigned char *from,
                       const struct kv_geom *from_geom)
{
    uint64_t rows = (uint64_t)to_geom->n_head_kv * KV_PAGE;
    memcpy(to + to_geom->k_offset, from + from_geom->k_offset,
           rows * dtype_row_bytes(to_geom->k_type, (uint64_t)to_geom->k_dim));
    memcpy(to + to_geom->v_offset, from + from_geom->v_offset,
           rows * dtype_row_bytes(to_geom->v_type, (uint64_t)to_geom->v_dim));
}

static const unsigned char *page_of(const unsigned char *pages, uint64_t number, uint64_t bytes)
{
    return pages ? pages + number * bytes : NULL;
}

/* `staged` has a page of each GPU's; NULL: it has none. */
static enum hth_status restore_page(struct hth_session *session, int page,
                                    unsigned char *const staged[SPLIT_DEVICES])
{
    const struct saved_pages *saved = &session->saved;
    const unsigned char *from[SPLIT_DEVICES];
    unsigned char *to[SPLIT_DEVICES];
    enum hth_status status = HTH_OK;
    for (int d = 0; d < SPLIT_DEVICES; d++) {
        from[d] = d ? page_of(saved->on_gpu[d], saved->slots[page], saved->page_bytes[d])
                    : page_of(saved->on_host, (uint64_t)page, saved->page_bytes[d]);
        to[d] = d ? staged[d] : session->cpu_pages ? session->cpu_pages[page] : NULL;
    }
    for (int i = 0; i < session->model->model->hp.n_layer; i++)
        copy_layer(to[session->model->placing.split.of_cache[i]], &session->kv_geom[i],
                   from[saved->of_cache[i]], &saved->geom[i]);
    for (int d = 1; d < SPLIT_DEVICES && status == HTH_OK; d++)
        if (staged[d])
            status = gpu_exec_write_page(session->gpu[d].exec, page, staged[d]);
    return status;
}

static enum hth_status restore_pages(struct hth_session *session,
                                     unsigned char *const staged[SPLIT_DEVICES])
{
    enum hth_status status = HTH_OK;
    for (int page = 0; page < kv_n_pages(session->kv) && status == HTH_OK; page++)
        if (kv_page_used(session->kv, page))
            status = restore_page(session, page, staged);
    return status;
}

static enum hth_status restore(struct hth_session *session)
{
    unsigned char *staged[SPLIT_DEVICES] = {NULL};
    enum hth_status status = HTH_OK;
    for (int d = 1; d < SPLIT_DEVICES && status == HTH_OK; d++) {
        uint64_t bytes = session->gpu[d].exec ? session->kv_page_bytes[d] : 0;
        if (bytes && !(staged[d] = mem_calloc(1, bytes)))
            status = log_fail_memory(&session->model->log, "a page of the cache", bytes);
    }
    if (status == HTH_OK)
        status = restore_pages(session, staged);
    for (int d = 1; d < SPLIT_DEVICES; d++)
        mem_free(staged[d]);
    return status;
}

/* Computes positions [from, to) of a sequence. */
static enum hth_status replay(struct hth_session *session, int seq, int from, int to)
{
    while (from < to) {
        if (atomic_exchange(&session->cancel, false))
            return HTH_ERROR_CANCELLED;
        struct batch batch = {.ids = session->ids,
                              .pos = session->pos,
                              .seq = session->seq,
                              .outputs = session->outputs,
                              .n_seqs = session->opt.n_seqs};
        for (; from < to && batch.n_tokens < session->opt.n_batch; from++) {
            int row = batch.n_tokens++;
            session->ids[row] = *id_at(session, seq, from);
            session->pos[row] = from;
            session->seq[row] = seq;
        }
        batch.page_table = kv_table(session->kv, &batch.table_stride);
        const void *none;
        enum hth_status status = session_run(session, &batch, &none);
        if (status)
            return status;
    }
    return HTH_OK;
}

/* Pages that sequences share are at their beginnings, and are computed with the first of them. */
static enum hth_status replay_all(struct hth_session *session)
{
    bool *done = mem_calloc((size_t)kv_n_pages(session->kv), sizeof *done);
    if (!done)
        return log_fail_memory(&session->model->log, "the list of pages",
                               (unsigned long long)kv_n_pages(session->kv));
    enum hth_status status = HTH_OK;
    for (int seq = 0; seq < session->opt.n_seqs && status == HTH_OK; seq++) {
        int length = kv_length(session->kv, seq), from = 0;
        while (from < length && done[page_at(session, seq, from)])
            from += KV_PAGE;
        status = replay(session, seq, from, length);
        for (; from < length; from += KV_PAGE)
            done[page_at(session, seq, from)] = true;
    }
    mem_free(done);
    return status;
}

enum hth_status session_bring_back(struct hth_session *session)
{
    enum hth_status status = HTH_OK;
    if (session->contents == CONTENTS_SAVED)
        status = restore(session);
    else if (session->contents == CONTENTS_LOST)
        status = replay_all(session);
    if (status)
        return status;
    session_saved_free(session);
    session->contents = CONTENTS_THERE;
    return HTH_OK;
}
