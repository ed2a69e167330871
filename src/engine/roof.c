#include "engine/roof.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "gpu/row.h"
#include "text/json_read.h"

enum { MOST_BYTES = 1 << 20 };

static bool is_text(const json_t *item, const char *key, const char *text)
{
    const char *own = json_string_value(json_object_get(item, key));
    return own && strcmp(own, text) == 0;
}

/* The figure of the item in a list whose `key` is `name`; 0: there is none. */
static double figure_of(const json_t *root, const char *list, const char *key, const char *name,
                        const char *unit)
{
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(root, list), i, item)
    {
        if (is_text(item, key, name))
            return json_number_value(json_object_get(item, unit));
    }
    return 0;
}

static double best_matrix(const json_t *root, const char *input, const char *sum)
{
    size_t i;
    const json_t *item;
    double best = 0;
    json_array_foreach(json_object_get(root, "matrix"), i, item)
    {
        double rate = json_number_value(json_object_get(item, "flop_per_s"));
        if (is_text(item, "input", input) && is_text(item, "sum", sum))
            best = rate > best ? rate : best;
    }
    return best;
}

static bool is_rate(double rate)
{
    return isfinite(rate) && rate >= 0;
}

static bool take(struct roof *out, const json_t *root)
{
    const char *device = json_string_value(json_object_get(root, "device"));
    *out = (struct roof){
        .read_bytes = figure_of(root, "read", "memory", "device memory", "bytes_per_s"),
        .fp32_flop = figure_of(root, "math", "math", "fp32", "flop_per_s"),
        .fp16_flop = figure_of(root, "math", "math", "fp16", "flop_per_s"),
        .dot_flop = figure_of(root, "math", "math", "int8 dot product", "flop_per_s"),
        .matrix_f16_flop = best_matrix(root, "f16", "f32"),
        .matrix_bf16_flop = best_matrix(root, "bf16", "f32"),
        .matrix_s8_flop = best_matrix(root, "s8", "s32"),
    };
    if (device)
        snprintf(out->device, sizeof out->device, "%s", device);
    return device && is_rate(out->read_bytes) && out->read_bytes > 0 && is_rate(out->fp32_flop) &&
           out->fp32_flop > 0 && is_rate(out->fp16_flop) && is_rate(out->dot_flop) &&
           is_rate(out->matrix_f16_flop) && is_rate(out->matrix_bf16_flop) &&
           is_rate(out->matrix_s8_flop);
}

enum hth_status roof_read(struct roof *out, const char *path, const struct log *log)
{
    struct strbuf text = {0};
    json_error_t error;
    *out = (struct roof){0};
    enum hth_status status = file_read(path, MOST_BYTES, &text, log);
    json_t *root = status == HTH_OK ? json_read(text.ptr, text.len, 0, &error) : NULL;
    if (status == HTH_OK && !root && json_lacked_memory(&error))
        status = log_fail_memory(log, path, text.len);
    else if (status == HTH_OK && !take(out, root))
        status = log_fail(log, HTH_ERROR_FORMAT,
                          "%s: is not what bench/roof --json prints: write it anew with roof "
                          "--device D --json > FILE",
                          path);
    json_decref(root);
    strbuf_free(&text);
    return status;
}

void roof_check_device(const struct roof *roof, const char *device, const struct log *log)
{
    if (strcmp(roof->device, device) != 0)
        log_warning(log, "the roof is of another device: of %s, and this is %s", roof->device,
                    device);
}

double roof_best_flop(const struct roof *roof)
{
    double vectors = fmax(fmax(roof->fp32_flop, roof->fp16_flop), roof->dot_flop);
    double matrices =
        fmax(fmax(roof->matrix_f16_flop, roof->matrix_bf16_flop), roof->matrix_s8_flop);
    return fmax(vectors, matrices);
}

double roof_row_flop(const struct roof *roof, const struct row *row)
{
    if (row->matrices)
        return row->integer  ? roof->matrix_s8_flop
               : row->bfloat ? roof->matrix_bf16_flop
                             : roof->matrix_f16_flop;
    return row->integer ? roof->dot_flop : row->half ? roof->fp16_flop : roof->fp32_flop;
}

double roof_named_flop(const struct roof *roof, const char *row_name)
{
    for (size_t i = 0; row_at(i, NULL); i++)
        if (strcmp(row_at(i, NULL)->name, row_name) == 0)
            return roof_row_flop(roof, row_at(i, NULL));
    return roof_best_flop(roof);
}

double roof_share(const struct roof *roof, const struct roof_work *work, const char **bound)
{
    double read_s = work->bytes / roof->read_bytes;
    double math_s = work->flop_per_s > 0 ? work->flop / work->flop_per_s : 0;
    *bound = read_s >= math_s ? "read" : "math";
    return fmax(read_s, math_s) / work->seconds;
}
