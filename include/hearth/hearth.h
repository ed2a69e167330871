/*
 * hearth/hearth.h — run a language model: open it, feed it tokens, sample, read text.
 *
 * A model may be used by any number of threads and sessions; sessions of one model take turns on
 * its devices, feed by feed. Nothing of it changes once it is open but where it lives: when memory
 * of a device is taken away or given back, or a device is lost, whichever session is fed or
 * opened next moves the model, between two batches, and the others with it. No thread has to know:
 * calls of other sessions wait for that feed, as ever. A session (a cache with some sequences)
 * belongs to one thread at a time; only `hth_session_cancel` may be called from another. Strings
 * are UTF-8; those given are copied, those returned belong to the object they came from. Everything
 * returned by an `_open` or `_create` is the caller's to close; closing NULL does nothing; sessions
 * close before their model. Failures are values of enum hth_status; the sentence for a person goes
 * to the model's log.    docs/example.c is a whole program in 40 lines.
 */
#ifndef HEARTH_HEARTH_H
#define HEARTH_HEARTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hearth/sampling.h"
#include "hearth/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HTH_CHECKED __attribute__((warn_unused_result)) enum hth_status
#else
#define HTH_CHECKED enum hth_status
#endif

/* --- models ----------------------------------------------------------------------------------- */

struct hth_model;

enum hth_kv_type { HTH_KV_F16, HTH_KV_F32, HTH_KV_Q8_0, HTH_KV_Q4_0 };

/* All zero: one sequence, 4096 positions (or what the model was trained on, if less), F16 cache. */
struct hth_session_options {
    int n_ctx;   /* positions per sequence */
    int n_seqs;  /* sequences */
    int n_batch; /* tokens computed at once, at most; 0: as the model was opened for; there 512, or
                  * more where weights pass through a GPU and prompts are faster so */
    int n_outputs; /* logits of so many of a batch's tokens will be wanted; 0: of few. More than
                    * that take memory when they are first asked for */
    int n_best;    /* what feeds will mostly ask for (struct hth_feed): it is ready at once */
    enum hth_kv_type kv;
    bool float_only; /* no integer activations, no fp16 arithmetic: the most exact there is */
    bool profile;    /* a time for every step (hth_session_profile) */
};

/* Loading goes on while this returns true; `done` of `total` bytes are where they belong. */
typedef bool hth_progress_fn(void *user, uint64_t done, uint64_t total);

/* Where a tensor of the file is to live: 0 in the host's memory, N on the N-th of the GPUs in use
 * (on any, where there are not as many), −1 where the plan finds best. Asked for each expert of a
 * tensor that holds some (else `expert` is −1); an expert is on a GPU when all its matrices are. */
typedef int hth_place_fn(void *user, const char *tensor, int expert);

