/* Options of sampling, as the field names them, and the sampler that they ask for. */
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/os.h"
#include "cli/options.h"
#include "cli/talk.h"

/* clang-format off */
static const struct option options[] = {
    {.name = "samplers", .type = OPTION_TEXT, .metavar = "LIST",
     .also = "sampling-sequence",
     .help = "the samplers in their order, ; between them "
     "[penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature]"},
    {.name = "sampler-seq", .type = OPTION_TEXT, .metavar = "LETTERS",
     .also = "sampling-seq",
     .help = "the same as letters [edskypmxt]"},
    {.name = "seed", .letter = 's', .type = OPTION_INT, .metavar = "S", .min = -1, .max = 9007199254740991,
     .also = "rng-seed", .help = "same seed, same text; -1: a new one each time, which is said", .fallback = "-1"},
    {.name = "temp", .type = OPTION_REAL, .metavar = "T", .min = 0, .max = 100, .fallback = "0",
     .also = "temperature", .help = "temperature; 0 always takes the likeliest token"},
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
     .also = "typical-p typ-p", .help = "only the most typical tokens that make up P together"},
    {.name = "top-nsigma", .type = OPTION_REAL, .metavar = "N", .min = -1, .max = 1000, .fallback = "-1",
     .also = "top-n-sigma", .help = "only logits N standard deviations below the largest; -1: all"},
    {.name = "xtc-probability", .type = OPTION_REAL, .metavar = "P", .min = 0, .max = 1, .fallback = "0",
     .help = "how often the likeliest tokens are left out"},
    {.name = "xtc-threshold", .type = OPTION_REAL, .metavar = "P", .min = 0.001, .max = 1, .fallback = "0.1",
     .help = "these are all but the last that is so likely; above 0.5: none"},
    {.name = "mirostat", .type = OPTION_CHOICE, .metavar = "V", .choices = "0|2", .fallback = "0",
     .help = "2: aim at a surprise, in place of all that leaves tokens out"},
    {.name = "mirostat-ent", .type = OPTION_REAL, .metavar = "TAU", .min = 0.01, .max = 100, .fallback = "5",
     .also = "mirostat-tau", .help = "this surprise, in bits"},
    {.name = "mirostat-lr", .type = OPTION_REAL, .metavar = "ETA", .min = 0.001, .max = 10, .fallback = "0.1",
     .also = "mirostat-eta", .help = "how fast to get there"},
    {.name = "repeat-last-n", .type = OPTION_INT, .metavar = "N", .min = -1, .max = 1048576, .fallback = "64",
     .also = "penalty-last-n", .help = "how far back tokens count as repeated; 0: none, -1: all"},
    {.name = "repeat-penalty", .type = OPTION_REAL, .metavar = "R", .min = 0.01, .max = 100, .fallback = "1",
     .also = "repetition-penalty penalty-repeat", .help = "makes tokens that were there less likely; 1: no"},
    {.name = "presence-penalty", .type = OPTION_REAL, .metavar = "A", .min = -100, .max = 100, .fallback = "0",
     .also = "penalty-present", .help = "taken off their logits"},
    {.name = "frequency-penalty", .type = OPTION_REAL, .metavar = "A", .min = -100, .max = 100, .fallback = "0",
     .also = "penalty-freq", .help = "the same for each time that they were there"},
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

/* Options that are numbers of struct hth_sampler_options, as they are. */
static const struct {
    const char *name;
    size_t offset;
    bool whole;
} numbers[] = {
    {"temp", offsetof(struct hth_sampler_options, temp), false},
    {"dynatemp-range", offsetof(struct hth_sampler_options, dynatemp_range), false},
    {"dynatemp-exp", offsetof(struct hth_sampler_options, dynatemp_exponent), false},
    {"top-k", offsetof(struct hth_sampler_options, top_k), true},
    {"top-p", offsetof(struct hth_sampler_options, top_p), false},
    {"min-p", offsetof(struct hth_sampler_options, min_p), false},
    {"typical", offsetof(struct hth_sampler_options, typical_p), false},
    {"xtc-probability", offsetof(struct hth_sampler_options, xtc_probability), false},
    {"xtc-threshold", offsetof(struct hth_sampler_options, xtc_threshold), false},
    {"mirostat-ent", offsetof(struct hth_sampler_options, mirostat_tau), false},
    {"mirostat-lr", offsetof(struct hth_sampler_options, mirostat_eta), false},
    {"repeat-last-n", offsetof(struct hth_sampler_options, repeat_last_n), true},
    {"repeat-penalty", offsetof(struct hth_sampler_options, repeat_penalty), false},
    {"presence-penalty", offsetof(struct hth_sampler_options, presence_penalty), false},
    {"frequency-penalty", offsetof(struct hth_sampler_options, frequency_penalty), false},
    {"dry-multiplier", offsetof(struct hth_sampler_options, dry_multiplier), false},
    {"dry-base", offsetof(struct hth_sampler_options, dry_base), false},
    {"dry-allowed-length", offsetof(struct hth_sampler_options, dry_allowed_length), true},
    {"dry-penalty-last-n", offsetof(struct hth_sampler_options, dry_last_n), true},
};

