#include "harness/test.h"

#include <stdio.h>

#include "base/rng.h"
#include "kv/kv.h"

/* A cache of whole texts: what the page table promises, said without pages. Every position is
 * "written" with a fresh number into its page's slot when a sequence is extended; afterwards each
 * sequence must still read its own history, whatever others have done. */

enum { N_SEQS = 5, N_CTX = 700, N_PAGES = 30 };

struct world {
    struct kv_cache *cache;
    int expected[N_SEQS][N_CTX]; /* what was written at each position */
    int length[N_SEQS];
    int slots[N_PAGES][KV_PAGE]; /* the bytes */
    int next;
    struct rng rng;
};

static int *slot(struct world *w, int seq, int pos)
{
    int stride;
    const uint32_t *table = kv_table(w->cache, &stride);
    uint32_t page = table[seq * stride + pos / KV_PAGE];
    assert_true(page < N_PAGES);
    return &w->slots[page][pos % KV_PAGE];
}

static void check(struct world *w)
{
    bool used[N_PAGES] = {false};
    int n_used = 0, stride;
    const uint32_t *table = kv_table(w->cache, &stride);
    for (int s = 0; s < N_SEQS; s++) {
        assert_int_equal(kv_length(w->cache, s), w->length[s]);
        for (int i = 0; i < w->length[s]; i++)
            if (*slot(w, s, i) != w->expected[s][i])
                fail_msg("position %d of sequence %d was overwritten", i, s);
        for (int i = 0; i < (w->length[s] + KV_PAGE - 1) / KV_PAGE; i++) {
            n_used += !used[table[s * stride + i]];
            used[table[s * stride + i]] = true;
        }
    }
    assert_int_equal(kv_pages_used(w->cache), n_used);
}

static void extend(struct world *w, int seq, int n)
{
    int before = w->length[seq], used = kv_pages_used(w->cache);
    int need = (before + n + KV_PAGE - 1) / KV_PAGE - (before + KV_PAGE - 1) / KV_PAGE;
    enum hth_status status = kv_extend(w->cache, seq, n, NULL);
    if (before + n > N_CTX || used + need > N_PAGES) {
        assert_int_equal(status, HTH_ERROR_LIMIT);
        return;
    }
    assert_int_equal(status, HTH_OK);
    for (int i = before; i < before + n; i++)
        *slot(w, seq, i) = w->expected[seq][i] = w->next++;
    w->length[seq] = before + n;
}

static void truncate(struct world *w, int seq, int length)
{
    int got = kv_truncate(w->cache, seq, length);
    int most = length < w->length[seq] ? length : w->length[seq];
    assert_true(got <= most && got >= most / KV_PAGE * KV_PAGE);
    w->length[seq] = got;
}

static void share(struct world *w, int to, int from, int length)
{
    int most = length < w->length[from] ? length : w->length[from];
    int got = kv_share(w->cache, to, from, length);
    assert_int_equal(got, most / KV_PAGE * KV_PAGE);
    memcpy(w->expected[to], w->expected[from], (size_t)got * sizeof(int));
    w->length[to] = got;
}

TEST(sequences_keep_their_history)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        static struct world w;
        w = (struct world){.rng = rng_seed(seed)};
        print_message("seed %llu\n", (unsigned long long)seed);
        assert_int_equal(kv_create(&w.cache, N_SEQS, N_CTX, N_PAGES, NULL), HTH_OK);
        for (int step = 0; step < 1000; step++) {
            int seq = (int)rng_below(&w.rng, N_SEQS);
            int other = (seq + 1 + (int)rng_below(&w.rng, N_SEQS - 1)) % N_SEQS;
            switch (rng_below(&w.rng, 8)) {
            case 0: share(&w, seq, other, (int)rng_below(&w.rng, N_CTX)); break;
            case 1: truncate(&w, seq, (int)rng_below(&w.rng, N_CTX)); break;
            case 2: truncate(&w, seq, w.length[seq] / KV_PAGE * KV_PAGE); break;
            case 3: extend(&w, seq, KV_PAGE - w.length[seq] % KV_PAGE); break;
            case 4: extend(&w, seq, (int)rng_below(&w.rng, 200)); break;
            default: extend(&w, seq, 1 + (int)rng_below(&w.rng, 20)); break;
            }
            check(&w);
        }
        kv_destroy(w.cache);
    }
}
