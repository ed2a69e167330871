/*
 * chat.h — a conversation: its messages, taking turns, and the commands that begin with a slash.
 *
 * Owns the messages, the session and the sampler; the model is the caller's. The program's main
 * thread.
 */
#ifndef CLI_CHAT_H
#define CLI_CHAT_H

#include "base/arena.h"
#include "cli/answer.h"
#include "cli/command.h"
#include "cli/form.h"

struct chat {
    struct args args;   /* what the command line said, and /set since */
    struct arena texts; /* of /set */
    struct form form;
    struct answer answer;
    struct hth_message
        *messages; /* the system's if there is one, then user and assistant in turn */
    size_t n_messages, cap_messages;
    int n_ctx;
    bool shifted; /* old messages had to go in this turn */
    struct strbuf
        edit;      /* not empty: the next line is begun with this and replaces the last message */
    bool can_edit; /* there is a line editor */
    bool over;     /* /quit */
};

/* --- messages; the functions return exit codes, everything said ------------------------------- */

/* Appends a message with a copy of its content. `role` must be one of the three, a literal. */
ATTR_WARN_UNUSED int chat_add(struct chat *chat, const char *role, struct str content);
void chat_drop(struct chat *chat, size_t from, size_t count);

/* 1 if the conversation begins with a system message, else 0. */
size_t chat_n_system(const struct chat *chat);
/* Replaces the system message; an empty one takes it away. */
ATTR_WARN_UNUSED int chat_set_system(struct chat *chat, struct str content);
/* Where the last message of the user is; n_messages if there is none. */
size_t chat_last_user(const struct chat *chat);

/* The answer to what is said, in place of an unanswered message if there is one. What fails changes
 * no message, here and in the next two. */
ATTR_WARN_UNUSED int chat_say(struct chat *chat, struct str said);
/* The same in place of the user's last message, which there must be, and its answer. */
ATTR_WARN_UNUSED int chat_say_instead(struct chat *chat, struct str said);
/* Another answer to the user's last message, which there must be. */
ATTR_WARN_UNUSED int chat_answer(struct chat *chat);

/* Answers are to be as chat->args now say, with their seed (or a new one) plus `more`. */
ATTR_WARN_UNUSED int chat_renew(struct chat *chat, uint64_t more);

/* --- commands --------------------------------------------------------------------------------- */

/* Does this line name a command? "//text" is the message "/text", and so is "/a/path". */
bool chat_is_command(struct str line);
int chat_command(struct chat *chat, struct str line);
/* A line for each of them, to stdout or among the talk. */
void chat_list_commands(bool on_stdout);

/* --- files ------------------------------------------------------------------------------------ */

/* Writes or reads {"messages": [{"role": …, "content": …}, …]}, what `hearth template --context`
 * takes too. A file that is not such a conversation leaves the one at hand as it is. */
ATTR_WARN_UNUSED int chat_save(struct chat *chat, const char *path);
ATTR_WARN_UNUSED int chat_load(struct chat *chat, const char *path);

#endif
