/* Tokens and streams of text: the part of hearth.h that needs no weights. */
#include "engine/engine.h"

#include <string.h>

#include "base/mem.h"
#include "text/stops.h"
#include "text/utf8.h"

static enum hth_status need_tokenizer(const struct hth_model *model)
{
    if (model->tokenizer)
        return HTH_OK;
    return log_fail(&model->log, HTH_ERROR_UNSUPPORTED,
                    "%s: has no tokenizer, so it cannot read or write text",
                    gguf_path(model->gguf));
}

enum hth_status hth_tokenize(const struct hth_model *model, const char *text, size_t len, bool bos,
                             bool special, int32_t **ids, size_t *count)
{
    *ids = NULL;
    *count = 0;
    enum hth_status status = need_tokenizer(model);
    if (status)
        return status;
    struct token_list list = {0};
    unsigned flags =
        (bos ? TOKEN_ADD_BOS | TOKEN_ADD_END : 0) | (special ? TOKEN_PARSE_SPECIAL : 0);
    status = tokenizer_encode(model->tokenizer, (struct str){text, len}, flags, &list);
    if (status) {
        token_list_free(&list);
        return status == HTH_ERROR_MEMORY ? log_fail_memory(&model->log, "tokens", len) : status;
    }
    *ids = list.ids;
    *count = list.count;
    return HTH_OK;
}

enum hth_status text_hand_over(const struct hth_model *model, struct strbuf *buf, char **text,
                               size_t *len)
{
    strbuf_append(buf, (struct str){0});
    if (buf->failed) {
        strbuf_free(buf);
        return log_fail_memory(&model->log, "text", buf->len);
    }
    *text = buf->ptr;
    *len = buf->len;
    return HTH_OK;
}

enum hth_status hth_detokenize(const struct hth_model *model, const int32_t *ids, size_t count,
                               bool special, char **text, size_t *len)
{
    *text = NULL;
    *len = 0;
    enum hth_status status = need_tokenizer(model);
    if (status)
        return status;
    struct strbuf out = {0};
    status = tokenizer_decode(model->tokenizer, ids, count, special, &out);
    if (status) {
        strbuf_free(&out);
        return status == HTH_ERROR_MEMORY ? log_fail_memory(&model->log, "text", count) : status;
    }
    return text_hand_over(model, &out, text, len);
}

bool hth_token_is_end(const struct hth_model *model, int32_t id)
{
    return model->tokenizer && tokenizer_is_end(model->tokenizer, id);
}

/* --- streams ---------------------------------------------------------------------------------- */

struct hth_stream {
    const struct hth_model *model;
    struct utf8_stream utf8;
    struct stops stops;
    int32_t *stop_ids; /* [n_stop_ids]: control tokens that are stops, too */
    size_t n_stop_ids;
    struct strbuf piece, whole, out; /* of a token: its bytes, characters, what is handed on */
    bool begun;
};

enum hth_status hth_stream_create(struct hth_stream **out, const struct hth_model *model)
{
    *out = NULL;
    enum hth_status status = need_tokenizer(model);
    if (status)
        return status;
    struct hth_stream *stream = mem_calloc(1, sizeof *stream);
    if (!stream)
        return log_fail_memory(&model->log, "a text stream", sizeof *stream);
    stream->model = model;
    /* So that pushing allocates nothing; what is ill-formed becomes three bytes. */
    size_t max_bytes = tokenizer_max_bytes(model->tokenizer);
    size_t max_whole = 3 * (max_bytes + sizeof stream->utf8.held);
    strbuf_reserve(&stream->piece, max_bytes);
    strbuf_reserve(&stream->whole, max_whole);
    strbuf_reserve(&stream->out, max_whole + sizeof stream->stops.held);
    if (stream->piece.failed || stream->whole.failed || stream->out.failed) {
        hth_stream_destroy(stream);
        return log_fail_memory(&model->log, "a text stream", max_bytes + 2 * max_whole);
    }
    *out = stream;
    return HTH_OK;
}