/* All zero: real GPUs if there are any, else the CPU; errors and warnings are dropped. */
struct hth_model_options {
    const char *device; /* "auto" (also NULL), "cpu", "vulkan", "vulkan:N", "vulkan:NAME" (part of a
                         * device's name), or up to three of the last two with commas between;
                         * software devices only by number or name */
    int n_threads;      /* of the CPU side; 0: one per processor, or as tuned */
    hth_log_fn *log;    /* receives what there is to say; NULL: nobody */
    void *log_user;
    enum hth_log_level log_level;
    hth_progress_fn *progress; /* may be NULL; called while the model opens, as `place` is */
    void *progress_user;
    bool vocabulary_only;           /* tokens and templates; no weights, no sessions */
    const char *chat_template;      /* Jinja, in place of the file's own; NULL: that */
    const char *chat_template_name; /* where it is from, for messages: a path */
    bool validate;                  /* Vulkan's validation layer */
    bool treat_as_discrete;         /* tests: stage everything, as if memory were apart */
    /* What sessions will ask for: the plan makes room for it. Zero is a session's usual. */
    struct hth_session_options session;
    uint64_t vram_bytes; /* of each GPU's memory to use at most; 0: what the driver grants */
    uint64_t ram_bytes;  /* of the host's memory that the plan counts on; 0: what is free */
    bool no_repack; /* the CPU reads its weights as the file has them: slower, but memory is that of
                     * the mapped file, which programs share */
    /* What is said by hand binds the plan, as far as memory allows: what does not fit stays with
     * the CPU, and a warning says so. `place` comes before `places`, these before the numbers. */
    int gpu_layers; /* 0: the plan decides; N: the last N layers are on the GPU, and with one more
                     * than there are the output too; −1: nothing lives there, though weights may
                     * pass through it for prompts (device "cpu": never) */
    bool cpu_moe;   /* all experts stay with the CPU, */
    int n_cpu_moe;  /* or those of the first so many layers */
    const char *const *places; /* "PATTERN=cpu", "PATTERN=vulkan" or "PATTERN=vulkan:N": tensors
                                * whose name the regular expression is found in; the last wins */
    int n_places;
    hth_place_fn *place; /* asked for each tensor; may be NULL */
    void *place_user;
    double self_test_s; /* time for comparing kernels of the GPU that are new to this device and
                         * driver with the CPU; 0: 3 s; −1: none, and then kernels known to be wrong
                         * here are used, too */
    bool measure;       /* rates that the plan's figures rest on and that were not measured on this
                         * machine are, now: about two seconds, once */
    bool untuned;       /* what hearth tune found best for this model here is not used, */
    bool as_planned;    /* or only what it found of kernels */
    const char *rows;   /* tests: only the GPU's kernels of this name, or NAME_… */
};

/* Opens a GGUF file, or "synth:SHAPE:QUANT", a model with random weights made in memory. What fits
 * is on the GPU; where not all does, a plan decides by what is fastest (docs/placement.md). Errors:
 * HTH_ERROR_IO, _FORMAT, _UNSUPPORTED, _MEMORY, _DEVICE, _CANCELLED; _LIMIT for a session that fits
 * nowhere; _ARGUMENT for an option that names a device, memory or kernels that there are not. */
HTH_CHECKED hth_model_open(struct hth_model **out, const char *path,
                           const struct hth_model_options *options);
void hth_model_close(struct hth_model *model);

struct hth_model_info {
    const char *architecture; /* "llama" */
    const char *name;         /* general.name, or "" */
    const char *device;       /* where it runs: a device's name, "A and B", or "CPU" */
    const char *driver;       /* Vulkan driver, or "" */
    bool on_gpu, software;    /* software: a Vulkan device that is a program */
    int n_vocab, n_embd, n_layer, n_ctx_train;
    uint64_t n_params;
    uint64_t weight_bytes_file;     /* of all weights in use, as the file stores them */
    uint64_t weight_bytes_resident; /* allocated for them on the device, or mapped */
    int kernels_checked;            /* when it was opened, as they were new to this device, */
    double kernels_checked_s;       /* in so many seconds */
    int kernels_wrong;              /* known to be wrong here, which are not used */
    bool kernels_left;              /* some are still to be checked, at the next start */
};
struct hth_model_info hth_model_get_info(const struct hth_model *model);

/* Where a model's parts live now, and how fast the plan thinks that is. */
struct hth_plan_info {
    uint64_t gpu_weight_bytes, host_weight_bytes;
    uint64_t gpu_kv_bytes, host_kv_bytes; /* keys and values of the session that was planned for */
    uint64_t gpu_bytes;                   /* weights, keys and values, activations: all on GPUs */
    uint64_t gpu_budget_bytes;            /* of which it may be at most; 0: no GPU has a part */
    uint64_t streamed_bytes;    /* of host_weight_bytes, that pass through the GPU for batches */
    int stream_from;            /* of so many tokens or more; 0: none do */
    double file_part;           /* of host_weight_bytes, that RAM has no room for: it is read from
                                 * the file for every token */
    int n_gpus;                 /* that have a part */
    int n_layers_kv_gpu;        /* layers whose keys and values are on a GPU */
    int n_ctx, n_seqs, n_batch; /* of that session */
    double prompt_tokens_per_s, answer_tokens_per_s; /* 0: not predicted */
    bool estimated;       /* some rate behind the prediction is not measured on this machine */
    bool divided;         /* it is not where it would be without limits: all on one device */
    const char *sentence; /* what was decided, and why, for a person */
};
struct hth_plan_info hth_model_get_plan(const struct hth_model *model);

