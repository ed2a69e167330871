/* Any bytes as a chat template: the first chooses how tight the limits are, the rest is the text.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <jansson.h>

#include "fuzz_log.h"
#include "text/template.h"
#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A chat with a bit of everything that templates ask about. */
static const char context_text[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":"
    "[{\"type\":\"text\",\"text\":\"Gr\\u00fc\\u00dfe \\ud83d\\ude00\"}]},{\"role\":\"assistant\","
    "\"content\":null,\"tool_calls\":[{\"id\":\"call00001\",\"function\":{\"name\":\"f\","
    "\"arguments\":{\"x\":1,\"y\":[1.5,true,null]}}}]},{\"role\":\"tool\",\"content\":\"42\"}],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}],"
    "\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_generation_prompt\":true,\"n\":5,"
    "\"f\":-2.5,\"l\":[3,1,2],\"s\":\"Hello, World\",\"e\":\"\",\"d\":{\"b\":1,\"a\":2}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct template_clock noon = {1783166400};
    static json_t *context;
    static const char before[] = "before";
    if (!context && !(context = json_loads(context_text, 0, NULL)))
        abort();
    if (size < 1)
        return 0;
    struct template_limits limits = {.max_steps = 1000u << data[0] % 8,
                                     .max_output = (size_t)1 << 16,
                                     .max_memory = (size_t)1 << (18 + data[0] % 5),
                                     .max_depth = 5 + data[0] % 64};
    struct strbuf out = {0};
    struct template *tmpl;
    enum hth_status status =
        template_parse(&tmpl, (struct str){(const char *)data + 1, size - 1}, "fuzz", fuzz_log());
    if ((fuzz_log_check(status) == HTH_OK) != (tmpl != NULL))
        abort();
    strbuf_append(&out, STR(before));
    if (tmpl && !out.failed) {
        status = template_render(tmpl, context, &limits, noon, &out, fuzz_log());
        struct str text = strbuf_str(&out);
        if (fuzz_log_check(status) != HTH_OK ? text.len != sizeof before - 1 : !utf8_valid(text))
            abort();
    }
    strbuf_free(&out);
    template_free(tmpl);
    return 0;
}
