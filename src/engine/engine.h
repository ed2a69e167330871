/*
 * engine.h — what the files of the engine share: the model with its devices, and the session.
 *
 * Private to src/engine and to tools of hearth's own that look deeper than hearth.h allows (listing
 * rows, printing graphs). Threads as in hearth.h.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stdatomic.h>

#include "base/os.h"
#include "base/pool.h"
#include "cpu/cpu_exec.h"
#include "gguf/gguf.h"
#include "gpu/exec.h"
#include "hearth/hearth.h"
#include "kv/kv.h"
#include "engine/experts.h"
#include "engine/keeping.h"
#include "engine/kernels.h"
#include "engine/placing.h"
#include "engine/prove.h"
#include "engine/tuned.h"
#include "model/model.h"
#include "sample/advice.h"
#include "text/template.h"
#include "text/tokenizer.h"

/* What anybody may ask of a model at any time, whoever may be moving it. */
struct told {
    struct os_mutex mutex;
    struct hth_model_info info;
    struct hth_plan_info plan;
    struct arena sentences; /* of all plans so far, and names: they are as old as the model */
};

/* A GPU that a model is on. */
struct model_device {
    struct vk *vk;
    struct proof proof;     /* which kernels are right there, */
    struct kernels kernels; /* and which of them fastest */
    struct place place;     /* weights */
    struct keeping_device keeping;
};

struct hth_model {
    struct os_mutex device; /* held by the session that uses pool and devices */
    struct hth_model_options opt;
    struct log log;
    char *rows, *device_name; /* copies of opt.rows and opt.device */
    char *name;               /* general.name, or NULL */
    struct strbuf synth;      /* bytes of a made model */
    struct gguf *gguf;
    struct tokenizer *tokenizer;
    struct template *template;
    atomic_bool chatml_said; /* that there is no template to use */
    struct str bos_text, eos_text;
    struct advice advice; /* for sampling */
    struct model *model;
    struct pool *pool;
    struct interleaved *interleaved; /* the CPU's matrices; NULL: they stay as the file has them */
    struct model_device devices[SPLIT_DEVICES]; /* from 1 on; 0 stands for the CPU */
    int n_devices;                              /* 1: the CPU runs it */
    struct placing placing;
    struct experts *experts; /* NULL: none change places */
    struct tuned_file tuned_file;
    struct keeping keeping;
    struct hth_session *sessions; /* that are open; under `device` */
    struct told told;
};

/* What spoils reading and writing text leaves evaluating token ids: such an error is kept, to
 * become a warning if its status lets the model open all the same. Other lines go on to `log`. */
struct kept_error {
    const struct log *log;
    char line[1024];
};
hth_log_fn kept_error_hear; /* its `user` is a struct kept_error */
void kept_error_say(const struct kept_error *kept, enum hth_log_level level);

/* The chat template: the caller's, or the file's own. */
HTH_MUST_CHECK chat_open_template(struct hth_model *model);

/* Hands a buffer's bytes over; an empty one still is a string. */
HTH_MUST_CHECK text_hand_over(const struct hth_model *model, struct strbuf *buf, char **text,
                              size_t *len);

/* Makes `told` true: when a model is opened, and after each move. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK model_tell(struct hth_model *model);

/* A model's graph on one device. */
struct model_part {
    const struct model *model;
    const struct split *split;
    const struct kv_geom *kv; /* [n_layer] */
    int device;
};
HTH_MUST_CHECK part_build(const struct model_part *part, struct graph *graph,
                          struct batch_size size);

/* All of it, with the choice of the best at its end where these are wanted. */
HTH_MUST_CHECK whole_build(const struct model *model, const struct kv_geom *kv, struct graph *graph,
                           struct batch_size size);

/* How many of the best a GPU is asked for: n_best, or 0 where no kernel of it fits, and the host
 * chooses them. */
int best_of_gpu(const struct model *model, const struct gpu_exec_options *options, int n_best);

/* Fills in what is usual. */
void session_fill(struct hth_session_options *session, const struct hparams *hp);
const struct dtype *session_kv_type(const struct hth_session_options *session);

/* CPU executors are kept per bucket, as programs are on the GPU. */
struct cpu_bucket {
    struct batch_size size;
    struct graph graph;
    struct cpu_exec *exec;
    uint64_t used; /* session.clock when it last was */
};

