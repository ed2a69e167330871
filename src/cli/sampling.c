/* Options of sampling, as the field names them, and the sampler that they ask for. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "base/os.h"
#include "cli/options.h"
#include "cli/talk.h"

/* clang-format off */
static const struct option options[] = {
    {.name = "samplers", .type = OPTION_TEXT, .metavar = "LIST", .help = "the samplers in their order, ; between them "
     "[penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature]"},
    {.name = "sampler-seq", .type = OPTION_TEXT, .metavar = "LETTERS", .help = "the same as letters [edskypmxt]"},
    {.name = "seed", .letter = 's', .type = OPTION_INT, .metavar = "S", .min = 0, .max = 9007199254740991,
     .help = "same seed, same text (without: a new one each time)"},
    {.name = "temp", .letter = 't', .type = OPTION_REAL, .metavar = "T", .min = 0, .max = 100, .fallback = "0",
     .help = "temperature; 0 always takes the likeliest token"},
    {.name = "dynatemp-range", .type = OPTION_REAL, .metavar = "R", .min = 0, .max = 100, .fallback = "0",
     .help = "from T-R where the model is sure to T+R where it is not; 0: always T"},
    {.name = "dynatemp-exp", .type = OPTION_REAL, .metavar = "E", .min = 0.01, .max = 100, .fallback = "1",
     .help = "of the normalised entropy, on the way between them"},
    {.name = "top-k", .type = OPTION_INT, .metavar = "K", .min = 0, .max = INT32_MAX, .fallback = "0",
     .help = "only the K likeliest tokens; 0: all"},
    {.name = "top-p", .type = OPTION_REAL, .metavar = "P", .min = 0, .max = 1, .fallback = "1",
     .help = "only the likeliest tokens that make up P together"},
    {.name = "min-p", .type = OPTION_REAL, .metavar = "P", .min = 0, .max = 1, .fallback = "0",
     .help = "only tokens at least P times as likely as the likeliest"},
    {.name = "typical", .type = OPTION_REAL, .metavar = "P", .min = 0, .max = 1, .fallback = "1",
     .help = "only the most typical tokens that make up P together"},
    {.name = "top-nsigma", .type = OPTION_REAL, .metavar = "N", .min = -1, .max = 1000, .fallback = "-1",
     .help = "only logits N standard deviations below the largest; -1: all"},
    {.name = "xtc-probability", .type = OPTION_REAL, .metavar = "P", .min = 0, .max = 1, .fallback = "0",
     .help = "how often the likeliest tokens are left out"},
    {.name = "xtc-threshold", .type = OPTION_REAL, .metavar = "P", .min = 0.001, .max = 1, .fallback = "0.1",
     .help = "these are all but the last that is so likely; above 0.5: none"},
    {.name = "mirostat", .type = OPTION_CHOICE, .metavar = "V", .choices = "0|2", .fallback = "0",
     .help = "2: aim at a surprise, in place of all that leaves tokens out"},
    {.name = "mirostat-ent", .type = OPTION_REAL, .metavar = "TAU", .min = 0.01, .max = 100, .fallback = "5",
     .help = "this surprise, in bits"},
    {.name = "mirostat-lr", .type = OPTION_REAL, .metavar = "ETA", .min = 0.001, .max = 10, .fallback = "0.1",
     .help = "how fast to get there"},
    {.name = "repeat-last-n", .type = OPTION_INT, .metavar = "N", .min = -1, .max = 1048576, .fallback = "64",
     .help = "how far back tokens count as repeated; 0: none, -1: all"},
    {.name = "repeat-penalty", .type = OPTION_REAL, .metavar = "R", .min = 0.01, .max = 100, .fallback = "1",
     .help = "makes tokens that were there less likely; 1: no"},
    {.name = "presence-penalty", .type = OPTION_REAL, .metavar = "A", .min = -100, .max = 100, .fallback = "0",
     .help = "taken off their logits"},
    {.name = "frequency-penalty", .type = OPTION_REAL, .metavar = "A", .min = -100, .max = 100, .fallback = "0",
     .help = "the same for each time that they were there"},
    {.name = "dry-multiplier", .type = OPTION_REAL, .metavar = "A", .min = 0, .max = 100, .fallback = "0",
     .help = "taken off what would continue a repetition; 0: no"},
    {.name = "dry-base", .type = OPTION_REAL, .metavar = "B", .min = 1, .max = 100, .fallback = "1.75",
     .help = "times so much for each token that it is longer than allowed"},
    {.name = "dry-allowed-length", .type = OPTION_INT, .metavar = "N", .min = 1, .max = 1048576, .fallback = "2",
     .help = "tokens that may be repeated freely"},
    {.name = "dry-penalty-last-n", .type = OPTION_INT, .metavar = "N", .min = -1, .max = 1048576, .fallback = "-1",
     .help = "how far back to look for repetitions; 0: not, -1: all"},
    {.name = "dry-sequence-breaker", .type = OPTION_TEXTS, .metavar = "TEXT",
     .help = "no repetition goes across this; several times, or none [\\n : \" *]"},
    {.name = "logit-bias", .type = OPTION_TEXTS, .metavar = "TOKEN(+/-)A",
     .help = "added to a token's logit: 1234+1, 1234-inf; several times"},
    {0},
};
/* clang-format on */
const struct option_group options_sampling = {"Sampling", options};

