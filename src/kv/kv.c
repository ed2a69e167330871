#include "kv/kv.h"

#include <assert.h>

#include "base/mem.h"

enum { PART_ALIGN = 256 }; /* of K and of V of a layer, inside a page */

struct kv_cache {
    int n_seqs, n_ctx, n_pages;
    int stride;       /* pages of a full sequence */
    uint32_t *table;  /* [n_seqs][stride] */
    int *length;      /* [n_seqs] */
    int *refs;        /* [n_pages]: sequences that hold a page */
    uint32_t *unused; /* a stack of pages; the lowest numbers lie on top at first */
    int n_unused;
};

static const struct dtype *fitting_type(const struct dtype *type, int dim, bool *fell_back)
{
    if (dim % (int)type->block_elems == 0)
        return type;
    *fell_back = true;
    return &dtype_f16;
}

static uint64_t part_bytes(const struct dtype *type, int n_head_kv, int dim)
{
    uint64_t rows = (uint64_t)n_head_kv * KV_PAGE;
    return align_up(rows * dtype_row_bytes(type, (uint64_t)dim), PART_ALIGN);
}

uint64_t kv_layout(struct kv_geom *layers, int n_layers, const struct log *log)
{
    uint64_t offset = 0;
    bool said = false;
    for (int i = 0; i < n_layers; i++) {
        struct kv_geom *kv = &layers[i];
        const struct dtype *wanted =
            kv->k_dim % (int)kv->k_type->block_elems ? kv->k_type : kv->v_type;
        bool fell_back = false;
        kv->k_type = fitting_type(kv->k_type, kv->k_dim, &fell_back);
        kv->v_type = fitting_type(kv->v_type, kv->v_dim, &fell_back);
        if (fell_back && !said)
            log_warning(log,
                        "heads of %d and %d dimensions do not divide into blocks of %s; the cache "
                        "holds F16 there",
                        kv->k_dim, kv->v_dim, wanted->name);
        said |= fell_back;
        kv->k_offset = (uint32_t)offset;
        offset += part_bytes(kv->k_type, kv->n_head_kv, kv->k_dim);
        if (offset <= UINT32_MAX)
            kv->v_offset = (uint32_t)offset;
        offset += part_bytes(kv->v_type, kv->n_head_kv, kv->v_dim);
        if (offset > UINT32_MAX) {
            log_line(log, HTH_LOG_ERROR,
                     "%d layers of %d heads of %d and %d dimensions need more than 4 GiB of cache "
                     "for %d positions, which hearth cannot address",
                     n_layers, kv->n_head_kv, kv->k_dim, kv->v_dim, KV_PAGE);
            return 0;
        }
    }
    return offset;
}

static enum hth_status check_sizes(int n_seqs, int n_ctx, int n_pages, const struct log *log)
{
    uint64_t pages;
    if (n_seqs < 1 || n_ctx < 1 || n_pages < 0)
        return log_fail(log, HTH_ERROR_ARGUMENT,
                        "a cache for %d sequences of %d positions in %d pages cannot be meant",
                        n_seqs, n_ctx, n_pages);
    pages = (uint64_t)n_seqs * div_up((uint64_t)n_ctx, KV_PAGE);
    if (pages > INT32_MAX)
        return log_fail(log, HTH_ERROR_LIMIT,
                        "a cache for %d sequences of %d positions has more pages than hearth can "
                        "count; ask for less context",
                        n_seqs, n_ctx);
    return HTH_OK;
}

enum hth_status kv_create(struct kv_cache **out, int n_seqs, int n_ctx, int n_pages,
                          const struct log *log)
{
    struct kv_cache *cache;
    enum hth_status status;
    *out = NULL;
    status = check_sizes(n_seqs, n_ctx, n_pages, log);
    if (status)
        return status;
    cache = mem_calloc(1, sizeof *cache);
    if (!cache)
        return log_fail_memory(log, "the cache's page table", sizeof *cache);
    cache->n_seqs = n_seqs;
    cache->n_ctx = n_ctx;
    cache->stride = (int)div_up((uint64_t)n_ctx, KV_PAGE);
    cache->n_pages = n_pages ? n_pages : n_seqs * cache->stride;
    cache->table = mem_calloc((size_t)n_seqs * (size_t)cache->stride, sizeof *cache->table);
    cache->length = mem_calloc((size_t)n_seqs, sizeof *cache->length);
    cache->refs = mem_calloc((size_t)cache->n_pages, sizeof *cache->refs);
    cache->unused = mem_calloc((size_t)cache->n_pages, sizeof *cache->unused);
    if (!cache->table || !cache->length || !cache->refs || !cache->unused) {
        status = log_fail_memory(log, "the cache's page table",
                                 ((unsigned long long)n_seqs * (unsigned long long)cache->stride +
                                  2ull * (unsigned long long)cache->n_pages) *
                                     sizeof *cache->table);
        kv_destroy(cache);
        return status;
    }
    for (int i = 0; i < cache->n_pages; i++)
        cache->unused[i] = (uint32_t)(cache->n_pages - 1 - i);
    cache->n_unused = cache->n_pages;
    *out = cache;
    return HTH_OK;
}

