/*
 * samplebench.c — what picking a token takes: chains of samplers over invented logits of a large
 * vocabulary, on one core. Speeds move while a machine is in use, so the chains run in turn, and
 * the best of their picks counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "base/rng.h"
#include "sample/sampler.h"

enum { KINDS = 3, MOST_VOCAB = 1 << 22, MOST_PICKS = 100000 };

static const char *const kind_names[KINDS] = {"as a model's", "thousands likely", "all alike"};

static const struct {
    const char *name;
    struct hth_sampler_options options;
} chains[] = {
    {"temperature alone", {.temp = 0.8f}},
    {"top-k 40, top-p, min-p", {.temp = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f}},
    {"min-p 0.05", {.temp = 0.8f, .min_p = 0.05f}},
    {"top-p 0.95", {.temp = 0.8f, .top_p = 0.95f}},
    {"top-p 0.95, min-p 0.05", {.temp = 0.8f, .top_p = 0.95f, .min_p = 0.05f}},
    {"typical 0.9", {.temp = 0.8f, .typical_p = 0.9f}},
    {"dynamic temperature", {.temp = 0.8f, .dynatemp_range = 0.5f, .dynatemp_exponent = 1}},
    {"mirostat 2", {.temp = 0.8f, .mirostat = 2, .mirostat_tau = 5, .mirostat_eta = 0.1f}},
    {"top-k 20000", {.temp = 0.8f, .top_k = 20000}},
};

static void write_log(void *user, enum hth_log_level level, const char *line)
{
    (void)user, (void)level;
    fprintf(stderr, "samplebench: %s\n", line);
}

static const struct log talk = {.write = write_log, .max_level = HTH_LOG_WARNING};

/* Sums of three uniform numbers are nearly normal. A model's: deviation 2, a few dozen stand out.
 */
static float logit(struct rng *rng, int kind)
{
    float normal = rng_float(rng) + rng_float(rng) + rng_float(rng) - 1.5f, u = rng_float(rng);
    switch (kind) {
    case 0: return 4 * normal + (u < 0.0003f ? 12 + 20000 * u : 0);
    case 1: return 10 * rng_float(rng) * rng_float(rng) * rng_float(rng) * u + 2 * normal;
    default: return 1e-3f * normal;
    }
}

/* Picks once; returns the time. Negative: it failed, and said why. */
static double pick_ms(struct sampler *sampler, const float *logits)
{
    int32_t id;
    uint64_t from = os_time_ns();
    if (sampler_pick(sampler, logits, &id, &talk))
        return -1;
    return (double)(os_time_ns() - from) / 1e6;
}

static bool measure(const float *logits, int n_vocab, int n_picks, double best[])
{
    struct sampler *samplers[ARRAY_LEN(chains)] = {0};
    const struct sampler_vocab vocab = {.n_tokens = n_vocab};
    bool good = true;
    for (size_t c = 0; c < ARRAY_LEN(chains) && good; c++)
        good = sampler_create(&samplers[c], &vocab, &chains[c].options, &talk) == HTH_OK;
    for (int i = 0; i < n_picks && good; i++)
        for (size_t c = 0; c < ARRAY_LEN(chains) && good; c++) {
            double ms = pick_ms(samplers[c], logits);
            good = ms >= 0;
            if (i == 0 || ms < best[c])
                best[c] = ms;
        }
    for (size_t c = 0; c < ARRAY_LEN(chains); c++)
        sampler_destroy(samplers[c]);
    return good;
}

int main(int argc, char **argv)
{
    int n_vocab = argc > 1 ? atoi(argv[1]) : 152000, n_picks = argc > 2 ? atoi(argv[2]) : 100;
    double best[KINDS][ARRAY_LEN(chains)];
    if (argc > 3 || n_vocab < 1 || n_vocab > MOST_VOCAB || n_picks < 1 || n_picks > MOST_PICKS) {
        fprintf(stderr, "usage: samplebench [VOCABULARY [PICKS]]\n");
        return 2;
    }
    float *logits = mem_calloc((size_t)n_vocab, sizeof *logits);
    bool good = logits != NULL;
    for (int kind = 0; kind < KINDS && good; kind++) {
        struct rng rng = rng_seed(1);
        for (int i = 0; i < n_vocab; i++)
            logits[i] = logit(&rng, kind);
        good = measure(logits, n_vocab, n_picks, best[kind]);
    }
    mem_free(logits);
    if (!good)
        return 1;
    printf("%d tokens, best of %d picks, ms%*s", n_vocab, n_picks, 2, "");
    for (int kind = 0; kind < KINDS; kind++)
        printf("  %16s", kind_names[kind]);
    for (size_t c = 0; c < ARRAY_LEN(chains); c++) {
        printf("\n%-34s", chains[c].name);
        for (int kind = 0; kind < KINDS; kind++)
            printf("  %16.3f", best[kind][c]);
    }
    putchar('\n');
    return 0;
}
