/* Any JSON as the variables of a template that looks into everything it is given. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <jansson.h>

#include "fuzz_log.h"
#include "text/template.h"
#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char source[] =
    "{% macro show(v) %}{% if v is mapping %}{% for k, x in v|dictsort %}{{ k|upper }}={{ show(x) "
    "}}"
    "{% endfor %}{% elif v is string %}{{ v|trim|title|replace('a', v[:3]) }}{{ v[::-1] }}"
    "{{ v.split()|join('|') }}{{ '%-9s|%r' % (v, v) }}{{ v|truncate(9)|wordcount }}{% elif v is "
    "iterable %}{% for x in v %}{{ loop.index }}{{ show(x) }}{{ loop.last }}{% endfor %}{{ v == v "
    "}}"
    "{% else %}{{ v }}{{ v is number and v > 3 }}{% endif %}{{ v|tojson(indent=1) }}{% endmacro %}"
    "{{ show(messages) }}{{ messages|length if messages is sequence }}{{ bos_token }}"
    "{% for m in messages %}{{ m.role ~ m['content'] }}{% endfor %}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct template_limits limits = {
        .max_steps = 100000, .max_output = (size_t)1 << 18, .max_memory = (size_t)1 << 22};
    static const struct template_clock noon = {1783166400};
    json_t *context = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
    struct strbuf out = {0};
    struct template *tmpl = NULL;
    if (!context)
        return 0;
    if (template_parse(&tmpl, STR(source), "fuzz", NULL) == HTH_OK) {
        enum hth_status status = template_render(tmpl, context, &limits, noon, &out, fuzz_log());
        if (fuzz_log_check(status) != HTH_OK ? out.len != 0 : !utf8_valid(strbuf_str(&out)))
            abort();
    }
    strbuf_free(&out);
    template_free(tmpl);
    json_decref(context);
    return 0;
}
