#include "op_ran.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "harness/test.h"

static FILE *file; /* NULL: nothing is noted; closed by the end of the process */
static struct strbuf lines;

void op_ran_begin(const char *device, bool leave_out)
{
    static bool began;
    const char *path = getenv("HEARTH_OP_RAN");
    if (began || !path || !*path)
        return;
    began = true;
    if (leave_out) {
        os_remove(path);
        return;
    }
    file = os_fopen(path, "wb"); /* the same bytes on every system */
    if (!file)
        fail_msg("%s cannot be written: %s", path, os_error_text());
    strbuf_append_char(&lines, '\n');
    op_ran_note("device %s", device);
}

void op_ran_note(const char *fmt, ...)
{
    if (!file)
        return;
    char line[600] = "\n"; /* newlines at both ends, to be found whole */
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line + 1, sizeof line - 2, fmt, args);
    va_end(args);
    assert_in_range(n, 1, sizeof line - 3);
    strcpy(line + 1 + n, "\n");
    if (!lines.failed && strstr(lines.ptr, line))
        return;
    strbuf_append(&lines, str_of(line + 1));
    fputs(line + 1, file);
    fflush(file);
}
