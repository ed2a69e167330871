/* What was under way when a process ended. */
#include "engine/begun.h"

#include <stdio.h>

#include "base/os.h"
#include "harness/test.h"

static char record[1024];

static void begin(struct begun *b)
{
    if (!record[0])
        snprintf(record, sizeof record, "%s/there/is/none.json", test_fresh_folder("begun"));
    begun_open(b, record);
}

/* As when a process ends: the system closes its files. */
static void end(struct begun *b)
{
    struct begun ended = {.path = b->path, .last = b->last};
    assert_non_null(b->file);
    fclose(b->file);
    begun_close(&ended);
}

static void end_in(const char *const *names, size_t n)
{
    struct begun b;
    begin(&b);
    for (size_t i = 0; i < n; i++)
        begun_note(&b, names[i]);
    end(&b);
}

static int count_of(const char *name)
{
    struct begun b;
    begin(&b);
    int n = begun_count(&b, name);
    end(&b);
    return n;
}

TEST(what_ends_processes_is_counted)
{
    static const char *const names[] = {"one", "two of 3", "four"};
    struct begun b;
    assert_int_equal(count_of("one"), 0);
    end_in(names, 2);
    assert_int_equal(count_of("one"), 0);
    assert_int_equal(count_of("two of 3"), 1);
    end_in(names, 2);
    assert_int_equal(count_of("two of 3"), 2);
    assert_int_equal(count_of("two"), 0);
    end_in(names, 3);
    assert_int_equal(count_of("two of 3"), 0);
    assert_int_equal(count_of("four"), 1);
    begin(&b);
    begun_note(&b, "four");
    begun_close(&b);
    assert_int_equal(count_of("four"), 0);
}

/* Who runs beside has not ended. */
TEST(only_one_process_notes)
{
    struct begun first, second;
    begin(&first);
    begun_note(&first, "one");
    begin(&second);
    assert_null(second.file);
    assert_int_equal(begun_count(&second, "one"), 0);
    begun_note(&second, "two");
    begun_close(&second);
    end(&first);
    assert_int_equal(count_of("one"), 1);
    begin(&first);
    begun_close(&first);
    assert_int_equal(count_of("one"), 0);
}

TEST(files_that_are_none)
{
    static const char *const texts[] = {"",     "one",  "0 one\n",   "100 one\n", "-1 one",
                                        "1one", "\n\n", "2 one\n\n", "2 one\nx"};
    char path[1100];
    end_in(NULL, 0);
    snprintf(path, sizeof path, "%s.begun", record);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        test_put_text(path, texts[i]);
        assert_int_equal(count_of("one"), 0);
    }
    test_put_text(path, "2 one"); /* and no more, as the disk was full */
    assert_int_equal(count_of("one"), 2);
}

TEST(without_a_place_nothing_is_known)
{
    struct begun b;
    begun_open(&b, NULL);
    begun_note(&b, "one");
    assert_int_equal(begun_count(&b, "one"), 0);
    begun_close(&b);
    begun_open(&b, "/dev/null/none.json");
    begun_note(&b, "one");
    begun_close(&b);
}
