/* Tokens, chats and streams of text: the part of hearth.h that needs no weights. */
#include "engine/engine.h"

#include <jansson.h>
#include <string.h>

#include "base/mem.h"
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

/* Hands a buffer's bytes over; an empty one still is a string. */
static enum hth_status hand_over(const struct hth_model *model, struct strbuf *buf, char **text,
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
    return hand_over(model, &out, text, len);
}

bool hth_token_is_end(const struct hth_model *model, int32_t id)
{
    return model->tokenizer && tokenizer_is_end(model->tokenizer, id);
}

/* ChatML, for models that bring no template. */
static enum hth_status render_chatml(const struct hth_message *messages, size_t count, bool prompt,
                                     struct strbuf *out)
{
    for (size_t i = 0; i < count; i++)
        strbuf_printf(out, "<|im_start|>%s\n%s<|im_end|>\n", messages[i].role, messages[i].content);
    if (prompt)
        strbuf_printf(out, "<|im_start|>assistant\n");
    return HTH_OK;
}

static json_t *chat_context(const struct hth_model *model, const struct hth_message *messages,
                            size_t count, bool prompt)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        struct strbuf content = {0};
        utf8_append_lossy(&content, str_of(messages[i].content));
        if (!content.failed)
            json_array_append_new(list,
                                  json_pack("{s:s, s:s%}", "role", messages[i].role, "content",
                                            content.ptr ? content.ptr : "", content.len));
        strbuf_free(&content);
    }
    json_t *context = json_object();
    json_object_set_new(context, "messages", list);
    json_object_set_new(context, "add_generation_prompt", json_boolean(prompt));
    json_object_set_new(
        context, "bos_token",
        json_stringn(model->bos_text.ptr ? model->bos_text.ptr : "", model->bos_text.len));
    json_object_set_new(
        context, "eos_token",
        json_stringn(model->eos_text.ptr ? model->eos_text.ptr : "", model->eos_text.len));
    bool whole = json_array_size(list) == count && json_object_size(context) == 4;
    if (!whole) {
        json_decref(context);
        return NULL;
    }
    return context;
}

enum hth_status hth_render_chat(const struct hth_model *model, const struct hth_message *messages,
                                size_t count, bool prompt, char **text, size_t *len)
{
    *text = NULL;
    *len = 0;
    struct strbuf out = {0};
    enum hth_status status;
    if (!model->template) {
        if (!atomic_exchange(&((struct hth_model *)(uintptr_t)model)->chatml_said, true))
            log_warning(&model->log, "the model has no chat template: ChatML is used");
        status = render_chatml(messages, count, prompt, &out);
    } else {
        json_t *context = chat_context(model, messages, count, prompt);
        if (!context)
            return log_fail_memory(&model->log, "the conversation", count);
        status = template_render(model->template, context, NULL, (struct template_clock){-1}, &out,
                                 &model->log);
        json_decref(context);
    }
    if (status) {
        strbuf_free(&out);
        return status;
    }
    return hand_over(model, &out, text, len);
}

struct hth_stream {
    const struct hth_model *model;
    struct utf8_stream utf8;
    struct strbuf piece, out;
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
    strbuf_reserve(&stream->piece, max_bytes);
    strbuf_reserve(&stream->out, 3 * (max_bytes + sizeof stream->utf8.held));
    if (stream->piece.failed || stream->out.failed) {
        hth_stream_destroy(stream);
        return log_fail_memory(&model->log, "a text stream", 4 * max_bytes);
    }
    *out = stream;
    return HTH_OK;
}

static enum hth_status stream_text(struct hth_stream *stream, const char **text, size_t *len)
{
    bool failed = stream->piece.failed || stream->out.failed;
    *len = failed ? 0 : stream->out.len;
    *text = *len ? stream->out.ptr : "";
    return failed ? log_fail_memory(&stream->model->log, "a piece of text", 0) : HTH_OK;
}

enum hth_status hth_stream_push(struct hth_stream *stream, int32_t id, const char **text,
                                size_t *len)
{
    strbuf_clear(&stream->piece);
    strbuf_clear(&stream->out);
    tokenizer_piece(stream->model->tokenizer, id, false, !stream->begun, &stream->piece);
    stream->begun = true;
    utf8_stream_push(&stream->utf8, strbuf_str(&stream->piece), &stream->out);
    return stream_text(stream, text, len);
}

enum hth_status hth_stream_end(struct hth_stream *stream, const char **text, size_t *len)
{
    strbuf_clear(&stream->out);
    utf8_stream_end(&stream->utf8, &stream->out);
    stream->begun = false;
    return stream_text(stream, text, len);
}

void hth_stream_destroy(struct hth_stream *stream)
{
    if (!stream)
        return;
    strbuf_free(&stream->piece);
    strbuf_free(&stream->out);
    mem_free(stream);
}
