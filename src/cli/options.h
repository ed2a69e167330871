/*
 * options.h — options that several commands share, and what they open: models and sessions.
 *
 * Owns the tables of these options; what is opened is the caller's. The program's main thread.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "base/arena.h"
#include "base/str.h"
#include "cli/command.h"
#include "hearth/hearth.h"

extern const struct option_group options_common;    /* --help, --verbose: every command has them */
extern const struct option_group options_device;    /* --device, --threads */
extern const struct option_group options_session;   /* --ctx, --batch, --kv, --float */
extern const struct option_group options_sampling;  /* --samplers … --logit-bias */
extern const struct option_group options_placement; /* --vram … --place */
extern const struct option_group options_test;      /* --rows, --validate, --discrete */

/* The program's main notes here when it began. */
extern uint64_t program_started_ns;

/* What options_device and options_test ask for. */
struct hth_model_options model_options(const struct args *args);

/* Adds what options_placement asks for; `place` must live as long as the options. */
struct placement {
    const char *patterns[MAX_REPEATS];
    int n;
};
void placement_options(const struct args *args, struct placement *place,
                       struct hth_model_options *options);

/* Opens a model by options_device, options_placement and options_test, for a session of this kind,
 * with a progress bar; Ctrl-C cancels. `measure`: what it should do here is measured, if it was not
 * yet. Returns an exit code, everything said. */
ATTR_WARN_UNUSED int open_model(const struct args *args, const char *path,
                                const struct hth_session_options *for_session, bool measure,
                                struct hth_model **out);

/* The same with another chat template, unless that is NULL or without a text. */
struct chat_template {
    struct strbuf text;
    const char *name; /* in messages */
};
ATTR_WARN_UNUSED int open_chat_model(const struct args *args, const char *path,
                                     const struct chat_template *template,
                                     const struct hth_session_options *for_session,
                                     struct hth_model **out);

/* Opens a model's vocabulary only: no command that takes this needs options_device. */
ATTR_WARN_UNUSED int open_vocabulary(const char *path, const struct chat_template *template,
                                     struct hth_model **out);

/* An option of a command's table. */
/* clang-format off */
#define OPTION_KV \
    {.name = "kv", .type = OPTION_CHOICE, .metavar = "TYPE", .choices = "f16|f32|q8_0|q4_0", .fallback = "f16", \
     .also = "cache-type-k cache-type-v ctk ctv kv-cache-type", \
     .help = "of the cache of keys and values: f16, f32, q8_0 (half of f16) or q4_0 (a quarter, less exact)"}
/* clang-format on */

/* The type that --kv names. */
enum hth_kv_type kv_option(const struct args *args);

/* What options_session asks for. */
struct hth_session_options session_options(const struct args *args);

/* Are options_sampling good? Worth asking before a large model is opened. Returns an exit code,
 * everything said. */
ATTR_WARN_UNUSED int check_sampling(const struct args *args);

/* The options of options_sampling that stand for what a model's file advises: "--temp 0.6 --top-k
 * 20". Calls `fn` for each; `text` is valid until it returns. */
typedef void sampling_option_fn(void *user, const char *name, const char *text);
void each_advised_option(const struct hth_sampler_options *advice, sampling_option_fn *fn,
                         void *user);

/* Lets options_sampling that are not given be what the model's file advises; with --verbose a line
 * says which. Their texts are put into `texts`. Returns an exit code, everything said. */
ATTR_WARN_UNUSED int advise_sampling(struct args *args, const struct hth_model *model,
                                     struct arena *texts);

/* Gives --seed a number: its own plus `more`, or one at random where it has none or −1. Its text is
 * put into `texts`. Returns an exit code, everything said. */
ATTR_WARN_UNUSED int settle_seed(struct args *args, uint64_t more, struct arena *texts);

/* The seed as a text for whoever wants the same answer again; NULL: it plays no part. */
const char *drawn_seed(const struct args *args);

/* A sampler by options_sampling, whose seed is settled; NULL on failure. */
ATTR_WARN_UNUSED int open_sampler(const struct args *args, const struct hth_model *model,
                                  struct hth_sampler **out);

/* Reads a text that must be UTF-8 without zero bytes: `text` as it is, else the file at `path`
 * ("-": stdin), into `out`. `what` names it in messages: "the prompt". */
ATTR_WARN_UNUSED int read_text(const char *text, const char *path, const char *what,
                               struct strbuf *out);

/* "\n" as it is typed becomes a newline, as in other programs of the field: of \n, \r, \t, \\, \"
 * and
 * \'. False when it does not fit. */
bool unescape(const char *text, char *out, size_t size);

/* Token ids of a text with its control tokens parsed, and the vocabulary's BOS in front unless the
 * text begins with it. Free *ids with hth_free. */
ATTR_WARN_UNUSED int tokenize_prompt(const struct hth_model *model, struct str text, int32_t **ids,
                                     int *count);

#endif
