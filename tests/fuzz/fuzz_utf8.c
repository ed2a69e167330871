/* Any bytes, in pieces of any size: what a stream writes is valid and is what the whole gives. */
#include <stdint.h>
#include <stdlib.h>

#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct strbuf whole = {0}, pieces = {0};
    utf8_append_lossy(&whole, text);
    require(utf8_valid(strbuf_str(&whole)));
    require(!utf8_valid(text) || str_equal(strbuf_str(&whole), text));

    struct utf8_stream stream = {0};
    size_t step = size ? data[0] % 7 : 1;
    for (size_t at = 0; at < size;) {
        size_t n = 1 + (at * 31 + step) % 5;
        utf8_stream_push(&stream, str_slice(text, at, at + n), &pieces);
        require(utf8_valid(strbuf_str(&pieces)));
        at += n;
    }
    utf8_stream_end(&stream, &pieces);
    require(str_equal(strbuf_str(&whole), strbuf_str(&pieces)));
    strbuf_free(&whole);
    strbuf_free(&pieces);
    return 0;
}
