#include "cli/options.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/os.h"
#include "cli/interrupt.h"
#include "cli/talk.h"
#include "text/utf8.h"

enum { MAX_TEXT_BYTES = 256 << 20 };

uint64_t program_started_ns;

/* clang-format off */
static const struct option common[] = {
    {.name = "help", .letter = 'h', .type = OPTION_FLAG, .help = "show this"},
    {.name = "verbose", .letter = 'v', .type = OPTION_FLAG, .help = "tell what is decided, and why"},
    {0},
};
const struct option_group options_common = {"Always", common};

static const struct option device[] = {
    {.name = "device", .type = OPTION_DEVICE, .metavar = "D", .fallback = "auto",
     .also = "dev main-gpu mg",
     .help = "auto, cpu, vulkan, vulkan:N or vulkan:NAME (hearth devices); several GPUs: vulkan:0,vulkan:1"},
    {.name = "threads", .letter = 't', .type = OPTION_INT, .metavar = "N", .min = 1, .max = 1024,
     .also = "num-thread threads-batch tb",
     .help = "of the CPU side (all processors)"},
    {.name = "no-self-test", .type = OPTION_FLAG, .help = "do not check kernels of a GPU at its first start"},
    {.name = "untuned", .type = OPTION_FLAG, .help = "without what hearth tune found best here"},
    {.name = "no-repack", .type = OPTION_FLAG,
     .help = "the CPU reads weights as the file has them: slower, but programs share the file's memory"},
    {0},
};
const struct option_group options_device = {"Where it runs", device};

static const struct option session[] = {
    {.name = "ctx", .letter = 'c', .type = OPTION_INT, .metavar = "N", .min = 1, .max = INT32_MAX,
     .also = "ctx-size num-ctx context-length context-size n-ctx max-seq-len",
     .help = "tokens that prompt and answer may have together"},
    {.name = "batch", .letter = 'b', .type = OPTION_INT, .metavar = "N", .min = 1, .max = 65536, .fallback = "512",
     .also = "batch-size ubatch-size ub",
     .help = "tokens computed at once, at most; unsaid it may be more where weights pass through a GPU"},
    OPTION_KV,
    {.name = "float", .type = OPTION_FLAG,
     .help = "no integer activations, no fp16 arithmetic: slower, most exact"},
    {0},
};
const struct option_group options_session = {"Computing", session};

static const struct option placement[] = {
    {.name = "vram", .type = OPTION_BYTES, .metavar = "SIZE", .min = 1, .max = 9e15, .help = "memory of each GPU to use at most (what is free)"},
    {.name = "ram", .type = OPTION_BYTES, .metavar = "SIZE", .min = 1, .max = 9e15, .help = "memory of the host to use at most (what is free)"},
    {.name = "gpu-layers", .type = OPTION_INT, .metavar = "N", .min = 0, .max = 1000000,
     .also = "n-gpu-layers num-gpu gpu",
     .help = "the last N layers live on the GPU and the others not; one more than there are: the output, too; "
             "even with 0 long prompts pass through it where that is faster (--device cpu: never)"},
    {.name = "ngl", .type = OPTION_INT, .metavar = "N", .min = 0, .max = 1000000, .help = "the same"},
    {.name = "cpu-moe", .type = OPTION_FLAG, .also = "cmoe", .help = "experts stay with the CPU"},
    {.name = "n-cpu-moe", .type = OPTION_INT, .metavar = "N", .min = 0, .max = 1000000,
     .also = "ncmoe",
     .help = "those of the first N layers do"},
    {.name = "place", .type = OPTION_TEXTS, .metavar = "PATTERN=D",
     .also = "override-tensor ot",
     .help = "tensors whose name this regular expression is found in go to D: cpu, vulkan or vulkan:N; "
             "several times, the last that matches wins"},
    {0},
};
const struct option_group options_placement = {"What lives where (decided by what is fastest)", placement};

static const struct option test[] = {
    {.name = "rows", .type = OPTION_TEXT, .metavar = "NAME", .help = "only kernels of this name"},
    {.name = "validate", .type = OPTION_FLAG, .help = "Vulkan's validation layer"},
    {.name = "discrete", .type = OPTION_FLAG, .help = "treat the device's memory as apart"},
    {0},
};
const struct option_group options_test = {NULL, test};
/* clang-format on */

/* --- models ----------------------------------------------------------------------------------- */

static bool show_progress(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    talk_progress("loading", done, total);
    return !interrupted();
}

struct hth_model_options model_options(const struct args *args)
{
    const struct log *log = talk_log();
    return (struct hth_model_options){
        .device = args_text(args, "device"),
        .n_threads = args_int(args, "threads"),
        .log = log->write,
        .log_user = log->user,
        .log_level = log->max_level,
        .progress = show_progress,
        .validate = args_flag(args, "validate"),
        .treat_as_discrete = args_flag(args, "discrete"),
        .self_test_s = args_flag(args, "no-self-test") ? -1 : 0,
        .rows = args_text(args, "rows"),
        .no_repack = args_flag(args, "no-repack"),
        .untuned = args_flag(args, "untuned"),
    };
}

void placement_options(const struct args *args, struct placement *place,
                       struct hth_model_options *options)
{
    const char *layers = args_given(args, "ngl") ? "ngl" : "gpu-layers";
    int n_layers = args_int(args, layers);
    place->n = 0;
    while (place->n < MAX_REPEATS && args_texts(args, "place", place->n)) {
        place->patterns[place->n] = args_texts(args, "place", place->n);
        place->n++;
    }
    options->vram_bytes = args_bytes(args, "vram");
    options->ram_bytes = args_bytes(args, "ram");
    options->gpu_layers = !args_given(args, layers) ? 0 : n_layers > 0 ? n_layers : -1;
    options->cpu_moe = args_flag(args, "cpu-moe");
    options->n_cpu_moe = args_int(args, "n-cpu-moe");
    options->places = place->patterns;
    options->n_places = place->n;
}