enum { MAX_CPU_BUCKETS = 8 };

/* A cache in the host's memory, while its session is off the devices. */
struct saved_pages {
    struct kv_geom *geom; /* [n_layer]: as it was laid out */
    uint8_t *of_cache;
    uint64_t page_bytes[SPLIT_DEVICES];
    uint32_t *slots;                      /* [n pages]: which of on_gpu */
    unsigned char *on_gpu[SPLIT_DEVICES]; /* pages in use, of each GPU */
    unsigned char *on_host;               /* all pages */
};

/* What came of the last feed. */
struct session_results {
    int n_best; /* they are so many of each output; 0: logits */
    size_t n;   /* outputs */
    void *rows; /* [n]: floats, or what op_top_k gives */
    size_t capacity;
};

enum contents {
    CONTENTS_THERE, /* with the executors */
    CONTENTS_SAVED,
    CONTENTS_LOST, /* are computed anew */
};

/* A session's part on a GPU. */
struct session_gpu {
    const struct hth_session *session;
    int device;
    struct gpu_exec *exec; /* NULL: it has no part of the model */
};

struct hth_session {
    struct hth_model *model;
    struct hth_session *next; /* of model->sessions */
    struct hth_session_options opt;
    bool entered;          /* executors are open */
    struct os_mutex pages; /* held by who changes which pages are whose, and who saves them */
    int32_t *page_ids;     /* [n pages × KV_PAGE]: which token a position is */
    enum contents contents;
    struct saved_pages saved;
    atomic_ullong bytes; /* that it holds */
    atomic_ullong read_bytes, expert_uses, expert_hits, expert_uploads;
    atomic_int pipelines, pipelines_compiled; /* of the model's devices */
    struct kv_geom *kv_geom;                  /* [n_layer] */
    uint64_t kv_page_bytes[SPLIT_DEVICES];
    struct kv_cache *kv;
    struct session_gpu gpu[SPLIT_DEVICES]; /* by device; the first is none */
    bool plain;   /* its logits were not usable: only the plainest kernels since */
    bool chooses; /* devices choose the best themselves */
    struct cpu_bucket cpu[MAX_CPU_BUCKETS];
    uint64_t clock;
    unsigned char *cpu_kv; /* all pages */
    void **cpu_pages;
    int32_t *ids, *pos, *seq, *outputs; /* of a batch, n_batch each */
    int *before;                        /* [n_seqs]: lengths when a feed began */
    struct session_results results;
    struct batch last;
    atomic_bool cancel;
};

/* Opens the Vulkan device that the options ask for: *vk is NULL when the CPU is to run the model.
 * `capture_stats`: its pipelines tell what the driver's compiler says of them (vk.h), and none
 * comes from the cache on disk. Options that name several are an error here. */
HTH_MUST_CHECK device_open(struct vk **vk, const struct hth_model_options *options,
                           bool capture_stats, const struct log *log);

/* Devices by their numbers in vk_list. */
struct device_list {
    int index[SPLIT_DEVICES - 1];
    int n;
};

/* Those of vk_list's devices that options ask for; none where the CPU is to run the model. Where
 * none is named these are the best real GPU and, if it has a memory of its own, all others that
 * have. Errors: HTH_ERROR_ARGUMENT, HTH_ERROR_DEVICE. */
HTH_MUST_CHECK device_choose(struct device_list *out, const char *wanted,
                             const struct vk_caps *devices, uint32_t count, const struct log *log);

/* The same of the devices that there are now. */
HTH_MUST_CHECK device_choose_now(struct device_list *out, const char *wanted,
                                 const struct log *log);

/* Opens one of them. */
HTH_MUST_CHECK device_open_at(struct vk **vk, int index, const struct hth_model_options *options,
                              const struct log *log);

/* The same to time kernels in many shapes, of which the cache on disk is to know nothing. */
HTH_MUST_CHECK device_open_to_time(struct vk **vk, int index,
                                   const struct hth_model_options *options, const struct log *log);

/* The number of a device in vk_list by "N" or a part of its name; −1: not there. */
int device_find(const struct vk_caps *devices, uint32_t count, const char *which);

#endif
