#include "cli/talk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "cli/command.h"

static struct {
    bool bar;            /* the progress bar is on the screen */
    uint64_t started_ns; /* of what it shows */
    int permille;
    int out_errno; /* why stdout failed; 0: it has not */
    bool dim;      /* stdout's colour */
} state;

/* --- stderr ----------------------------------------------------------------------------------- */

static bool coloured(FILE *stream)
{
    const char *no = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return os_is_terminal(stream) && !(no && *no) && !(terminal && strcmp(terminal, "dumb") == 0);
}

static void wipe_bar(void)
{
    if (state.bar)
        fputs("\r\033[K", stderr);
    state.bar = false;
}

static void write_line(void *user, enum hth_log_level level, const char *line)
{
    (void)user;
    const char *colour = level == HTH_LOG_ERROR     ? "\033[1;31m"
                         : level == HTH_LOG_WARNING ? "\033[1;33m"
                                                    : "\033[2m";
    bool paint = coloured(stderr);
    wipe_bar();
    fprintf(stderr, "%shearth:%s %s%s\n", paint ? colour : "", paint ? "\033[0m" : "",
            level == HTH_LOG_WARNING ? "warning: " : "", line);
    fflush(stderr);
}

static struct log the_log = {write_line, NULL, HTH_LOG_WARNING};

const struct log *talk_log(void)
{
    return &the_log;
}

void talk_verbose(void)
{
    the_log.max_level = HTH_LOG_DEBUG;
}

void talk_line(const char *fmt, ...)
{
    struct log all = {write_line, NULL, HTH_LOG_DEBUG};
    va_list args;
    va_start(args, fmt);
    log_linev(&all, HTH_LOG_INFO, fmt, args);
    va_end(args);
}

int talk_error(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_linev(&the_log, HTH_LOG_ERROR, fmt, args);
    va_end(args);
    return EXIT_FAILED;
}

static void write_note(void *user, enum hth_log_level level, const char *line)
{
    (void)user;
    (void)level;
    bool paint = coloured(stderr);
    wipe_bar();
    fprintf(stderr, "%shearth: %s%s\n", paint ? "\033[2m" : "", line, paint ? "\033[0m" : "");
    fflush(stderr);
}

void talk_note(const char *fmt, ...)
{
    struct log all = {write_note, NULL, HTH_LOG_DEBUG};
    va_list args;
    va_start(args, fmt);
    log_linev(&all, HTH_LOG_INFO, fmt, args);
    va_end(args);
}

static void write_plain(void *user, enum hth_log_level level, const char *line)
{
    (void)user;
    (void)level;
    wipe_bar();
    fprintf(stderr, "%s\n", line);
    fflush(stderr);
}

void talk_plain(const char *fmt, ...)
{
    struct log all = {write_plain, NULL, HTH_LOG_DEBUG};
    va_list args;
    va_start(args, fmt);
    log_linev(&all, HTH_LOG_INFO, fmt, args);
    va_end(args);
}

void talk_progress(const char *what, uint64_t done, uint64_t total)
{
    enum { WIDTH = 30, PATIENCE_MS = 300 };
    if (!os_is_terminal(stderr))
        return;
    if (done >= total) {
        wipe_bar();
        state.started_ns = 0;
        return;
    }
    uint64_t now = os_time_ns();
    if (state.started_ns == 0)
        state.started_ns = now;
    int permille = (int)((double)done / (double)total * 1000);
    if (now - state.started_ns < PATIENCE_MS * 1000000ull ||
        (state.bar && permille == state.permille))
        return;
    state.bar = true;
    state.permille = permille;
    fprintf(stderr, "\r%s [", what);
    for (int i = 0; i < WIDTH; i++)
        fputc(i * 1000 < permille * WIDTH ? '#' : '.', stderr);
    fprintf(stderr, "] %3d %%\033[K", permille / 10);
    fflush(stderr);
}

/* --- stdout ----------------------------------------------------------------------------------- */

static void out_failed(void)
{
    if (state.out_errno == 0)
        state.out_errno = errno ? errno : EIO;
}

void out_put(const void *data, size_t size_bytes)
{
    if (state.out_errno || size_bytes == 0)
        return;
    errno = 0;
    if (fwrite(data, 1, size_bytes, stdout) != size_bytes)
        out_failed();
}

void out_printf(const char *fmt, ...)
{
    if (state.out_errno)
        return;
    errno = 0;
    va_list args;
    va_start(args, fmt);
    if (vprintf(fmt, args) < 0 || ferror(stdout)) /* mingw's tells of failures by ferror only */
        out_failed();
    va_end(args);
}

/* Length of a control character at `at` but tab and newline: C0, DEL, and C1 as UTF-8; 0: none. */
static size_t control_length(struct str text, size_t at)
{
    unsigned char c = (unsigned char)text.ptr[at];
    if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7f)
        return 1;
    bool c1 = c == 0xc2 && at + 1 < text.len && (unsigned char)text.ptr[at + 1] >= 0x80 &&
              (unsigned char)text.ptr[at + 1] < 0xa0;
    return c1 ? 2 : 0;
}

static void put_safe(struct str text)
{
    size_t from = 0;
    for (size_t i = 0; i < text.len; i++) {
        size_t n = control_length(text, i);
        if (n == 0)
            continue;
        out_put(text.ptr + from, i - from);
        out_put("?", 1);
        i += n - 1;
        from = i + 1;
    }
    if (from < text.len)
        out_put(text.ptr + from, text.len - from);
}

void out_text(struct str text)
{
    if (os_is_terminal(stdout))
        put_safe(text);
    else
        out_put(text.ptr, text.len);
}

void out_dim(bool dim)
{
    if (dim == state.dim)
        return;
    state.dim = dim;
    if (coloured(stdout))
        out_printf(dim ? "\033[2m" : "\033[0m");
}

void out_quoted(struct str text, size_t max)
{
    size_t n = text.len < max ? text.len : max;
    /* not in the middle of a character */
    while (n < text.len && n > 0 && ((unsigned char)text.ptr[n] & 0xc0) == 0x80)
        n--;
    out_put("\"", 1);
    for (size_t i = 0; i < n; i++) {
        char c = text.ptr[i];
        size_t length = control_length(text, i);
        if (c == '\n' || c == '\t' || c == '\r')
            out_printf("\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
        else if (c == '"' || c == '\\')
            out_printf("\\%c", c);
        else if (length == 2)
            out_printf("\\x%02x\\x%02x", (unsigned char)c, (unsigned char)text.ptr[++i]);
        else if (length)
            out_printf("\\x%02x", (unsigned char)c);
        else
            out_put(&c, 1);
    }
    out_put("\"", 1);
    if (n < text.len)
        out_printf("… (%zu bytes)", text.len);
}

bool out_flush(void)
{
    errno = 0;
    if (state.out_errno == 0 && fflush(stdout) != 0)
        out_failed();
    return state.out_errno == 0;
}

bool out_closed(void)
{
    return state.out_errno == EPIPE || state.out_errno == EINVAL; /* EINVAL: Windows */
}

int out_finish(void)
{
    wipe_bar();
    if (out_flush())
        return EXIT_OK;
    if (!out_closed())
        talk_error("the output cannot be written: %s", strerror(state.out_errno));
    return EXIT_FAILED;
}
