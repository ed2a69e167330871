#include "sample/advice.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>

#include "base/mem.h"
#include "sample/sampler.h"

#define FIELD(name) offsetof(struct hth_sampler_options, name)

/* Numbers, and what a person may ask the program for. */
static const struct number_key {
    const char *name;
    size_t field;
    bool whole; /* an int */
    double min, max;
} numbers[] = {
    {"temp", FIELD(temp), false, 0, 100},
    {"top_k", FIELD(top_k), true, -1, INT32_MAX},
    {"top_p", FIELD(top_p), false, 0, 1},
    {"min_p", FIELD(min_p), false, 0, 1},
    {"xtc_probability", FIELD(xtc_probability), false, 0, 1},
    {"xtc_threshold", FIELD(xtc_threshold), false, 0.001, 1},
    {"penalty_last_n", FIELD(repeat_last_n), true, -1, 1048576},
    {"penalty_repeat", FIELD(repeat_penalty), false, 0.01, 100},
    {"mirostat", FIELD(mirostat), true, 0, 2},
    {"mirostat_tau", FIELD(mirostat_tau), false, 0.01, 100},
    {"mirostat_eta", FIELD(mirostat_eta), false, 0.001, 10},
};

static const struct gguf_key *find(const struct gguf *gguf, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "general.sampling.%s", name);
    return gguf_key_find(gguf, key);
}

static void read_number(struct hth_sampler_options *options, const struct number_key *number,
                        const struct gguf *gguf, const struct log *log)
{
    const struct gguf_key *key = find(gguf, number->name);
    void *field = (char *)options + number->field;
    double value;
    if (!key)
        return;
    if (!gguf_get_f64(key, 0, &value))
        log_warning(log, "%s: general.sampling.%s is no number, and is ignored", gguf_path(gguf),
                    number->name);
    else if (!(value >= number->min && value <= number->max) ||
             (number->whole && value != floor(value)))
        log_warning(
            log, "%s: general.sampling.%s is %g, and is ignored: it must be a %s from %g to %.10g",
            gguf_path(gguf), number->name, value, number->whole ? "whole number" : "number",
            number->min, number->max);
    else if (number->whole)
        *(int *)field = (int)value;
    else
        *(float *)field = (float)value;
}

/* Sentences of checks that are to be warnings. */
static void keep_line(void *user, enum hth_log_level level, const char *line)
{
    (void)level;
    snprintf(user, 512, "%s", line);
}

static enum hth_status read_samplers(struct advice *advice, const struct gguf *gguf,
                                     const struct log *log)
{
    enum { MOST_BYTES = 1000 };
    const struct gguf_key *key = find(gguf, "sequence");
    struct str text = {0};
    char why[512] = "it must be names with semicolons between them";
    const struct log keep = {keep_line, why, HTH_LOG_ERROR};
    if (!key)
        return HTH_OK;
    bool good = gguf_get_str(key, &text) && text.len && text.len < MOST_BYTES &&
                !memchr(text.ptr, '\0', text.len);
    char *copy = good ? mem_calloc(text.len + 1, 1) : NULL;
    if (good && !copy) {
        advice_free(advice);
        return log_fail_memory(log, "the file's samplers", text.len);
    }
    if (good)
        memcpy(copy, text.ptr, text.len);
    struct hth_sampler_options options = {.samplers = copy};
    if (good && sampler_check(&options, &keep) == HTH_OK) {
        advice->options.samplers = advice->samplers = copy;
        return HTH_OK;
    }
    log_warning(log, "%s: general.sampling.sequence is ignored: %s", gguf_path(gguf), why);
    mem_free(copy);
    return HTH_OK;
}

enum hth_status advice_read(struct advice *advice, const struct gguf *gguf, const struct log *log)
{
    struct hth_sampler_options *options = &advice->options;
    *advice = (struct advice){0};
    options->repeat_last_n = INT32_MIN; /* nothing, which 0 is not */
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        read_number(options, &numbers[i], gguf, log);
    if (options->repeat_last_n == 0)
        options->repeat_penalty = 0.0f; /* of no tokens */
    if (options->repeat_last_n == INT32_MIN)
        options->repeat_last_n = 0;
    if (options->top_k < 0)
        options->top_k = 0; /* all */
    if (options->mirostat == 1) {
        log_warning(log, "%s: general.sampling.mirostat is 1, and is ignored: there is mirostat 2",
                    gguf_path(gguf));
        options->mirostat = 0;
    }
    return read_samplers(advice, gguf, log);
}

void advice_free(struct advice *advice)
{
    mem_free(advice->samplers);
    *advice = (struct advice){0};
}
