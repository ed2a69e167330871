#include "text/pretokenize.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/mem.h"

struct compiled_rule {
    pcre2_code *code;
    bool thirds;
};

struct pretokenizer {
    struct compiled_rule rules[PRE_MAX_RULES];
    size_t n_rules;
    pcre2_general_context *general; /* for what is made while matching: any thread */
    pcre2_match_context *limits;
    bool out_of_memory; /* set by the allocator while compiling */
};

static void *allocate(PCRE2_SIZE size, void *user)
{
    void *ptr = mem_alloc(size);
    struct pretokenizer *pretokenizer = user;
    if (!ptr && pretokenizer)
        pretokenizer->out_of_memory = true;
    return ptr;
}

static void release(void *ptr, void *user)
{
    (void)user;
    mem_free(ptr);
}

static enum hth_status compile(struct pretokenizer *pretokenizer, pcre2_compile_context *context,
                               const struct pre_rule *rule, const struct log *log)
{
    int error;
    PCRE2_SIZE offset;
    struct compiled_rule *compiled = &pretokenizer->rules[pretokenizer->n_rules++];
    compiled->thirds = rule->thirds;
    compiled->code = pcre2_compile((PCRE2_SPTR)rule->regex, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_NO_UTF_CHECK, &error, &offset, context);
    if (!compiled->code && pretokenizer->out_of_memory)
        return log_fail_memory(log, "a pre-tokenizer's rule", strlen(rule->regex));
    if (!compiled->code) {
        PCRE2_UCHAR why[128] = "";
        pcre2_get_error_message(error, why, sizeof why);
        return log_fail(log, HTH_ERROR_UNSUPPORTED,
                        "the regex library refuses a pre-tokenizer's rule at character %zu (%s); "
                        "it may be too old, or built without Unicode",
                        (size_t)offset, (const char *)why);
    }
    /* Without machine code (forbidden by the system, or not for this processor) the interpreter
     * does the same more slowly. */
    pcre2_jit_compile(compiled->code, PCRE2_JIT_COMPLETE);
    if (pretokenizer->out_of_memory)
        return log_fail_memory(log, "a pre-tokenizer's rule", strlen(rule->regex));
    return HTH_OK;
}

enum hth_status pretokenizer_create(struct pretokenizer **out, const struct pre_family *family,
                                    const struct log *log)
{
    *out = NULL;
    struct pretokenizer *made = mem_calloc(1, sizeof *made);
    if (!made)
        return log_fail_memory(log, "a pre-tokenizer", sizeof *made);
    enum hth_status status = HTH_OK;
    pcre2_compile_context *context = NULL;
    pcre2_general_context *watched = pcre2_general_context_create(allocate, release, made);
    made->general = pcre2_general_context_create(allocate, release, NULL);
    if (watched && made->general) {
        context = pcre2_compile_context_create(watched);
        made->limits = pcre2_match_context_create(made->general);
    }
    if (!context || !made->limits) {
        status = log_fail_memory(log, "a pre-tokenizer", sizeof *made);
        goto done;
    }
    /* The rules need at most a few steps per character; what needs more is hostile. */
    pcre2_set_match_limit(made->limits, 50u * 1000 * 1000);
    pcre2_set_heap_limit(made->limits, 256u * 1024); /* KiB */
    for (size_t i = 0; i < PRE_MAX_RULES && family->rules[i].regex && status == HTH_OK; i++)
        status = compile(made, context, &family->rules[i], log);
done:
    pcre2_compile_context_free(context);
    pcre2_general_context_free(watched);
    if (status == HTH_OK)
        *out = made;
    else
        pretokenizer_destroy(made);
    return status;
}

void pretokenizer_destroy(struct pretokenizer *pretokenizer)
{
    if (!pretokenizer)
        return;
    for (size_t i = 0; i < pretokenizer->n_rules; i++)
        pcre2_code_free(pretokenizer->rules[i].code);
    pcre2_match_context_free(pretokenizer->limits);
    pcre2_general_context_free(pretokenizer->general);
    mem_free(pretokenizer);
}

