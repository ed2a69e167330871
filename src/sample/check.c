/* What options may be, and what their zeros mean. */
#include "sample/stage.h"

static enum hth_status check_bounds(const struct hth_sampler_options *o, const struct log *log)
{
    const struct {
        const char *name;
        double value, min, max;
    } bounds[] = {
        {"temp", o->temp, 0, 1e6},
        {"dynatemp_range", o->dynatemp_range, 0, 1e6},
        {"dynatemp_exponent", o->dynatemp_exponent, 0, 1e3},
        {"top_k", o->top_k, 0, INT32_MAX},
        {"top_p", o->top_p, 0, 1},
        {"min_p", o->min_p, 0, 1},
        {"typical_p", o->typical_p, 0, 1},
        {"top_n_sigma", o->top_n_sigma, 0, 1e6},
        {"xtc_probability", o->xtc_probability, 0, 1},
        {"xtc_threshold", o->xtc_threshold, 0, 1},
        {"mirostat_tau", o->mirostat_tau, 0, 1e3},
        {"mirostat_eta", o->mirostat_eta, 0, 1e3},
        {"repeat_last_n", o->repeat_last_n, -1, HISTORY_MAX},
        {"repeat_penalty", o->repeat_penalty, 0, 1e6},
        {"frequency_penalty", o->frequency_penalty, -1e6, 1e6},
        {"presence_penalty", o->presence_penalty, -1e6, 1e6},
        {"dry_multiplier", o->dry_multiplier, 0, 1e6},
        {"dry_allowed_length", o->dry_allowed_length, 0, HISTORY_MAX},
        {"dry_last_n", o->dry_last_n, -1, HISTORY_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++)
        if (!(bounds[i].value >= bounds[i].min && bounds[i].value <= bounds[i].max))
            return log_fail(log, HTH_ERROR_ARGUMENT, "sampling: %s is %g, but must be %g to %g",
                            bounds[i].name, bounds[i].value, bounds[i].min, bounds[i].max);
    if (o->dry_base != 0.0f && !(o->dry_base >= 1.0f && o->dry_base <= 1e6f))
        return log_fail(log, HTH_ERROR_ARGUMENT,
                        "sampling: dry_base is %g, but must be 0 or 1 to 1e+06",
                        (double)o->dry_base);
    if (o->mirostat != 0 && o->mirostat != 2)
        return log_fail(log, HTH_ERROR_ARGUMENT,
                        "sampling: there is mirostat 2 or none (0), not %d", o->mirostat);
    return HTH_OK;
}

static enum hth_status check(const struct hth_sampler_options *options, struct sampler_chain *chain,
                             const struct log *log)
{
    enum hth_status status = check_bounds(options, log);
    for (size_t i = 0; i < options->n_logit_bias && !status; i++)
        if (!(options->logit_bias[i].bias < INFINITY))
            status = log_fail(log, HTH_ERROR_ARGUMENT,
                              "sampling: the bias of token %d is %g, but must be a number or -inf",
                              options->logit_bias[i].id, (double)options->logit_bias[i].bias);
    if (!status)
        status = breakers_check(options->dry_breakers, log);
    return status ? status : sampler_chain_parse(chain, options, log);
}

enum hth_status sampler_check(const struct hth_sampler_options *options, const struct log *log)
{
    struct sampler_chain chain;
    return check(options, &chain, log);
}

enum hth_status sampler_review(const struct hth_sampler_options *options, const struct log *log)
{
    struct sampler_chain chain;
    enum hth_status status = check(options, &chain, log);
    if (status == HTH_OK)
        sampler_chain_warn(&chain, options, log);
    return status;
}

void sampler_fill_defaults(struct hth_sampler_options *options)
{
    if (options->dynatemp_exponent == 0.0f)
        options->dynatemp_exponent = 1.0f;
    if (options->xtc_threshold == 0.0f)
        options->xtc_threshold = 0.1f;
    if (options->mirostat_tau == 0.0f)
        options->mirostat_tau = 5.0f;
    if (options->mirostat_eta == 0.0f)
        options->mirostat_eta = 0.1f;
    if (options->repeat_last_n == 0)
        options->repeat_last_n = 64;
    if (options->repeat_last_n < 0)
        options->repeat_last_n = HISTORY_MAX;
    if (options->dry_base == 0.0f)
        options->dry_base = 1.75f;
    if (options->dry_allowed_length == 0)
        options->dry_allowed_length = 2;
    if (options->dry_last_n <= 0)
        options->dry_last_n = HISTORY_MAX;
}