/* A turn: n_prompt tokens at once behind `depth` others, then n_answer one by one. */
struct hth_turn {
    int depth, n_prompt, n_answer;
};

/* How fast the plan thinks that a turn is; 0 for a part that it does not have. */
struct hth_expected {
    double prompt_tokens_per_s, answer_tokens_per_s;
    bool estimated; /* as in hth_plan_info */
};
struct hth_expected hth_model_expect(const struct hth_model *model, const struct hth_turn *turn);

/* Tells what a turn took, so that what was measured of this machine is corrected where it does not
 * hold (any more). 0 s: not known, or not typical: what is evaluated for the first time is compiled
 * and loaded then. Turns that are too short say nothing; single ones that are odd change nothing. A
 * model whose rates are not measured learns nothing. Keeps the result in the user's cache folder;
 * what is in use is not changed. Errors: HTH_ERROR_MEMORY. */
HTH_CHECKED hth_model_achieved(const struct hth_model *model, const struct hth_turn *turn,
                               double prompt_s, double answer_s);

/* --- text ------------------------------------------------------------------------------------- */

/* Token ids of `text` (`len` bytes of anything). Free *ids with hth_free. `bos`: put the
 * vocabulary's beginning-of-sequence token in front if it wants one, and its end or separator
 * behind if it wants that. `special`: texts like "<|im_end|>" become the control tokens they name;
 * never set it for what a stranger wrote. */
HTH_CHECKED hth_tokenize(const struct hth_model *model, const char *text, size_t len, bool bos,
                         bool special, int32_t **ids, size_t *count);

/* Text of tokens, with a zero after its *len bytes; free it with hth_free. */
HTH_CHECKED hth_detokenize(const struct hth_model *model, const int32_t *ids, size_t count,
                           bool special, char **text, size_t *len);

/* Does this token end an answer? */
bool hth_token_is_end(const struct hth_model *model, int32_t id);

struct hth_message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
};

/* A conversation, and what its template may want to know besides. */
struct hth_chat {
    const struct hth_message *messages;
    size_t n_messages;
    bool prompt;           /* ready for the assistant's answer */
    const char *variables; /* a JSON object: its members are variables of the template, such as
                            * {"enable_thinking": false}; NULL: none */
};

/* Renders a conversation by the model's chat template (ChatML if it has none, with a warning the
 * first time). Free *text with hth_free; tokenize it with `special`. Errors: HTH_ERROR_ARGUMENT
 * when the template refuses the conversation (the message has its words) or `variables` is no JSON
 * object, _FORMAT and _UNSUPPORTED for what is wrong with the template, _LIMIT, _MEMORY. */
HTH_CHECKED hth_render(const struct hth_model *model, const struct hth_chat *chat, char **text,
                       size_t *len);

/* Does the model's chat template look at a variable of this name? */
bool hth_template_uses(const struct hth_model *model, const char *name);

/* hth_render without variables. */
HTH_CHECKED hth_render_chat(const struct hth_model *model, const struct hth_message *messages,
                            size_t count, bool prompt, char **text, size_t *len);

/* Bytes of tokens, made into whole UTF-8 characters for a stream: *text (*len bytes and a zero,
 * maybe empty, valid until the next call) never ends inside a character. Pushing a token of the
 * vocabulary needs no memory; HTH_ERROR_MEMORY, with empty text, otherwise. */