void pre_cuts_free(struct pre_cuts *cuts)
{
    mem_free(cuts->ends);
    *cuts = (struct pre_cuts){0};
}

/* A piece ends at `end`; nothing to do where one already does. */
static bool cut(struct pre_cuts *cuts, size_t end)
{
    if (end == 0 || (cuts->count && cuts->ends[cuts->count - 1] == end))
        return true;
    size_t *ends = mem_grow(cuts->ends, &cuts->capacity, cuts->count + 1, sizeof *ends);
    if (!ends)
        return false;
    cuts->ends = ends;
    ends[cuts->count++] = end;
    return true;
}

static bool is_first_byte(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

/* Cuts before each group of three characters of text[from, to), counted from its end. */
static bool cut_thirds(struct pre_cuts *cuts, struct str text, size_t from, size_t to)
{
    size_t n = 0;
    for (size_t i = from; i < to; i++)
        n += is_first_byte(text.ptr[i]);
    for (size_t i = from; i < to; i++) {
        if (!is_first_byte(text.ptr[i]))
            continue;
        if (n-- % 3 == 0 && !cut(cuts, i))
            return false;
    }
    return true;
}

/* A rule at work. */
struct pass {
    const struct compiled_rule *rule;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    struct str text;
    struct pre_cuts *cuts;
};

/* Applies a rule to the piece text[from, to), which it sees as if it were all there is. */
static enum hth_status apply_to_piece(const struct pass *pass, size_t from, size_t to)
{
    const struct compiled_rule *rule = pass->rule;
    pcre2_match_data *match = pass->match;
    struct pre_cuts *cuts = pass->cuts;
    PCRE2_SPTR subject = (PCRE2_SPTR)pass->text.ptr + from;
    size_t len = to - from, at = 0;
    while (at < len) {
        int rc = pcre2_match(rule->code, subject, len, at, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
                             match, pass->limits);
        if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
            rc = pcre2_match(rule->code, subject, len, at,
                             PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY | PCRE2_NO_JIT, match,
                             pass->limits);
        if (rc == PCRE2_ERROR_NOMEMORY)
            return HTH_ERROR_MEMORY;
        if (rc < 0)
            break; /* no match, or a limit: the rest stays whole */
        const PCRE2_SIZE *place = pcre2_get_ovector_pointer(match);
        bool ok = rule->thirds ? cut_thirds(cuts, pass->text, from + place[0], from + place[1])
                               : cut(cuts, from + place[0]) && cut(cuts, from + place[1]);
        if (!ok)
            return HTH_ERROR_MEMORY;
        at = place[1];
    }
    return cut(cuts, to) ? HTH_OK : HTH_ERROR_MEMORY;
}

enum hth_status pretokenize(const struct pretokenizer *pretokenizer, struct str text,
                            struct pre_cuts *cuts)
{
    struct pre_cuts next = {0};
    enum hth_status status = HTH_ERROR_MEMORY;
    cuts->count = 0;
    pcre2_match_data *match = pcre2_match_data_create(1, pretokenizer->general);
    if (!match || !cut(cuts, text.len))
        goto done;
    status = HTH_OK;
    for (size_t r = 0; r < pretokenizer->n_rules && status == HTH_OK; r++) {
        next.count = 0;
        struct pass pass = {&pretokenizer->rules[r], match, pretokenizer->limits, text, &next};
        for (size_t i = 0, from = 0; i < cuts->count && status == HTH_OK; i++) {
            status = apply_to_piece(&pass, from, cuts->ends[i]);
            from = cuts->ends[i];
        }
        struct pre_cuts swap = *cuts;
        *cuts = next;
        next = swap;
    }
done:
    pre_cuts_free(&next);
    pcre2_match_data_free(match);
    return status;
}
