/* BPE over words without the white space between them, which is lost. */
#include "text/tokenizer_bpe.h"
#include "text/utf8.h"

static enum hth_status encode(const struct tokenizer *tokenizer, struct str text, bool begins,
                              struct token_list *out)
{
    size_t from = 0;
    enum hth_status status = HTH_OK;
    for (size_t at = 0, len; at < text.len && status == HTH_OK; at += len) {
        uint32_t c;
        len = utf8_decode(text, at, &c);
        if (len && tokenizer_is_white(c)) {
            if (at > from)
                status = bpe_encode(tokenizer, str_slice(text, from, at), begins, out);
            from = at + len;
        }
        len = len ? len : 1;
    }
    if (status == HTH_OK && from < text.len)
        status = bpe_encode(tokenizer, str_slice(text, from, text.len), begins, out);
    return status;
}

const struct tokenizer_kind tokenizer_kind_whitespace = {
    .model = "whitespace",
    .bos = -1,
    .eos = -1,
    .unk = -1,
    .sep = -1,
    .create = bpe_create,
    .destroy = bpe_destroy,
    .encode = encode,
    .piece = bpe_piece,
};