/* What a first start on a device did, and what it found. */
static void say_checked(const struct hth_model *model)
{
    struct hth_model_info info = hth_model_get_info(model);
    if (info.kernels_checked)
        talk_line("checked %d kernels on %s against the CPU in %.1f s: %s%s", info.kernels_checked,
                  info.device, info.kernels_checked_s,
                  info.kernels_wrong ? "some are wrong and not used" : "all are right",
                  info.kernels_left ? "; the others at the next start" : "");
}

/* What was decided, where a person may want to know: not that a model is where it always is. */
static void say_plan(const struct hth_model *model)
{
    struct hth_plan_info plan = hth_model_get_plan(model);
    if (plan.divided || plan.file_part > 0)
        talk_line("%s", plan.sentence);
    else
        log_info(talk_log(), "%s", plan.sentence);
}

static void use_template(struct hth_model_options *options, const struct chat_template *template)
{
    if (!template || !template->text.ptr)
        return;
    options->chat_template = template->text.ptr;
    options->chat_template_name = template->name;
}

/* The options that are left: what lives where, and for which session. */
static int open_with(const struct args *args, const char *path, struct hth_model_options *options,
                     const struct hth_session_options *for_session, struct hth_model **out)
{
    struct placement place;
    placement_options(args, &place, options);
    options->session = *for_session;
    watch_interrupt(NULL);
    enum hth_status status = hth_model_open(out, path, options);
    unwatch_interrupt();
    talk_progress("", 1, 1);
    if (status == HTH_OK) {
        say_checked(*out);
        say_plan(*out);
    }
    return exit_of(status);
}

int open_model(const struct args *args, const char *path,
               const struct hth_session_options *for_session, bool measure, struct hth_model **out)
{
    struct hth_model_options options = model_options(args);
    options.measure = measure;
    return open_with(args, path, &options, for_session, out);
}

int open_chat_model(const struct args *args, const char *path, const struct chat_template *template,
                    const struct hth_session_options *for_session, struct hth_model **out)
{
    struct hth_model_options options = model_options(args);
    use_template(&options, template);
    return open_with(args, path, &options, for_session, out);
}
int open_vocabulary(const char *path, const struct chat_template *template, struct hth_model **out)
{
    const struct log *log = talk_log();
    struct hth_model_options options = {.vocabulary_only = true,
                                        .log = log->write,
                                        .log_user = log->user,
                                        .log_level = log->max_level};
    use_template(&options, template);
    return exit_of(hth_model_open(out, path, &options));
}

enum hth_kv_type kv_option(const struct args *args)
{
    struct str kv = str_of(args_text(args, "kv"));
    return str_equal_nocase(kv, STR("f32"))    ? HTH_KV_F32
           : str_equal_nocase(kv, STR("q8_0")) ? HTH_KV_Q8_0
           : str_equal_nocase(kv, STR("q4_0")) ? HTH_KV_Q4_0
                                               : HTH_KV_F16;
}

struct hth_session_options session_options(const struct args *args)
{
    return (struct hth_session_options){
        .n_ctx = args_int(args, "ctx"),
        .n_batch = args_given(args, "batch") ? args_int(args, "batch") : 0, /* as tuned */
        .kv = kv_option(args),
        .float_only = args_flag(args, "float"),
    };
}

/* --- text ------------------------------------------------------------------------------------- */

static int check_text(struct str text, const char *what)
{
    uint32_t codepoint;
    for (size_t at = 0, n; at < text.len; at += n) {
        n = utf8_decode(text, at, &codepoint);
        if (n == 0)
            return talk_error("%s is not UTF-8: byte 0x%02x at %zu begins no character", what,
                              (unsigned char)text.ptr[at], at);
        if (codepoint == 0)
            return talk_error("%s holds a zero byte, at %zu: it must be text", what, at);
    }
    return EXIT_OK;
}

int read_text(const char *text, const char *path, const char *what, struct strbuf *out)
{
    if (text) {
        strbuf_append(out, str_of(text));
        if (out->failed)
            return talk_error("out of memory: %s has %zu bytes", what, strlen(text));
    } else {
        enum hth_status status = file_read(path, MAX_TEXT_BYTES, out, talk_log());
        if (status)
            return EXIT_FAILED;
    }
    return check_text(strbuf_str(out), what);
}

bool unescape(const char *text, char *out, size_t size)
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

int tokenize_prompt(const struct hth_model *model, struct str text, int32_t **ids, int *count)
{
    int32_t *list, *around; /* what stands around an empty text: BOS, EOS, both or none */
    size_t n, n_around;
    *ids = NULL;
    *count = 0;
    int code = exit_of(hth_tokenize(model, "", 0, true, false, &around, &n_around));
    if (code)
        return code;
    code = exit_of(hth_tokenize(model, text.ptr ? text.ptr : "", text.len, true, true, &list, &n));
    bool begins = code == EXIT_OK && n_around && n && list[0] == around[0];
    if (code == EXIT_OK && n_around > begins && n > begins)
        n--; /* the text goes on with an answer */
    if (begins && n >= 2 && list[1] == around[0]) {
        n--; /* most chat templates write it themselves */
        memmove(list, list + 1, n * sizeof *list);
    }
    hth_free(around);
    if (code)
        return code;
    if (n > INT32_MAX) {
        hth_free(list);
        return talk_error("the text has %zu tokens, more than any context", n);
    }
    *ids = list;
    *count = (int)n;
    return EXIT_OK;
}
