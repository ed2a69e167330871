/* Conversations as the text that a model was trained on: its chat template, or ChatML. */
#include "engine/engine.h"

#include <jansson.h>
#include <string.h>

#include "text/json_read.h"
#include "text/utf8.h"

/* --- the template ----------------------------------------------------------------------------- */

/* What is wrong with one that was asked for is an error. */
static enum hth_status open_given(struct hth_model *model)
{
    const char *name = model->opt.chat_template_name;
    return template_parse(&model->template, str_of(model->opt.chat_template),
                          name ? name : "the template that was given", &model->log);
}

/* The file's own may be unusable: the model then does without, and a warning says why. */
static enum hth_status open_own(struct hth_model *model)
{
    struct kept_error kept = {.log = &model->log};
    const struct log keep = {kept_error_hear, &kept, HTH_LOG_DEBUG};
    enum hth_status status = template_of_model(&model->template, model->gguf, &keep);
    bool goes_on = status != HTH_ERROR_MEMORY;
    kept_error_say(&kept, goes_on ? HTH_LOG_WARNING : HTH_LOG_ERROR);
    if (status && goes_on) {
        atomic_store(&model->chatml_said, true);
        log_warning(&model->log, "%s: its chat template is not usable; ChatML is used instead",
                    gguf_path(model->gguf));
    }
    return goes_on ? HTH_OK : status;
}

enum hth_status chat_open_template(struct hth_model *model)
{
    return model->opt.chat_template ? open_given(model) : open_own(model);
}

bool hth_template_uses(const struct hth_model *model, const char *name)
{
    return model->template && template_uses(model->template, str_of(name));
}

/* --- rendering -------------------------------------------------------------------------------- */

/* ChatML, for models that bring no template. */
static void render_chatml(const struct hth_chat *chat, struct strbuf *out)
{
    for (size_t i = 0; i < chat->n_messages; i++)
        strbuf_printf(out, "<|im_start|>%s\n%s<|im_end|>\n", chat->messages[i].role,
                      chat->messages[i].content);
    if (chat->prompt)
        strbuf_printf(out, "<|im_start|>assistant\n");
}

static json_t *message_list(const struct hth_chat *chat)
{
    json_t *list = json_array();
    for (size_t i = 0; i < chat->n_messages; i++) {
        struct strbuf content = {0};
        utf8_append_lossy(&content, str_of(chat->messages[i].content));
        if (!content.failed)
            json_array_append_new(list, json_pack("{s:s, s:s%}", "role", chat->messages[i].role,
                                                  "content", content.ptr ? content.ptr : "",
                                                  content.len));
        strbuf_free(&content);
    }
    if (json_array_size(list) == chat->n_messages)
        return list;
    json_decref(list);
    return NULL;
}

/* A token's text, unless the caller's variables have another. */
static bool set_token(json_t *context, const char *name, struct str text)
{
    return json_object_get(context, name) ||
           json_object_set_new(context, name, json_stringn(text.ptr ? text.ptr : "", text.len)) ==
               0;
}

/* The caller's variables. */
static enum hth_status read_variables(const struct hth_model *model, const char *text, json_t **out)
{
    json_error_t error = {0};
    *out = text ? json_read(text, strlen(text), 0, &error) : json_object();
    if (json_is_object(*out))
        return HTH_OK;
    bool no_memory = !*out && json_lacked_memory(&error);
    json_decref(*out);
    *out = NULL;
    if (no_memory)
        return log_fail_memory(&model->log, "a template's variables", text ? strlen(text) : 0);
    return log_fail(&model->log, HTH_ERROR_ARGUMENT,
                    "the variables of a chat template must be a JSON object such as "
                    "{\"enable_thinking\": false}%s%s",
                    error.text[0] ? ": " : "", error.text);
}

/* The variables, and over them what a conversation is. */
static enum hth_status make_context(const struct hth_model *model, const struct hth_chat *chat,
                                    json_t **out)
{
    json_t *context;
    *out = NULL;
    enum hth_status status = read_variables(model, chat->variables, &context);
    if (status)
        return status;
    bool whole =
        json_object_set_new(context, "messages", message_list(chat)) == 0 &&
        json_object_set_new(context, "add_generation_prompt", json_boolean(chat->prompt)) == 0 &&
        set_token(context, "bos_token", model->bos_text) &&
        set_token(context, "eos_token", model->eos_text);
    if (!whole) {
        json_decref(context);
        return log_fail_memory(&model->log, "the conversation", chat->n_messages);
    }
    *out = context;
    return HTH_OK;
}

static enum hth_status render(const struct hth_model *model, const struct hth_chat *chat,
                              struct strbuf *out)
{
    json_t *context;
    if (!model->template) {
        if (!atomic_exchange(&((struct hth_model *)(uintptr_t)model)->chatml_said, true))
            log_warning(&model->log, "the model has no chat template: ChatML is used");
        render_chatml(chat, out);
        return HTH_OK;
    }
    enum hth_status status = make_context(model, chat, &context);
    if (status)
        return status;
    status = template_render(model->template, context, NULL, (struct template_clock){-1}, out,
                             &model->log);
    json_decref(context);
    return status;
}

enum hth_status hth_render(const struct hth_model *model, const struct hth_chat *chat, char **text,
                           size_t *len)
{
    struct strbuf out = {0};
    *text = NULL;
    *len = 0;
    enum hth_status status = render(model, chat, &out);
    if (status) {
        strbuf_free(&out);
        return status;
    }
    return text_hand_over(model, &out, text, len);
}

enum hth_status hth_render_chat(const struct hth_model *model, const struct hth_message *messages,
                                size_t count, bool prompt, char **text, size_t *len)
{
    const struct hth_chat chat = {messages, count, prompt, NULL};
    return hth_render(model, &chat, text, len);
}