/* The control token whose text this is, which has none in an answer; -1: it is none's. */
static enum hth_status control_token(const struct hth_model *model, const char *text, int32_t *id)
{
    struct token_list list = {0};
    struct strbuf shown = {0};
    enum hth_status status =
        tokenizer_encode(model->tokenizer, str_of(text), TOKEN_PARSE_SPECIAL, &list);
    *id = status == HTH_OK && list.count == 1 ? list.ids[0] : -1;
    token_list_free(&list);
    if (*id >= 0)
        tokenizer_piece(model->tokenizer, *id, false, false, &shown);
    if (shown.failed)
        status = HTH_ERROR_MEMORY;
    if (shown.len)
        *id = -1;
    strbuf_free(&shown);
    return status == HTH_ERROR_MEMORY ? log_fail_memory(&model->log, "stop texts", strlen(text))
                                      : status;
}

static enum hth_status find_stop_ids(const struct hth_model *model, const char *const *texts,
                                     size_t count, int32_t *ids, size_t *n_ids)
{
    enum hth_status status = HTH_OK;
    *n_ids = 0;
    for (size_t i = 0; i < count && !status; i++) {
        status = control_token(model, texts[i], &ids[*n_ids]);
        *n_ids += ids[*n_ids] >= 0;
    }
    return status;
}

enum hth_status hth_stream_stop_at(struct hth_stream *stream, const char *const *texts,
                                   size_t count)
{
    const struct hth_model *model = stream->model;
    struct stops stops;
    enum hth_status status = stops_create(&stops, texts, count, &model->log);
    if (status)
        return status;
    size_t n_ids = 0;
    int32_t *ids = mem_calloc(count + 1, sizeof *ids);
    if (ids)
        status = find_stop_ids(model, texts, count, ids, &n_ids);
    else
        status = log_fail_memory(&model->log, "stop texts", count * sizeof *ids);
    if (status) {
        stops_destroy(&stops);
        mem_free(ids);
        return status;
    }
    stops_destroy(&stream->stops);
    mem_free(stream->stop_ids);
    stream->stops = stops;
    stream->stop_ids = ids;
    stream->n_stop_ids = n_ids;
    return HTH_OK;
}

bool hth_stream_stopped(const struct hth_stream *stream)
{
    return stream->stops.found;
}

static enum hth_status stream_text(struct hth_stream *stream, const char **text, size_t *len)
{
    bool failed = stream->piece.failed || stream->whole.failed || stream->out.failed;
    *len = failed ? 0 : stream->out.len;
    *text = *len ? stream->out.ptr : "";
    return failed ? log_fail_memory(&stream->model->log, "a piece of text", 0) : HTH_OK;
}

enum hth_status hth_stream_push(struct hth_stream *stream, int32_t id, const char **text,
                                size_t *len)
{
    strbuf_clear(&stream->piece);
    strbuf_clear(&stream->whole);
    strbuf_clear(&stream->out);
    for (size_t i = 0; i < stream->n_stop_ids; i++)
        if (stream->stop_ids[i] == id)
            stops_halt(&stream->stops, &stream->out);
    tokenizer_piece(stream->model->tokenizer, id, false, !stream->begun, &stream->piece);
    stream->begun = true;
    utf8_stream_push(&stream->utf8, strbuf_str(&stream->piece), &stream->whole);
    stops_push(&stream->stops, strbuf_str(&stream->whole), &stream->out);
    return stream_text(stream, text, len);
}

enum hth_status hth_stream_end(struct hth_stream *stream, const char **text, size_t *len)
{
    strbuf_clear(&stream->whole);
    strbuf_clear(&stream->out);
    utf8_stream_end(&stream->utf8, &stream->whole);
    stops_push(&stream->stops, strbuf_str(&stream->whole), &stream->out);
    stops_end(&stream->stops, &stream->out);
    stream->begun = false;
    return stream_text(stream, text, len);
}

void hth_stream_destroy(struct hth_stream *stream)
{
    if (!stream)
        return;
    stops_destroy(&stream->stops);
    mem_free(stream->stop_ids);
    strbuf_free(&stream->piece);
    strbuf_free(&stream->whole);
    strbuf_free(&stream->out);
    mem_free(stream);
}
