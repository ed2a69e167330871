/* What base promises of Windows: its folders, separators, and files beyond 4 GiB. */
#include "harness/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/os.h"

TEST(cache_folder_follows_the_environment)
{
    static const struct {
        const wchar_t *own, *local;
        const char *expected;
    } cases[] = {
        {L"D:\\own", L"C:\\local", "D:/own"},
        {L"", L"C:\\Users\\\u00fc\u6a21", "C:/Users/\u00fc\u6a21/hearth"},
        {L"", L"", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct strbuf buf = {0};
        _wputenv_s(L"HEARTH_CACHE", cases[i].own);
        _wputenv_s(L"LOCALAPPDATA", cases[i].local);
        assert_int_equal(os_cache_folder(&buf), cases[i].expected != NULL);
        if (cases[i].expected)
            assert_string_equal(buf.ptr, cases[i].expected);
        strbuf_free(&buf);
    }
}

TEST(home_folder_is_the_profile)
{
    struct strbuf buf = {0};
    _wputenv_s(L"USERPROFILE", L"C:\\Users\\\u00fc");
    assert_true(os_home_folder(&buf));
    assert_string_equal(buf.ptr, "C:/Users/\u00fc");
    strbuf_free(&buf);
}

/* What a process that is gone left, and what this one is about to write, beside "FOLDER\NAME". */
TEST(leftovers_are_found_behind_a_backslash)
{
    char dead[1100], alive[1100], path[1100];
    const char *folder = test_temp_path("with");
    assert_true(os_make_folders(folder));
    snprintf(path, sizeof path, "%s\\left.txt", folder);
    snprintf(dead, sizeof dead, "%s", test_temp_path("with/left.txt.tmp.2147483644"));
    snprintf(alive, sizeof alive, "%s", test_temp_path("with/left.txt.tmp.%lux", os_process_id()));
    test_put_text(dead, "");
    test_put_text(alive, "");
    test_put_text(path, "new");
    assert_int_equal(os_stat(dead, NULL, NULL), OS_FILE_NONE);
    assert_int_equal(os_stat(alive, NULL, NULL), OS_FILE_REGULAR);
    test_assert_text(test_temp_path("with/left.txt"), "new");
}

/* A hole and a letter: `long` has 32 bits here. */
TEST(files_are_larger_than_4_gib)
{
    static const int64_t at = (INT64_C(4) << 30) + 4095;
    const char *path = test_temp_path("large");
    uint64_t size = 0;
    struct os_mapping mapping;
    FILE *file = os_fopen(path, "wb");
    assert_non_null(file);
    if (_fseeki64(file, at, SEEK_SET) != 0 || fputc('x', file) != 'x' || fclose(file) != 0)
        test_skip("no room for a file of 4 GiB");
    assert_int_equal(os_stat(path, &size, NULL), OS_FILE_REGULAR);
    assert_true(size == (uint64_t)at + 1);
    assert_true(os_map_file(&mapping, path));
    assert_true(mapping.size_bytes == size);
    assert_int_equal(((const char *)mapping.data)[at], 'x');
    os_map_drop(mapping.data, mapping.size_bytes);
    os_unmap(&mapping);
    assert_true(os_remove(path));
}

TEST(lines_of_a_file_are_left_alone)
{
    char line[16];
    const char *path = test_temp_path("lines");
    test_put_text(path, "\xc3\xbc\r\nnext");
    FILE *file = os_fopen(path, "rb");
    assert_non_null(file);
    assert_non_null(os_gets(line, sizeof line, file));
    assert_string_equal(line, "\xc3\xbc\r\n");
    assert_non_null(os_gets(line, sizeof line, file));
    assert_string_equal(line, "next");
    assert_null(os_gets(line, sizeof line, file));
    fclose(file);
}