void kv_destroy(struct kv_cache *cache)
{
    if (!cache)
        return;
    mem_free(cache->table);
    mem_free(cache->length);
    mem_free(cache->refs);
    mem_free(cache->unused);
    mem_free(cache);
}

int kv_n_pages(const struct kv_cache *cache)
{
    return cache->n_pages;
}

int kv_pages_used(const struct kv_cache *cache)
{
    return cache->n_pages - cache->n_unused;
}

bool kv_page_used(const struct kv_cache *cache, int page)
{
    assert(page >= 0 && page < cache->n_pages);
    return cache->refs[page] > 0;
}

int kv_length(const struct kv_cache *cache, int seq)
{
    assert(seq >= 0 && seq < cache->n_seqs);
    return cache->length[seq];
}

/* Pages that hold the first `length` positions. */
static int pages_of(int length)
{
    return (int)div_up((uint64_t)length, KV_PAGE);
}

static uint32_t *row_of(const struct kv_cache *cache, int seq)
{
    assert(seq >= 0 && seq < cache->n_seqs);
    return cache->table + (size_t)seq * (size_t)cache->stride;
}

/* No page is ever copied here: a partly filled last page is never shared, since kv_share gives
 * whole pages only and kv_truncate leaves a shared page. */
enum hth_status kv_extend(struct kv_cache *cache, int seq, int n, const struct log *log)
{
    uint32_t *row = row_of(cache, seq);
    int length = cache->length[seq], have = pages_of(length), need;
    assert(n >= 0);
    if (n > cache->n_ctx - length)
        return log_fail(log, HTH_ERROR_LIMIT,
                        "the context is full: it holds %d positions, %d are used and %d more are "
                        "wanted; start with a larger --ctx or a shorter text",
                        cache->n_ctx, length, n);
    need = pages_of(length + n) - have;
    if (need > cache->n_unused)
        return log_fail(log, HTH_ERROR_LIMIT,
                        "the cache is full: %d of its %d pages are in use and %d more are wanted; "
                        "end another sequence first",
                        kv_pages_used(cache), cache->n_pages, need);
    for (int i = have; i < have + need; i++) {
        row[i] = cache->unused[--cache->n_unused];
        cache->refs[row[i]] = 1;
    }
    cache->length[seq] = length + n;
    return HTH_OK;
}

int kv_truncate(struct kv_cache *cache, int seq, int length)
{
    uint32_t *row = row_of(cache, seq);
    int have = pages_of(cache->length[seq]), keep;
    assert(length >= 0);
    if (length >= cache->length[seq])
        return cache->length[seq];
    keep = pages_of(length);
    if (length % KV_PAGE && cache->refs[row[keep - 1]] > 1) {
        keep--;
        length = keep * KV_PAGE;
    }
    for (int i = have - 1; i >= keep; i--) {
        if (--cache->refs[row[i]] == 0)
            cache->unused[cache->n_unused++] = row[i];
        row[i] = 0; /* a number that is always valid, for kernels that look ahead */
    }
    cache->length[seq] = length;
    return length;
}

int kv_share(struct kv_cache *cache, int to, int from, int length)
{
    uint32_t *row = row_of(cache, to);
    const uint32_t *source = row_of(cache, from);
    int n_pages;
    assert(to != from && length >= 0);
    kv_truncate(cache, to, 0);
    if (length > cache->length[from])
        length = cache->length[from];
    n_pages = length / KV_PAGE;
    for (int i = 0; i < n_pages; i++) {
        row[i] = source[i];
        cache->refs[row[i]]++;
    }
    cache->length[to] = n_pages * KV_PAGE;
    return cache->length[to];
}

const uint32_t *kv_table(const struct kv_cache *cache, int *stride)
{
    *stride = cache->stride;
    return cache->table;
}
