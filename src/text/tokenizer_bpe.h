/*
 * tokenizer_bpe.h — BPE for the kinds that are built on it.
 *
 * Owns tokenizer->state, so those kinds have none of their own. Each function is that of struct
 * tokenizer_kind (tokenizer_kind.h) with the same name and its conditions; any thread once created.
 */
#ifndef TEXT_TOKENIZER_BPE_H
#define TEXT_TOKENIZER_BPE_H

#include "text/tokenizer_kind.h"

enum hth_status bpe_create(struct tokenizer *tokenizer, const struct gguf *gguf,
                           const struct log *log);
void bpe_destroy(struct tokenizer *tokenizer);
enum hth_status bpe_encode(const struct tokenizer *tokenizer, struct str text, bool begins,
                           struct token_list *out);
void bpe_piece(const struct tokenizer *tokenizer, struct str token, struct strbuf *out);

#endif
