/*
 * The line editor, on libedit (editline(3), editrc(5)): arrow keys, history, search with Ctrl-R,
 * and text that is pasted in one piece. Terminals put a paste between two sequences once they are
 * asked to ("bracketed paste", xterm's control sequences, mode 2004), so that its line ends do not
 * send.
 */
#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/os.h"
#include "cli/chat_input.h"
#include "cli/interrupt.h"
#include "cli/talk.h"

enum { MOST_REMEMBERED = 2000 };

#define PASTE_BEGINS "\033[200~"
#define PASTE_ENDS   "\033[201~"

struct line_editor {
    EditLine *el;
    History *history;
    bool interrupted, empty; /* Ctrl-C was pressed, on an empty line */
};

static char *prompt(EditLine *el)
{
    (void)el;
    static char text[] = "> ";
    return text;
}

/* libedit speaks wide characters of the locale; where none is set, "C" would lose all but ASCII. */
static void choose_locale(void)
{
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        if (!setlocale(LC_CTYPE, "C.UTF-8"))
            setlocale(LC_CTYPE, "en_US.UTF-8");
}

/* Inserts what comes up to PASTE_ENDS as it is. */
static unsigned char insert_paste(EditLine *el, int key)
{
    static const wchar_t end[] = L"" PASTE_ENDS;
    enum { END_LENGTH = sizeof end / sizeof *end - 1, PIECE = 256 };
    wchar_t piece[PIECE + 1], c;
    size_t n = 0, n_end = 0;
    (void)key;
    while (n_end < END_LENGTH && el_wgetc(el, &c) == 1) {
        n_end = c == end[n_end] ? n_end + 1 : c == end[0];
        if (c == L'\r') /* which is how a terminal writes the end of a line */
            c = L'\n';
        if (n_end == 0 && (c >= 0x20 || c == L'\n' || c == L'\t') && c != 0x7f)
            piece[n++] = c;
        if (n == PIECE || n_end == END_LENGTH) {
            piece[n] = L'\0';
            if (n && el_winsertstr(el, piece) != 0)
                return CC_ERROR;
            n = 0;
        }
    }
    return n_end == END_LENGTH ? CC_REFRESH : CC_EOF;
}

static unsigned char insert_newline(EditLine *el, int key)
{
    (void)key;
    return el_insertstr(el, "\n") == 0 ? CC_REFRESH : CC_ERROR;
}

/* While a line is edited Ctrl-C is a key, not a signal: one that came just before the terminal is
 * read would not interrupt that. */
static unsigned char interrupt_line(EditLine *el, int key)
{
    struct line_editor *editor;
    const LineInfo *line = el_line(el);
    (void)key;
    el_get(el, EL_CLIENTDATA, &editor);
    editor->interrupted = true;
    editor->empty = line->lastchar == line->buffer;
    return CC_EOF;
}

static void bind_keys(EditLine *el)
{
    /* clang-format off */
    static const char *const keys[][2] = {
        {PASTE_BEGINS, "hearth-paste"},
        {"\033\r", "hearth-newline"}, /* Alt-Enter */
        {"\033\n", "hearth-newline"},
        {"^C", "hearth-interrupt"},
        {"^R", "em-inc-search-prev"},
        {"\033[1;5C", "em-next-word"}, /* Ctrl and arrows */
        {"\033[1;5D", "ed-prev-word"},
        {"\033[H", "ed-move-to-beg"},
        {"\033[1~", "ed-move-to-beg"},
        {"\033[F", "ed-move-to-end"},
        {"\033[4~", "ed-move-to-end"},
        {"\033[3~", "ed-delete-next-char"},
    };
    /* clang-format on */
    /* wide strings are kept as they are; of narrow ones libedit makes copies that it never frees */
    el_wset(el, EL_ADDFN, L"hearth-paste", L"inserts what is pasted", insert_paste);
    el_wset(el, EL_ADDFN, L"hearth-newline", L"begins another line", insert_newline);
    el_wset(el, EL_ADDFN, L"hearth-interrupt", L"drops the line", interrupt_line);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        el_set(el, EL_BIND, keys[i][0], keys[i][1], NULL);
}

struct line_editor *line_editor_open(void)
{
    const char *terminal = getenv("TERM");
    HistEvent event;
    if (!terminal || !*terminal || strcmp(terminal, "dumb") == 0)
        return NULL;
    struct line_editor *editor = mem_calloc(1, sizeof *editor);
    if (!editor)
        return NULL;
    choose_locale();
    /* stdout belongs to answers: what is typed is shown on stderr */
    editor->el = el_init("hearth", stdin, stderr, stderr);
    editor->history = history_init();
    if (!editor->el || !editor->history) {
        line_editor_close(editor);
        return NULL;
    }
    history(editor->history, &event, H_SETSIZE, MOST_REMEMBERED);
    history(editor->history, &event, H_SETUNIQUE, 1);
    el_set(editor->el, EL_SIGNAL, 1); /* the terminal is put right before a signal ends us */
    el_set(editor->el, EL_EDITOR, "emacs");
    el_set(editor->el, EL_CLIENTDATA, editor);
    el_set(editor->el, EL_PROMPT, prompt);
    el_set(editor->el, EL_HIST, history, editor->history);
    bind_keys(editor->el);
    el_source(editor->el, NULL); /* ~/.editrc has the last word */
    return editor;
}

void line_editor_close(struct line_editor *editor)
{
    if (!editor)
        return;
    if (editor->history)
        history_end(editor->history);
    if (editor->el)
        el_end(editor->el);
    mem_free(editor);
}

/* As if it had been pasted. */
static void begin_with(EditLine *el, struct str begun)
{
    struct strbuf keys = {0};
    strbuf_append(&keys, STR(PASTE_BEGINS));
    for (size_t i = 0; i < begun.len; i++)
        if (begun.ptr[i] != '\033')
            strbuf_append_char(&keys, begun.ptr[i]);
    strbuf_append(&keys, STR(PASTE_ENDS));
    if (!keys.failed)
        el_push(el, keys.ptr);
    strbuf_free(&keys);
}

enum input_end line_editor_read(struct line_editor *editor, struct str begun, struct strbuf *line)
{
    int count = 0;
    const char *text = NULL;
    editor->interrupted = false;
    editor->empty = true;
    el_set(editor->el, EL_PREP_TERM, 1); /* before there is a prompt to press keys at */
    os_interrupt_as_key(stdin);
    if (begun.len)
        begin_with(editor->el, begun);
    fputs("\033[?2004h", stderr);
    fflush(stderr);
    errno = 0;
    if (!interrupted())
        text = el_gets(editor->el, &count);
    int error = errno;
    const LineInfo *info = el_line(editor->el);
    if (interrupted()) /* by a signal, from elsewhere or after the program was suspended */
        editor->empty = info->lastchar == info->buffer;
    el_set(editor->el, EL_PREP_TERM, 0);
    fputs("\033[?2004l", stderr);
    fflush(stderr);
    if (text && count > 0) {
        strbuf_append(line, (struct str){text, (size_t)count});
        return INPUT_LINE;
    }
    if (editor->interrupted || interrupted()) {
        el_reset(editor->el);
        return editor->empty ? INPUT_INTERRUPTED_EMPTY : INPUT_INTERRUPTED;
    }
    if (count < 0 && error)
        talk_note("the terminal cannot be read: %s", strerror(error));
    return INPUT_OVER;
}

void line_editor_remember(struct line_editor *editor, const char *line)
{
    HistEvent event;
    history(editor->history, &event, H_ENTER, line);
}
