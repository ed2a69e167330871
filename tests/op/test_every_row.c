#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/os.h"
#include "op_gpu.h"
#include "op_ran.h"
#include "op_test.h"

/* The last of the op tests: is there a row or a blob that this device could run and no test ran? It
 * reads what each entry noted (op_ran.h), and says nothing of a run of only some of them. */

enum { MAX_MISSING = 30 };

static char *read_text(const char *path)
{
    struct os_mapping mapping;
    if (!os_map_file(&mapping, path))
        return NULL;
    char *text = mem_calloc(1, mapping.size_bytes + 1);
    assert_non_null(text);
    if (mapping.size_bytes)
        memcpy(text, mapping.data, mapping.size_bytes);
    os_unmap(&mapping);
    return text;
}

/* Appends what an entry noted; false where it has not run since its program was built, or was
 * narrowed, or ran on another device. */
static bool add_notes(struct strbuf *notes, const char *entry, const char *program)
{
    char path[1024], device[700];
    uint64_t written, built;
    snprintf(path, sizeof path, "%s/tests/op_ran/%s", HEARTH_BINARY_DIR, entry);
    if (os_stat(program, NULL, &built) == OS_FILE_NONE ||
        os_stat(path, NULL, &written) == OS_FILE_NONE || written < built)
        return false;
    char *text = read_text(path);
    snprintf(device, sizeof device, "device %s\n", op_gpu_name());
    bool fresh = text && strncmp(text, device, strlen(device)) == 0;
    if (fresh)
        strbuf_append(notes, str_of(text));
    mem_free(text);
    return fresh;
}

/* The notes of all entries, each line with a newline at both ends; skips if some are missing. */
static void read_notes(struct strbuf *notes)
{
    char *list = read_text(HEARTH_BINARY_DIR "/tests/op_ran.list"), missing[256] = "";
    assert_non_null(list);
    int n = 0, n_missing = 0;
    strbuf_append_char(notes, '\n');
    for (char *line = strtok(list, "\n"); line; line = strtok(NULL, "\n"), n++) {
        char *program = strchr(line, '\t');
        assert_non_null(program);
        *program++ = '\0';
        if (!add_notes(notes, line, program) && n_missing++ == 0)
            snprintf(missing, sizeof missing, "%s", line);
    }
    mem_free(list);
    assert_true(n > 50);
    const char *require = getenv("HEARTH_REQUIRE_GOLDEN"); /* a run that must be whole */
    if (n_missing && require && strcmp(require, "1") == 0)
        fail_msg("%d of %d op tests did not run on %s, as %s", n_missing, n, op_gpu_name(),
                 missing);
    if (n_missing)
        test_skip("only some op tests ran on this device: ctest -R '^op' runs all");
}

static bool noted(const struct strbuf *notes, const char *line)
{
    char whole[600];
    snprintf(whole, sizeof whole, "\n%s\n", line);
    return strstr(notes->ptr, whole) != NULL;
}

struct missing {
    int n;
    struct strbuf text;
};

static void complain(struct missing *missing, const char *line)
{
    if (missing->n++ < MAX_MISSING)
        strbuf_printf(&missing->text, "  %s\n", line);
}

/* A blob's name as a row has it: without the form of its memory. */
static void base_name(const struct shader_blob *blob, char *name, size_t size)
{
    size_t n = strlen(blob->name), suffix = blob->uses_addresses ? strlen("_addr") : 0;
    snprintf(name, size, "%.*s", (int)(n - suffix), blob->name);
}

static bool row_has_blob(const struct row *row, const struct shader_blob *blob)
{
    char name[128], of_row[128];
    base_name(blob, name, sizeof name);
    bool by_format = row->by_format && blob->format;
    snprintf(of_row, sizeof of_row, "%s%s%s", row->blob, by_format ? "_" : "",
             by_format ? blob->format : "");
    return row->by_format == (blob->format != NULL) && strcmp(of_row, name) == 0;
}

/* There is the form with addresses; every row that may take the blob ran it; a blob of no row ran
 * as a helper's. */
static void check_blob(const struct strbuf *notes, const struct shader_blob *blob,
                       struct missing *missing)
{
    char line[256];
    bool of_rows = false;
    snprintf(line, sizeof line, "%s_addr", blob->name);
    if (!blob->uses_addresses && !shader_blob_find(line))
        complain(missing, line);
    for (size_t r = 0; row_at(r, NULL); r++) {
        const struct row *row = row_at(r, NULL);
        if (!row_has_blob(row, blob))
            continue;
        of_rows = true;
        snprintf(line, sizeof line, "left out %s %s", row->name, blob->format ? blob->format : "");
        if (noted(notes, line))
            continue;
        snprintf(line, sizeof line, "blob %s %s", row->name, blob->name);
        if (!noted(notes, line))
            complain(missing, line);
    }
    char helper[128];
    base_name(blob, helper, sizeof helper);
    snprintf(line, sizeof line, "blob %s %s", helper, blob->name);
    if (!of_rows && !noted(notes, line))
        complain(missing, line);
}

/* Every kind of op that a family stands for was run by one of its rows. */
static void check_kinds(const struct strbuf *notes, const char *device, struct missing *missing)
{
    const struct row_family *family = NULL, *before = NULL;
    for (size_t r = 0; row_at(r, &family); r++, before = family) {
        for (int k = 0; family != before && k < family->n_kinds; k++) {
            const char *kind = op_def_of(family->kinds[k])->name;
            char line[256];
            bool ran = false;
            for (int i = 0; i < family->n_rows && !ran; i++) {
                snprintf(line, sizeof line, "kind %s %s %s", kind, family->rows[i].name, device);
                ran = noted(notes, line);
            }
            snprintf(line, sizeof line, "kind %s by a row of the family of %s on %s", kind,
                     family->rows[0].name, device);
            if (!ran)
                complain(missing, line);
        }
    }
}

TEST(ran)
{
    const struct vk_caps *caps = op_gpu_caps();
    if (!caps)
        test_skip_device("no GPU, and so no rows of it");
    struct strbuf notes = {0};
    struct missing missing = {0};
    read_notes(&notes);
    int n_blobs = 0;
    for (uint32_t i = 0; i < n_shader_blobs; i++) {
        if (!vk_blob_fits(caps, &shader_blobs[i]))
            continue;
        n_blobs++;
        check_blob(&notes, &shader_blobs[i], &missing);
    }
    check_kinds(&notes, "vulkan", &missing);
    if (caps->addresses)
        check_kinds(&notes, "vulkan-address", &missing);
    printf("%d of %u blobs fit %s\n", n_blobs, n_shader_blobs, caps->name);
    assert_true(n_blobs > 50 && !notes.failed);
    if (missing.n)
        fail_msg("%d that this device could run were run by no op test:\n%s", missing.n,
                 missing.text.ptr);
    strbuf_free(&notes);
}
