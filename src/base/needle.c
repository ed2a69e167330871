#include "base/needle.h"

#include <assert.h>

void needle_init(struct needle *needle, struct str text)
{
    assert(text.len >= 1 && text.len <= NEEDLE_BYTES);
    *needle = (struct needle){.len = (uint8_t)text.len};
    memcpy(needle->text, text.ptr, text.len);
    for (uint8_t n = 1, fit = 0; n < needle->len; n++) {
        while (fit && needle->text[n] != needle->text[fit])
            fit = needle->back[fit];
        fit = (uint8_t)(fit + (needle->text[n] == needle->text[fit]));
        needle->back[n + 1] = fit;
    }
}
