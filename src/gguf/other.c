#include <inttypes.h>

#include "gguf/part.h"

#define GET_GGUF                                                                                   \
    "; download the model as a .gguf file, or convert it with llama.cpp's convert_hf_to_gguf.py"

/* File formats that people hand to a GGUF reader, by their first bytes. */
static const struct {
    struct str magic;
    const char *sentence;
} formats[] = {
    {{"PK\x03\x04", 4}, "is a zip archive, most likely PyTorch weights (.pt, .bin)" GET_GGUF},
    {{"\x80\x02", 2}, "is a Python pickle, most likely PyTorch weights" GET_GGUF},
    {{"\x80\x03", 2}, "is a Python pickle, most likely PyTorch weights" GET_GGUF},
    {{"\x80\x04", 2}, "is a Python pickle, most likely PyTorch weights" GET_GGUF},
    {{"\x80\x05", 2}, "is a Python pickle, most likely PyTorch weights" GET_GGUF},
    {{"lmgg", 4}, "is in the GGML format of before 2023-08" GET_GGUF},
    {{"fmgg", 4}, "is in the GGMF format of before 2023-08" GET_GGUF},
    {{"tjgg", 4}, "is in the GGJT format of before 2023-08" GET_GGUF},
    {{"algg", 4}, "is a GGLA adapter of before 2023-08; use an adapter in the GGUF format"},
    {{"version https://git-lfs", 23},
     "is a Git LFS pointer, not the model itself; fetch it with \"git lfs pull\" or download it"},
    {{"<!", 2}, "is a web page, not a model; download the file itself"},
    {{"<html", 5}, "is a web page, not a model; download the file itself"},
    {{"\0\0\0\0", 4}, "begins with zeros: its download did not finish; download it again"},
};

/* Safetensors: the length of a JSON object in 8 bytes, then the object
 * (https://github.com/huggingface/safetensors#format). */
static bool is_safetensors(const struct gguf_part *part)
{
    uint64_t len;
    if (part->size_bytes < 10)
        return false;
    memcpy(&len, part->data, sizeof len);
    return len >= 2 && len < UINT64_C(1) << 40 && part->data[8] == '{' &&
           (part->data[9] == '"' || part->data[9] == '}' || part->data[9] == ' ');
}

enum hth_status gguf_fail_other_format(const struct gguf_part *part, const struct log *log)
{
    if (part->size_bytes == 0)
        return log_fail(log, HTH_ERROR_FORMAT, "%s: is empty; download the file again", part->path);
    if (is_safetensors(part))
        return log_fail(log, HTH_ERROR_FORMAT, "%s: is a safetensors file" GET_GGUF, part->path);
    struct str start = {(const char *)part->data,
                        (size_t)(part->size_bytes < 64 ? part->size_bytes : 64)};
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (str_starts_with(start, formats[i].magic))
            return log_fail(log, HTH_ERROR_FORMAT, "%s: %s", part->path, formats[i].sentence);
    char bytes[16] = "";
    for (size_t i = 0; i < start.len && i < 4; i++)
        snprintf(bytes + 3 * i, 4, " %02x", part->data[i]);
    return log_fail(
        log, HTH_ERROR_FORMAT,
        "%s: is not a GGUF file (it begins with%s, not with \"GGUF\"); name a .gguf file",
        part->path, bytes);
}
