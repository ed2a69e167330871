#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/talk.h"
#include "gguf/gguf_write.h"

/* clang-format off */
static const struct option options[] = {
    {.name = "ids", .type = OPTION_TEXT, .metavar = "1,2,3", .help = "token ids"},
    {.name = "tokens", .type = OPTION_TEXT, .metavar = "FILE.gguf", .help = "the same: its tensor \"tokens\", I32"},
    {.name = "file", .letter = 'f', .type = OPTION_TEXT, .metavar = "TEXT",
     .help = "a file of text (- is stdin); control tokens in it are such, BOS is added"},
    {.name = "logits", .letter = 'o', .type = OPTION_TEXT, .metavar = "OUT.gguf",
     .help = "where they go: tensors \"tokens\" (I32) and \"logits\" (F32, vocabulary × rows)"},
    {.name = "last", .type = OPTION_INT, .metavar = "N", .min = 1, .max = INT32_MAX,
     .help = "only of the last N positions (all)"},
    {0},
};
/* clang-format on */
static const struct option_group eval_options = {"Tokens and logits", options};

struct eval {
    struct hth_session *session;
    const int32_t *ids;
    int count, first_row; /* of the wanted rows */
    int n_batch, n_vocab;
};

/* --- the tokens ------------------------------------------------------------------------------- */

static int read_tokens(const char *path, int32_t **ids, int *count)
{
    struct gguf *gguf;
    enum hth_status status = gguf_open(&gguf, path, talk_log());
    if (status)
        return EXIT_FAILED;
    const struct gguf_tensor *tensor = gguf_tensor_find(gguf, "tokens");
    int code = EXIT_OK;
    uint64_t n = tensor ? tensor->size_bytes / sizeof **ids : 0;
    if (!tensor)
        code = talk_error("%s: has no tensor \"tokens\"", path);
    else if (tensor->dtype != &dtype_i32)
        code = talk_error("%s: its tensor \"tokens\" is %s, and must be I32", path,
                          tensor->dtype->name);
    else if (n == 0 || n > INT32_MAX)
        code =
            talk_error("%s: its tensor \"tokens\" has %llu elements", path, (unsigned long long)n);
    else if (!(*ids = mem_alloc((size_t)n * sizeof **ids)))
        code = talk_error("out of memory: %llu tokens", (unsigned long long)n);
    else {
        memcpy(*ids, tensor->data, (size_t)n * sizeof **ids);
        *count = (int)n;
    }
    gguf_close(gguf);
    return code;
}

static int get_tokens(const struct args *args, int32_t **ids, int *count)
{
    *ids = NULL;
    *count = 0;
    if (args_text(args, "tokens"))
        return read_tokens(args_text(args, "tokens"), ids, count);
    if (args_text(args, "ids")) {
        struct number_list list;
        int code = args_list(args, "ids", INT32_MIN, INT32_MAX, &list);
        *ids = list.items;
        *count = list.count;
        return code;
    }
    struct strbuf text = {0};
    struct hth_model *vocabulary = NULL;
    int code = read_text(NULL, args_text(args, "file"), "the text", &text);
    if (code == EXIT_OK)
        code = open_vocabulary(args_word(args, 0), NULL, &vocabulary);
    if (code == EXIT_OK)
        code = tokenize_prompt(vocabulary, strbuf_str(&text), ids, count);
    hth_model_close(vocabulary);
    strbuf_free(&text);
    return code;
}

/* --- the logits ------------------------------------------------------------------------------- */

/* Feeds piece by piece and hands the wanted rows on, so that no more than a piece's are held. */
static enum hth_status make_logits(void *user, const struct gguf_tensor *tensor,
                                   struct gguf_writer *writer)
{
    (void)tensor;
    const struct eval *eval = user;
    for (int at = 0; at < eval->count;) {
        int n = eval->count - at < eval->n_batch ? eval->count - at : eval->n_batch;
        int skip = eval->first_row > at ? eval->first_row - at : 0;
        struct hth_feed feed = {
            .ids = eval->ids + at,
            .count = n,
            .outputs = skip >= n ? HTH_OUTPUT_NONE : HTH_OUTPUT_LAST,
            .n_last = n - skip,
        };
        enum hth_status status = hth_session_feed(eval->session, &feed, 1);
        if (status)
            return status;
        for (int row = 0; row < hth_session_n_logits(eval->session); row++)
            gguf_emit(writer, hth_session_logits(eval->session, row),
                      (size_t)eval->n_vocab * sizeof(float));
        at += n;
        talk_progress("computing", (uint64_t)at, (uint64_t)eval->count);
        if (interrupted())
            return HTH_ERROR_CANCELLED;
    }
    return HTH_OK;
}