struct hth_stream;
HTH_CHECKED hth_stream_create(struct hth_stream **out, const struct hth_model *model);
HTH_CHECKED hth_stream_push(struct hth_stream *stream, int32_t id, const char **text, size_t *len);
HTH_CHECKED hth_stream_end(struct hth_stream *stream, const char **text, size_t *len);

/* From here on the text ends before the first of these (at most 256 texts of 1 to 255 bytes of
 * UTF-8, copied), wherever tokens begin and end. What may still become one is held back until the
 * next push or the end. The text of a control token ("<|im_end|>") is that token. Errors:
 * HTH_ERROR_ARGUMENT, _MEMORY; then it is as it was. */
HTH_CHECKED hth_stream_stop_at(struct hth_stream *stream, const char *const *texts, size_t count);
/* Did it? Nothing more comes then, until hth_stream_end has made the stream ready for another. */
bool hth_stream_stopped(const struct hth_stream *stream);
void hth_stream_destroy(struct hth_stream *stream);

void hth_free(void *ptr);

/* --- sessions --------------------------------------------------------------------------------- */

struct hth_session;

/* Allocates all that the session will need. One that asks for more than the model was opened for
 * gets it where memory allows. Errors: HTH_ERROR_MEMORY or _LIMIT (with what it would
 * take), _DEVICE, _UNSUPPORTED. */
HTH_CHECKED hth_session_open(struct hth_session **out, struct hth_model *model,
                             const struct hth_session_options *options);
void hth_session_close(struct hth_session *session);

enum hth_outputs { HTH_OUTPUT_LAST, HTH_OUTPUT_NONE, HTH_OUTPUT_ALL };

/* Tokens that continue a sequence. */
struct hth_feed {
    int seq;
    const int32_t *ids;
    int count;
    enum hth_outputs outputs; /* of which positions logits are wanted */
    int n_last;               /* with HTH_OUTPUT_LAST: of the last how many; 0: of one */
    /* Of each of them only so many of the likeliest tokens are wanted (hth_session_best), which
     * spares the way of all logits from their device; 0, or no fewer than there are: logits. */
    int n_best;
};

enum { HTH_BEST_MOST = 64 }; /* more than that are logits, too */

/* Computes tokens of one or several sequences (each at most once per call), in as few batches as
 * n_batch allows. Logits of the wanted positions, or the best of them where every feed that wants
 * some has n_best, replace those of the call before, in the order of feeds and positions. Blocks.
 * What a device has no memory for, or is lost with, is computed all the same, with the model moved.
 * On failure no sequence has changed, but for HTH_ERROR_CANCELLED: then hth_session_length tells
 * how far it came. Errors: HTH_ERROR_ARGUMENT (an id outside the vocabulary, no such sequence),
 * _LIMIT (the context is full), _CANCELLED, _DEVICE, _MEMORY (of the host); _FORMAT when what comes
 * out is not finite or all zero, by the plainest kernels, too. */
HTH_CHECKED hth_session_feed(struct hth_session *session, const struct hth_feed *feeds,
                             int n_feeds);

/* Logits of the index-th wanted position of the last feed, n_vocab floats valid until the next;
 * NULL if there is none, or only the best are there. */
const float *hth_session_logits(const struct hth_session *session, int index);

/* The likeliest tokens of a position, in order, ties by the lower id. */
struct hth_best {
    int count; /* the largest n_best of the feeds; 0: there are none, or all logits are there */
    const int32_t *ids;
    const float *logits; /* NULL where count is 1 */
};

/* Of the index-th wanted position of the last feed, valid until the next. */
struct hth_best hth_session_best(const struct hth_session *session, int index);

/* Wanted positions of the last feed. */
int hth_session_n_logits(const struct hth_session *session);

/* Tokens in a sequence. */
int hth_session_length(const struct hth_session *session, int seq);

/* Forgets all from `length` on; returns the length it now has, which may be less where pages are
 * shared. */
