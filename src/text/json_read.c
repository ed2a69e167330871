#include "text/json_read.h"

#include "base/mem.h"

static _Thread_local bool lacked; /* since it was last set to false */

static void *allocate(size_t size)
{
    void *ptr = mem_alloc(size);
    lacked |= size && !ptr;
    return ptr;
}

void json_use_memory(void)
{
    json_set_alloc_funcs(allocate, mem_free);
}

json_t *json_read(const char *text, size_t len, size_t flags, json_error_t *error)
{
    lacked = false;
    json_t *root = json_loadb(text ? text : "", len, flags, error);
    if (!root && lacked)
        error->text[0] = '\0'; /* words about the text */
    return root;
}

/* What is wrong with a text is always said in words. */
bool json_lacked_memory(const json_error_t *error)
{
    return !error->text[0] || json_error_code(error) == json_error_out_of_memory;
}