static void read_numbers(const struct args *args, struct hth_sampler_options *o)
{
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        void *field = (char *)o + numbers[i].offset;
        if (numbers[i].whole)
            *(int *)field = args_int(args, numbers[i].name);
        else
            *(float *)field = (float)args_real(args, numbers[i].name);
    }
}

static int read_request(const struct args *args, struct request *request)
{
    *request = (struct request){0};
    struct hth_sampler_options *o = &request->options;
    read_numbers(args, o);
    o->seed = args_bytes(args, "seed");
    o->sampler_seq = args_text(args, "sampler-seq");
    if (!o->sampler_seq || !args_advised(args, "samplers"))
        o->samplers = args_text(args, "samplers");
    o->top_n_sigma = (float)fmax(0, args_real(args, "top-nsigma"));
    o->mirostat = strcmp(args_text(args, "mirostat"), "2") == 0 ? 2 : 0;
    if (o->repeat_last_n == 0) /* which means another number to the library */
        o->repeat_penalty = o->presence_penalty = o->frequency_penalty = 0.0f;
    if (o->dry_last_n == 0)
        o->dry_multiplier = 0.0f;
    return read_lists(args, request);
}

int check_sampling(const struct args *args)
{
    struct request request;
    const struct log *log = talk_log();
    int code = read_request(args, &request);
    return code ? code : exit_of(hth_sampler_check(&request.options, log->write, log->user));
}

/* The shortest decimal that is this float: 0.95, not 0.949999988. */
static void float_text(float x, char out[32])
{
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(out, 32, "%.*g", digits, (double)x);
        if (strtof(out, NULL) == x)
            return;
    }
}

void each_advised_option(const struct hth_sampler_options *advice, sampling_option_fn *fn,
                         void *user)
{
    char text[32];
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        const void *field = (const char *)advice + numbers[i].offset;
        int whole = numbers[i].whole ? *(const int *)field : 0;
        float real = numbers[i].whole ? 0.0f : *(const float *)field;
        if (numbers[i].whole)
            snprintf(text, sizeof text, "%d", whole);
        else
            float_text(real, text);
        if (whole || real != 0.0f)
            fn(user, numbers[i].name, text);
    }
    if (advice->mirostat)
        fn(user, "mirostat", "2");
    if (advice->samplers)
        fn(user, "samplers", advice->samplers);
}

struct advising {
    struct args *args;
    struct arena *texts;
    struct strbuf said;
    bool failed;
};

static void advise_option(void *user, const char *name, const char *text)
{
    struct advising *a = user;
    char *copy = arena_strdup(a->texts, text);
    a->failed |= !copy;
    if (copy && args_advise(a->args, name, copy))
        strbuf_printf(&a->said, " --%s %s", name, copy);
}

int advise_sampling(struct args *args, const struct hth_model *model, struct arena *texts)
{
    const struct hth_sampler_options advice = hth_model_get_sampling(model);
    struct advising a = {.args = args, .texts = texts};
    each_advised_option(&advice, advise_option, &a);
    int code =
        a.failed || a.said.failed ? talk_error("out of memory: what the model advises") : EXIT_OK;
    if (code == EXIT_OK && a.said.len)
        log_info(talk_log(), "as the model's file advises:%s", a.said.ptr);
    strbuf_free(&a.said);
    /* an option of the user may have no place among the file's samplers */
    return code == EXIT_OK && args_advised(args, "samplers") ? check_sampling(args) : code;
}

int settle_seed(struct args *args, uint64_t more, struct arena *texts)
{
    const uint64_t most = 9007199254740991, usual = INT32_MAX; /* what --seed takes; easy to read */
    const char *given = args_given(args, "seed") ? args_text(args, "seed") : "-1";
    uint64_t seed = strtod(given, NULL) < 0 ? (os_time_ns() ^ (uint64_t)time(NULL) * 2654435761u ^
                                               (uint64_t)os_process_id() << 16) %
                                                  usual
                                            : (args_bytes(args, "seed") + more) % (most + 1);
    char *text = arena_printf(texts, "%llu", (unsigned long long)seed);
    if (!text)
        return talk_error("out of memory: a sampler");
    return args_set(args, "seed", text) ? EXIT_OK : EXIT_USAGE;
}

const char *drawn_seed(const struct args *args)
{
    return args_real(args, "temp") > 0 ? args_text(args, "seed") : NULL;
}

int open_sampler(const struct args *args, const struct hth_model *model, struct hth_sampler **out)
{
    struct request request;
    int code = read_request(args, &request);
    *out = NULL;
    return code ? code : exit_of(hth_sampler_create(out, model, &request.options));
}
