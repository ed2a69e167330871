#include "cli/chat_input.h"

#include <stdio.h>

#include "base/os.h"
#include "cli/interrupt.h"

static void remember(void *user, const char *line)
{
    line_editor_remember(user, line);
}

void chat_input_open(struct chat_input *input)
{
    *input = (struct chat_input){.person = os_is_terminal(stdin)};
    if (input->person && os_is_terminal(stderr))
        input->editor = line_editor_open();
    if (input->editor)
        history_open(remember, input->editor);
}

void chat_input_close(struct chat_input *input)
{
    history_close();
    line_editor_close(input->editor);
    *input = (struct chat_input){0};
}

/* A line of any length. The read returns early when Ctrl-C is pressed. */
static enum input_end read_plain(struct chat_input *input, struct strbuf *line)
{
    char piece[4096];
    if (input->person) {
        fputs("> ", stderr);
        fflush(stderr);
        os_wait_line(stdin, interrupted);
    }
    while (!(input->person && interrupted()) && os_gets(piece, sizeof piece, stdin)) {
        strbuf_append(line, str_of(piece));
        if (line->len && line->ptr[line->len - 1] == '\n')
            return INPUT_LINE;
    }
    if (interrupted() && !feof(stdin)) {
        clearerr(stdin);
        return line->len ? INPUT_INTERRUPTED : INPUT_INTERRUPTED_EMPTY;
    }
    return line->len || line->failed ? INPUT_LINE : INPUT_OVER;
}

enum input_end chat_input_read(struct chat_input *input, struct str begun, struct strbuf *line)
{
    strbuf_clear(line);
    watch_interrupt(NULL);
    enum input_end end =
        input->editor ? line_editor_read(input->editor, begun, line) : read_plain(input, line);
    while (line->len && (line->ptr[line->len - 1] == '\n' || line->ptr[line->len - 1] == '\r'))
        line->ptr[--line->len] = '\0';
    if (input->person && end != INPUT_LINE)
        fputc('\n', stderr);
    if (input->editor && end == INPUT_LINE && line->len && !line->failed) {
        line_editor_remember(input->editor, line->ptr);
        history_add(strbuf_str(line));
    }
    return end;
}
