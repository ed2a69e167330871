/* A build without libedit: lines are taken as the terminal gives them. */
#include "cli/chat_input.h"

struct line_editor *line_editor_open(void)
{
    return NULL;
}

void line_editor_close(struct line_editor *editor)
{
    (void)editor;
}

enum input_end line_editor_read(struct line_editor *editor, struct str begun, struct strbuf *line)
{
    (void)editor;
    (void)begun;
    (void)line;
    return INPUT_OVER;
}

void line_editor_remember(struct line_editor *editor, const char *line)
{
    (void)editor;
    (void)line;
}
