#include "cli/json_out.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/command.h"
#include "cli/talk.h"
#include "text/utf8.h"

static bool incomplete; /* something could not be added */

void json_push(json_t *array, json_t *value)
{
    incomplete |= json_array_append_new(array, value) != 0;
}

void json_set(json_t *object, const char *key, json_t *value)
{
    incomplete |= json_object_set_new(object, key, value) != 0;
}

json_t *json_text(struct str text)
{
    struct strbuf clean = {0};
    utf8_append_lossy(&clean, text);
    json_t *value = clean.failed ? NULL : json_stringn(clean.ptr ? clean.ptr : "", clean.len);
    strbuf_free(&clean);
    return value;
}

json_t *json_count(uint64_t value)
{
    if (value <= INT64_MAX)
        return json_integer((json_int_t)value);
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return json_string(text);
}

json_t *json_number(double value)
{
    if (value == floor(value) && fabs(value) < 9e15)
        return json_integer((json_int_t)value);
    if (isfinite(value))
        return json_real(value);
    return json_string(isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
}

static int write_chunk(const char *data, size_t size, void *user)
{
    (void)user;
    out_put(data, size);
    return 0;
}

int json_print(json_t *value)
{
    int failed = !value || incomplete ||
                 json_dump_callback(value, write_chunk, NULL,
                                    JSON_INDENT(1) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    json_decref(value);
    incomplete = false;
    if (failed)
        return talk_error("out of memory: the JSON of the result");
    out_put("\n", 1);
    return EXIT_OK;
}