static enum hth_status write_logits(struct eval *eval, const char *path)
{
    struct gguf_writer *writer;
    enum hth_status status = gguf_writer_create(&writer, talk_log());
    if (status)
        return status;
    const int64_t n_ids[1] = {eval->count};
    const int64_t ne[2] = {eval->n_vocab, eval->count - eval->first_row};
    gguf_put_u32(writer, "hearth.first_row", (uint32_t)eval->first_row);
    gguf_put_tensor(writer, "tokens", &dtype_i32, 1, n_ids, eval->ids, NULL, NULL);
    gguf_put_tensor(writer, "logits", &dtype_f32, 2, ne, NULL, make_logits, eval);
    status = gguf_writer_save(writer, path);
    gguf_writer_destroy(writer);
    return status;
}

static int wanted_rows(const struct args *args, int count)
{
    int last = args_given(args, "last") ? args_int(args, "last") : count;
    return last < count ? last : count;
}

static struct hth_session_options eval_session(const struct args *args, int count)
{
    struct hth_session_options wanted = session_options(args);
    wanted.n_batch = args_int(args, "batch"); /* the same bits on every machine */
    if (wanted.n_ctx == 0)
        wanted.n_ctx = count;
    wanted.n_outputs = wanted_rows(args, count);
    return wanted;
}

static int eval_tokens(const struct args *args, struct hth_model *model, const int32_t *ids,
                       int count)
{
    struct hth_session_options wanted = eval_session(args, count);
    struct hth_model_info info = hth_model_get_info(model);
    if (info.n_ctx_train > 0 && count > info.n_ctx_train)
        talk_line("%d tokens are more than the %d that the model was trained on", count,
                  info.n_ctx_train);
    struct eval eval = {
        .ids = ids,
        .count = count,
        .first_row = count - wanted_rows(args, count),
        .n_batch = wanted.n_batch,
        .n_vocab = info.n_vocab,
    };
    for (int i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= info.n_vocab)
            return talk_error("token id %d, at %d, is outside of the vocabulary (0 to %d)", ids[i],
                              i, info.n_vocab - 1);
    enum hth_status status = hth_session_open(&eval.session, model, &wanted);
    if (status == HTH_OK) {
        watch_interrupt(eval.session);
        status = write_logits(&eval, args_text(args, "logits"));
        unwatch_interrupt();
    }
    hth_session_close(eval.session);
    return exit_of(status);
}

static int run(const struct args *args)
{
    const char *const sources[] = {"ids", "tokens", "file"};
    int n_sources = 0;
    for (size_t i = 0; i < ARRAY_LEN(sources); i++)
        n_sources += args_given(args, sources[i]);
    if (n_sources != 1)
        return usage_error(args->command, "give one of --ids, --tokens and -f");
    if (!args_given(args, "logits"))
        return usage_error(args->command, "where should they go? give --logits OUT.gguf");
    struct hth_model *model = NULL;
    int32_t *ids = NULL;
    int count = 0;
    /* how many decides where a model goes, and wrong ones are said before it is loaded */
    int code = get_tokens(args, &ids, &count);
    if (code == EXIT_OK && count == 0)
        code = talk_error("there are no tokens");
    struct hth_session_options session = eval_session(args, count);
    if (code == EXIT_OK)
        code = open_model(args, args_word(args, 0), &session, false, &model);
    if (code == EXIT_OK)
        code = eval_tokens(args, model, ids, count);
    mem_free(ids);
    hth_model_close(model);
    return code;
}

static const struct option_group *const groups[] = {
    &eval_options, &options_session, &options_placement, &options_device, &options_test, NULL,
};

const struct command command_eval = {
    .name = "eval",
    .summary = "computes the logits of given tokens into a file",
    .usage = "MODEL (--ids 1,2,3 | --tokens F.gguf | -f TEXT) --logits OUT.gguf [OPTIONS]",
    .groups = groups,
    .min_words = 1,
    .max_words = 1,
    .run = run,
};