int hth_session_truncate(struct hth_session *session, int seq, int length);

/* Lets `to` begin like the first `length` tokens of `from` without computing them again, as far as
 * whole pages of the cache go; returns how many it got. `to` is emptied first. */
int hth_session_share(struct hth_session *session, int to, int from, int length);

/* Makes the feed in progress, or the next if there is none, return HTH_ERROR_CANCELLED soon. What
 * it had computed stays: hth_session_length tells how far each sequence came. Any thread. */
void hth_session_cancel(struct hth_session *session);

/* What a session holds. */
struct hth_session_info {
    int n_ctx, n_seqs, n_batch;
    uint64_t bytes;      /* cache, activations and buffers */
    uint64_t read_bytes; /* of logits, or the best of them, that came from the GPU so far */
    /* Where a layer's experts are divided between the GPU and the CPU and change places: how often
     * tokens have used one, the GPU had it, and one was brought there. */
    uint64_t expert_uses, expert_hits, expert_uploads;
    /* Kernels, each in a shape of its own, that the model's GPUs have by now; those of them that
     * were compiled, as far as the driver says so: the others were on disk. */
    int pipelines, pipelines_compiled;
};
struct hth_session_info hth_session_get_info(const struct hth_session *session);

/* With `profile`: calls fn for each step of the last batch, in order. `row` names the kernel. */
typedef void hth_profile_fn(void *user, const char *label, const char *row, uint64_t time_ns,
                            uint64_t bytes, uint64_t flops);
HTH_CHECKED hth_session_profile(struct hth_session *session, hth_profile_fn *fn, void *user);

/* --- sampling --------------------------------------------------------------------------------- */

/* Options: struct hth_sampler_options in hearth/sampling.h; all zero is greedy. A sampler belongs
 * to one thread at a time, and is destroyed before its model is closed. */
struct hth_sampler;

/* Are these options good, whatever the model? A sampler that hth_sampler_create then refuses has a
 * bias of a token that the model lacks. What is set but not among `samplers` is a warning. Errors:
 * HTH_ERROR_ARGUMENT. `log` may be NULL. */
HTH_CHECKED hth_sampler_check(const struct hth_sampler_options *options, hth_log_fn *log,
                              void *log_user);

/* What the model's file advises (its keys general.sampling.*), as options: zero where it says
 * nothing. They do nothing by themselves; a seed is never among them. */
struct hth_sampler_options hth_model_get_sampling(const struct hth_model *model);

/* `options` may be NULL. Errors: HTH_ERROR_ARGUMENT naming what is out of range, _MEMORY. */
HTH_CHECKED hth_sampler_create(struct hth_sampler **out, const struct hth_model *model,
                               const struct hth_sampler_options *options);
void hth_sampler_destroy(struct hth_sampler *sampler);

/* The text so far, a prompt's for example, in place of what the sampler remembers: penalties and
 * DRY see it. Random numbers go on as they were. */
void hth_sampler_set_history(struct hth_sampler *sampler, const int32_t *ids, size_t count);

/* As just created: no text so far, the seed's first numbers. */
void hth_sampler_reset(struct hth_sampler *sampler);

/* How many of the likeliest tokens it is enough for the sampler to know, for hth_feed.n_best: the
 * same token is picked then as by all logits. 0: all. */
int hth_sampler_best(const struct hth_sampler *sampler);

/* Picks a token by the index-th logits of the last feed, or the best of them, and remembers it as
 * part of the text. Errors: HTH_ERROR_FORMAT when the logits are not numbers, or no token may come;
 * HTH_ERROR_ARGUMENT when there are no logits, or fewer of the best than the sampler must know. */
HTH_CHECKED hth_sample(struct hth_sampler *sampler, const struct hth_session *session, int index,
                       int32_t *id);

/* Version of the library, "0.1.0". */
const char *hth_version(void);

#ifdef __cplusplus
}
#endif

#endif
