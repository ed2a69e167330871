/* Which stages work, in which order. */
#include "sample/stage.h"

#include <string.h>

#include "base/near.h"

/* The field's usual order: https://github.com/ggml-org/llama.cpp/tree/master/tools/main#usage,
 * --samplers. */
static const char usual[] = "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature";

/* "top-k" is "top_k". */
static bool is_name(const char *name, struct str text)
{
    bool same = strlen(name) == text.len;
    for (size_t i = 0; same && i < text.len; i++)
        same = name[i] == (text.ptr[i] == '-' ? '_' : text.ptr[i]);
    return same;
}

static const struct sampler_stage *find_name(struct str text)
{
    for (size_t s = 0; sampler_stage_list[s]; s++)
        for (size_t n = 0; sampler_stage_list[s]->names[n]; n++)
            if (is_name(sampler_stage_list[s]->names[n], text))
                return sampler_stage_list[s];
    return NULL;
}

static const struct sampler_stage *find_letter(char letter)
{
    for (size_t s = 0; sampler_stage_list[s]; s++)
        if (sampler_stage_list[s]->letter == letter)
            return sampler_stage_list[s];
    return NULL;
}

static enum hth_status unknown_name(struct str text, const struct log *log)
{
    enum { MAX_NAMES = 64 };
    const char *names[MAX_NAMES + 1] = {0};
    char wanted[64] = {0};
    size_t count = 0;
    for (size_t s = 0; sampler_stage_list[s]; s++)
        for (size_t n = 0; sampler_stage_list[s]->names[n] && count < MAX_NAMES; n++)
            names[count++] = sampler_stage_list[s]->names[n];
    for (size_t i = 0; i < text.len && i + 1 < sizeof wanted; i++)
        wanted[i] = text.ptr[i] == '-' ? '_' : text.ptr[i];
    const char *near = nearest_name(wanted, names);
    return log_fail(log, HTH_ERROR_ARGUMENT,
                    "sampling: there is no sampler \"%.*s\"%s%s%s (there are %s)", (int)text.len,
                    text.ptr, near ? ": did you mean " : "", near ? near : "", near ? "?" : "",
                    usual);
}

static enum hth_status unknown_letter(char letter, const struct log *log)
{
    char known[512] = "";
    size_t len = 0;
    for (size_t s = 0; sampler_stage_list[s]; s++) {
        const char *name = sampler_stage_list[s]->names[0];
        if (len + strlen(name) + 5 > sizeof known)
            break;
        len += strlen(strcpy(known + len, s ? ", " : ""));
        known[len++] = sampler_stage_list[s]->letter;
        known[len++] = ' ';
        len += strlen(strcpy(known + len, name));
    }
    return log_fail(log, HTH_ERROR_ARGUMENT,
                    "sampling: no sampler has the letter '%c' (there are: %s)", letter, known);
}

/* Is it to work, if the chain has it? */
static bool may_work(const struct sampler_stage *stage, const struct hth_sampler_options *options)
{
    return stage->is_on(options) && !(stage->cuts && options->mirostat);
}

static enum hth_status append(struct sampler_chain *chain, const struct sampler_stage *stage,
                              const struct hth_sampler_options *options, const struct log *log)
{
    if (!may_work(stage, options))
        return HTH_OK;
    if (chain->count == MAX_CHAIN)
        return log_fail(log, HTH_ERROR_ARGUMENT, "sampling: more than %d samplers in a row",
                        MAX_CHAIN);
    chain->stages[chain->count++] = stage;
    chain->needs |= stage->needs;
    return HTH_OK;
}

static enum hth_status parse_names(struct sampler_chain *chain, const char *names,
                                   const struct hth_sampler_options *options, const struct log *log)
{
    enum hth_status status = HTH_OK;
    for (const char *at = names; *at && !status;) {
        struct str name = {at, strcspn(at, ";")};
        const struct sampler_stage *stage = find_name(name);
        at += name.len + (at[name.len] == ';');
        if (!stage)
            return unknown_name(name, log);
        status = append(chain, stage, options, log);
    }
    return status;
}

enum hth_status sampler_chain_parse(struct sampler_chain *out,
                                    const struct hth_sampler_options *options,
                                    const struct log *log)
{
    enum hth_status status = HTH_OK;
    *out = (struct sampler_chain){0};
    if (options->samplers && options->sampler_seq)
        return log_fail(log, HTH_ERROR_ARGUMENT,
                        "sampling: the samplers are given by names and by letters: leave one out");
    if (!options->sampler_seq)
        return parse_names(out, options->samplers ? options->samplers : usual, options, log);
    for (const char *at = options->sampler_seq; *at && !status; at++) {
        const struct sampler_stage *stage = find_letter(*at);
        if (!stage)
            return unknown_letter(*at, log);
        status = append(out, stage, options, log);
    }
    return status;
}

static bool has_stage(const struct sampler_chain *chain, const struct sampler_stage *stage)
{
    for (int i = 0; i < chain->count; i++)
        if (chain->stages[i] == stage)
            return true;
    return false;
}

void sampler_chain_warn(const struct sampler_chain *chain,
                        const struct hth_sampler_options *options, const struct log *log)
{
    const char *named = options->sampler_seq ? options->sampler_seq : options->samplers;
    for (size_t s = 0; named && sampler_stage_list[s]; s++) {
        const struct sampler_stage *stage = sampler_stage_list[s];
        if (may_work(stage, options) && !has_stage(chain, stage))
            log_warning(log, "sampling: %s is set, but %s ('%c') is not among the samplers \"%s\"",
                        stage->options, stage->names[0], stage->letter, named);
    }
}
