/* Conversations in files: written whole or not at all, and read from whoever may have written them.
 */
#include <jansson.h>

#include "base/file.h"
#include "cli/chat.h"
#include "cli/talk.h"
#include "text/json_read.h"

enum { MOST_BYTES = 64 << 20 };

/* --- save ------------------------------------------------------------------------------------- */

static json_t *to_json(const struct chat *chat)
{
    json_t *list = json_array();
    for (size_t i = 0; i < chat->n_messages; i++) {
        const struct hth_message *m = &chat->messages[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s}", "role", m->role, "content", m->content));
    }
    bool whole = json_array_size(list) == chat->n_messages;
    json_t *all = whole ? json_pack("{s:O}", "messages", list) : NULL;
    json_decref(list);
    return all;
}

static int put(const char *data, size_t size, void *user)
{
    file_put(user, data, size);
    return 0;
}

int chat_save(struct chat *chat, const char *path)
{
    struct file_writer writer;
    json_t *all = to_json(chat);
    if (!all)
        return talk_error("out of memory: a conversation of %zu messages", chat->n_messages);
    enum hth_status status = file_begin(&writer, path, talk_log());
    if (status == HTH_OK && json_dump_callback(all, put, &writer, JSON_INDENT(1)) != 0) {
        file_abort(&writer);
        status = HTH_ERROR_MEMORY;
        talk_error("out of memory: a conversation of %zu messages", chat->n_messages);
    } else if (status == HTH_OK) {
        file_put(&writer, "\n", 1);
        status = file_commit(&writer);
    }
    json_decref(all);
    if (status)
        return EXIT_FAILED;
    talk_note("%zu messages are in %s", chat->n_messages, path);
    return EXIT_OK;
}

/* --- load ------------------------------------------------------------------------------------- */

static int read_json(const char *path, json_t **out)
{
    struct strbuf text = {0};
    json_error_t error;
    *out = NULL;
    if (file_read(path, MOST_BYTES, &text, talk_log()) == HTH_OK) {
        *out = json_read(text.ptr, text.len, 0, &error);
        if (!*out && json_lacked_memory(&error))
            talk_error("out of memory: %s", path);
        else if (!*out)
            talk_error("%s: line %d: is not JSON: %s", path, error.line, error.text);
    }
    strbuf_free(&text);
    return *out ? EXIT_OK : EXIT_FAILED;
}

/* The role that the index-th message must have; NULL if it is another. */
static const char *role_of(const char *role, size_t index, bool has_system)
{
    const char *due = index == 0 && has_system        ? "system"
                      : (index - has_system) % 2 == 0 ? "user"
                                                      : "assistant";
    return strcmp(role, due) == 0 ? due : NULL;
}

static int add_from_json(struct chat *chat, const json_t *list, const char *path)
{
    bool has_system = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *message = json_array_get(list, i);
        const char *role = json_string_value(json_object_get(message, "role"));
        const json_t *content = json_object_get(message, "content");
        if (!role || !json_is_string(content))
            return talk_error("%s: messages[%zu] lacks a role or a content that are texts", path,
                              i);
        has_system |= i == 0 && strcmp(role, "system") == 0;
        const char *known = role_of(role, i, has_system);
        if (!known)
            return talk_error("%s: messages[%zu] is of \"%.40s\": after a system message, if there "
                              "is one, user and assistant speak in turn",
                              path, i, role);
        int code = chat_add(chat, known,
                            (struct str){json_string_value(content), json_string_length(content)});
        if (code)
            return code;
    }
    return EXIT_OK;
}

int chat_load(struct chat *chat, const char *path)
{
    json_t *all;
    int code = read_json(path, &all);
    if (code)
        return code;
    const json_t *list = json_is_array(all) ? all : json_object_get(all, "messages");
    size_t before = chat->n_messages;
    code = json_is_array(list) ? add_from_json(chat, list, path)
                               : talk_error("%s: has no array \"messages\"", path);
    json_decref(all);
    if (code) {
        chat_drop(chat, before, chat->n_messages - before);
        return code;
    }
    chat_drop(chat, 0, before);
    size_t last = chat_last_user(chat);
    bool unanswered = last + 1 == chat->n_messages;
    talk_note("%zu messages are read%s", chat->n_messages,
              unanswered ? "; the last has no answer: /retry gives one" : "");
    return EXIT_OK;
}
