#include "changed.h"

#include <stdio.h>

#include "gguf/gguf_write.h"
#include "harness/test.h"

static bool is_changed(const struct changed_key *keys, struct str name)
{
    for (; keys->name; keys++)
        if (str_equal(name, str_of(keys->name)))
            return true;
    return false;
}

void changed_model(const char *from, const char *to, const struct changed_key *keys)
{
    struct gguf *gguf;
    struct gguf_writer *writer;
    assert_int_equal(gguf_open(&gguf, from, test_log()), HTH_OK);
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    for (size_t i = 0; i < gguf_n_keys(gguf); i++)
        if (!is_changed(keys, gguf_key_at(gguf, i)->name))
            gguf_put_key(writer, gguf_key_at(gguf, i));
    for (const struct changed_key *key = keys; key->name; key++) {
        if (key->text)
            gguf_put_str(writer, key->name, str_of(key->text));
        else
            gguf_put_f32(writer, key->name, key->number);
    }
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(gguf, i);
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.ptr);
        gguf_put_tensor(writer, name, t->dtype, t->n_dims, t->ne, t->data, NULL, NULL);
    }
    assert_int_equal(gguf_writer_save(writer, to), HTH_OK);
    gguf_writer_destroy(writer);
    gguf_close(gguf);
}
