#include "engine/begun.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "engine/kept.h"

/* A line each: how often, and what. The last one counts. */
enum { MOST_LINE = 1024, MOST_TIMES = 99 };

static void take_line(struct begun *b, const char *line)
{
    char *what;
    long n = strtol(line, &what, 10);
    bool sound = n >= 1 && n <= MOST_TIMES && *what == ' ';
    b->n_ended = sound ? (int)n : 0;
    strbuf_clear(&b->last);
    if (sound)
        strbuf_append(&b->last, (struct str){what + 1, strcspn(what + 1, "\n")});
}

void begun_open(struct begun *out, const char *of)
{
    char line[MOST_LINE];
    *out = (struct begun){0};
    if (!of || !*of)
        return;
    strbuf_printf(&out->path, "%s.begun", of);
    if (out->path.failed || kept_make_folder(out->path.ptr))
        return;
    FILE *file = os_fopen(out->path.ptr, "a+b");
    if (file && !os_lock(file)) {
        fclose(file);
        file = NULL;
    }
    out->file = file;
    if (!file)
        return;
    rewind(file);
    while (fgets(line, sizeof line, file))
        take_line(out, line);
}

int begun_count(const struct begun *begun, const char *what)
{
    return str_equal(strbuf_str(&begun->last), str_of(what)) ? begun->n_ended : 0;
}

void begun_note(struct begun *begun, const char *what)
{
    FILE *file = begun->file;
    if (!file)
        return;
    fseek(file, 0, SEEK_END); /* between reading and writing */
    fprintf(file, "%d %s\n", begun_count(begun, what) + 1, what);
    (void)!os_flush(file);
}

void begun_close(struct begun *begun)
{
    if (begun->file) {
        fclose(begun->file);
        os_remove(begun->path.ptr);
    }
    strbuf_free(&begun->path);
    strbuf_free(&begun->last);
    *begun = (struct begun){0};
}
