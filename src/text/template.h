/*
 * template.h — chat templates: the Jinja2 language, as Hugging Face transformers sets it up.
 *
 * Owns a parsed template. Rendering is bounded in time, depth and output, allocates from one arena
 * and touches nothing outside: a template is a program from a stranger. A parsed template is
 * immutable: any thread. Language: Jinja2 3.1 (trim_blocks, lstrip_blocks, loop controls; `tojson`,
 * `raise_exception`, `strftime_now` as transformers defines them).
 */
#ifndef TEXT_TEMPLATE_H
#define TEXT_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/str.h"
#include "gguf/gguf.h"

struct json_t; /* jansson */
struct template;

/* Parses; messages begin with `name`. Errors: HTH_ERROR_FORMAT with line and what was expected,
 * HTH_ERROR_UNSUPPORTED naming a filter, test or function hearth lacks, HTH_ERROR_MEMORY. */
HTH_MUST_CHECK template_parse(struct template **out, struct str source, const char *name,
                              const struct log *log);

/* Parses that of a model's file; *out is NULL, with HTH_OK, where it has none. */
HTH_MUST_CHECK template_of_model(struct template **out, const struct gguf *gguf,
                                 const struct log *log);
void template_free(struct template *tmpl);

/* Does the template look anything up by this name? */
bool template_uses(const struct template *tmpl, struct str name);

struct template_limits {  /* zero means the default in brackets */
    uint64_t max_steps;   /* expressions and statements evaluated [20 million] */
    size_t max_output;    /* bytes [64 MiB] */
    size_t max_memory;    /* bytes of values made on the way [256 MiB] */
    int max_depth;        /* nested calls and values [200] */
    uint32_t max_time_ms; /* wall clock [1000] */
};

/* Local time that `strftime_now` shows: seconds since 1970-01-01T00:00:00 as if in UTC; negative
 * means the system's. */
struct template_clock {
    int64_t seconds;
};

/* Renders with the members of the JSON object `context` as variables; appends to `out`. Errors:
 * HTH_ERROR_ARGUMENT when the template itself called raise_exception (what it says is logged),
 * HTH_ERROR_FORMAT for an error in evaluating (with its line), HTH_ERROR_LIMIT, HTH_ERROR_MEMORY.
 */
HTH_MUST_CHECK template_render(const struct template *tmpl, const struct json_t *context,
                               const struct template_limits *limits, struct template_clock clock,
                               struct strbuf *out, const struct log *log);

#endif
