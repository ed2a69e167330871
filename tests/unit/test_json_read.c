#include "text/json_read.h"

#include "base/mem.h"
#include "harness/test.h"

static json_t *load(const char *text, json_error_t *error)
{
    return json_read(text, strlen(text), JSON_DECODE_ANY, error);
}

/* Of the allocations since it was set, the one of this number fails. */
static long left;

static bool fail_one(void *user, size_t size)
{
    (void)user, (void)size;
    return left-- != 0;
}

TEST(a_lack_of_memory_is_no_fault_of_the_text)
{
    static const char *const texts[] = {
        "{\"a\": [1, 2.5, true, null, \"\\u00e4\\n\"], \"a long name, longer than a buffer\": {}}",
        "\"a line of a history\"",
        "[[[[[[[[[[\"deep\"]]]]]]]]]]",
    };
    json_use_memory();
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        json_t *root = NULL;
        long n = 0;
        for (; !root; n++) {
            json_error_t error;
            left = n;
            mem_set_hook(fail_one, NULL);
            root = load(texts[i], &error);
            mem_set_hook(NULL, NULL);
            if (!root && !json_lacked_memory(&error))
                fail_msg("allocation %ld of \"%s\": %s", n, texts[i], error.text);
        }
        assert_true(n > 1);
        json_decref(root);
    }
}

TEST(and_a_fault_of_the_text_no_lack_of_memory)
{
    static const char *const texts[] = {
        "", "{", "[1,", "{\"a\" 1}", "\"cut", "\"\\u00\"", "tru", "[1] 2", "{\"a\": 1e999}", "\x80",
    };
    json_use_memory();
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        json_error_t error;
        assert_null(load(texts[i], &error));
        if (json_lacked_memory(&error))
            fail_msg("\"%s\" is told as a lack of memory", texts[i]);
    }
}