/* Options and what they point to. */
struct request {
    struct hth_sampler_options options;
    struct hth_logit_bias biases[MAX_REPEATS];
    char texts[MAX_REPEATS][80];
    const char *breakers[MAX_REPEATS + 1];
};

/* "1234-inf": a token's number, a sign, a number. */
static bool parse_bias(const char *text, struct hth_logit_bias *out)
{
    char *end;
    errno = 0;
    long long id = strtoll(text, &end, 10);
    bool good = *text >= '0' && *text <= '9' && errno == 0 && id <= INT32_MAX;
    const char *sign = end;
    if (!good || (*sign != '+' && *sign != '-') || strpbrk(sign, "xX"))
        return false;
    double bias = strtod(sign, &end);
    if (end == sign + 1 || *end || !(bias < INFINITY) || (isfinite(bias) && fabs(bias) > 1e30))
        return false;
    *out = (struct hth_logit_bias){(int32_t)id, (float)bias};
    return true;
}

/* "\n" as it is typed becomes a newline, as in other programs of the field. False when it does not
 * fit, which no breaker does that the library takes. */
static bool unescape(const char *text, char *out, size_t size)
{
    static const char letters[] = "nrt\\\"'", means[] = "\n\r\t\\\"'";
    size_t len = 0;
    for (; *text && len + 1 < size; text++) {
        const char *letter = text[0] == '\\' && text[1] ? strchr(letters, text[1]) : NULL;
        out[len++] = letter ? means[letter - letters] : *text;
        text += letter != NULL;
    }
    out[len] = '\0';
    return *text == '\0';
}

static int read_lists(const struct args *args, struct request *request)
{
    struct hth_sampler_options *o = &request->options;
    const char *text;
    size_t n = 0;
    for (; (text = args_texts(args, "logit-bias", (int)o->n_logit_bias)); o->n_logit_bias++)
        if (!parse_bias(text, &request->biases[o->n_logit_bias]))
            return usage_error(args->command,
                               "--logit-bias wants a token's number and a bias with its sign, such "
                               "as 1234+1.5 or 1234-inf, not \"%s\"",
                               text);
    o->logit_bias = request->biases;
    for (; (text = args_texts(args, "dry-sequence-breaker", (int)n)); n++) {
        request->breakers[n] = request->texts[n];
        if (!unescape(text, request->texts[n], sizeof request->texts[n]))
            request->breakers[n] = text;
    }
    if (args_given(args, "dry-sequence-breaker"))
        o->dry_breakers = request->breakers;
    return EXIT_OK;
}

static int read_request(const struct args *args, struct request *request)
{
    *request = (struct request){0};
    request->options = (struct hth_sampler_options){
        .seed = args_bytes(args, "seed"),
        .samplers = args_text(args, "samplers"),
        .sampler_seq = args_text(args, "sampler-seq"),
        .temp = (float)args_real(args, "temp"),
        .dynatemp_range = (float)args_real(args, "dynatemp-range"),
        .dynatemp_exponent = (float)args_real(args, "dynatemp-exp"),
        .top_k = args_int(args, "top-k"),
        .top_p = (float)args_real(args, "top-p"),
        .min_p = (float)args_real(args, "min-p"),
        .typical_p = (float)args_real(args, "typical"),
        .top_n_sigma = (float)fmax(0, args_real(args, "top-nsigma")),
        .xtc_probability = (float)args_real(args, "xtc-probability"),
        .xtc_threshold = (float)args_real(args, "xtc-threshold"),
        .mirostat = strcmp(args_text(args, "mirostat"), "2") == 0 ? 2 : 0,
        .mirostat_tau = (float)args_real(args, "mirostat-ent"),
        .mirostat_eta = (float)args_real(args, "mirostat-lr"),
        .repeat_last_n = args_int(args, "repeat-last-n"),
        .dry_base = (float)args_real(args, "dry-base"),
        .dry_allowed_length = args_int(args, "dry-allowed-length"),
        .dry_last_n = args_int(args, "dry-penalty-last-n"),
    };
    struct hth_sampler_options *o = &request->options;
    if (o->repeat_last_n) { /* 0 means another number to the library */
        o->repeat_penalty = (float)args_real(args, "repeat-penalty");
        o->presence_penalty = (float)args_real(args, "presence-penalty");
        o->frequency_penalty = (float)args_real(args, "frequency-penalty");
    }
    if (o->dry_last_n)
        o->dry_multiplier = (float)args_real(args, "dry-multiplier");
    if (!args_given(args, "seed"))
        o->seed = (uint64_t)time(NULL) ^ os_time_ns() ^ (uint64_t)os_process_id() << 32;
    return read_lists(args, request);
}

int check_sampling(const struct args *args)
{
    struct request request;
    const struct log *log = talk_log();
    int code = read_request(args, &request);
    return code ? code : exit_of(hth_sampler_check(&request.options, log->write, log->user));
}

int open_sampler(const struct args *args, const struct hth_model *model, struct hth_sampler **out)
{
    struct request request;
    int code = read_request(args, &request);
    *out = NULL;
    return code ? code : exit_of(hth_sampler_create(out, model, &request.options));
}
