/*
 * spirv_reflect — puts all SPIR-V of a build into one file, and what it says about itself into C.
 *
 *   spirv_reflect LIST OUT.bin OUT.c BUILD_ID.h
 *
 * LIST has a line per blob, fields parted by tabs, "-" for none:
 *   name  op  format  args-struct  args-header  file.spv
 * OUT.c defines the table of vk/shader_blob.h and asserts that each args struct is as large as the
 * push constants of its shader. BUILD_ID.h defines HEARTH_BUILD_ID, a hash of all words.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "spirv_parse.h"

enum { MAX_PUSH_BYTES = 128 }; /* maxPushConstantsSize that Vulkan 1.2 guarantees */
enum { FIELDS = 6, BLOB_ALIGN_WORDS = 4 };
enum field { NAME, OP, FORMAT, ARGS_STRUCT, ARGS_HEADER, PATH };

struct blob {
    char *field[FIELDS]; /* NULL for "-" */
    struct spirv_info info;
    size_t first_word;
    size_t n_words;
};

struct build {
    struct blob *blobs;
    size_t n_blobs, capacity;
    uint32_t *words;
    size_t n_words, words_capacity;
    char *list;
};

static bool complain(const char *fmt, ...) ATTR_PRINTF(1, 2);

static bool complain(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("spirv_reflect: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    return false;
}

/* The whole file and a zero behind it; NULL if it cannot be read. */
static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    char *bytes = NULL;
    if (fseek(file, 0, SEEK_END) == 0) {
        long end = ftell(file);
        rewind(file);
        bytes = end < 0 ? NULL : mem_alloc((size_t)end + 1);
        if (bytes && fread(bytes, 1, (size_t)end, file) == (size_t)end) {
            bytes[end] = 0;
            *size = (size_t)end;
        } else {
            mem_free(bytes);
            bytes = NULL;
        }
    }
    fclose(file);
    return bytes;
}

static bool read_list(struct build *build, const char *path)
{
    size_t size;
    build->list = read_file(path, &size);
    if (!build->list)
        return complain("cannot read %s", path);
    char *line = build->list;
    while (*line) {
        char *next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        else
            next = line + strlen(line);
        struct blob *blobs =
            mem_grow(build->blobs, &build->capacity, build->n_blobs + 1, sizeof *blobs);
        if (!blobs)
            return complain("out of memory");
        build->blobs = blobs;
        struct blob *blob = &blobs[build->n_blobs++];
        *blob = (struct blob){0};
        for (unsigned i = 0; i < FIELDS; i++) {
            char *tab = strchr(line, '\t');
            if (!tab != (i == FIELDS - 1))
                return complain("%s: line %zu has not %d fields", path, build->n_blobs, FIELDS);
            if (tab)
                *tab = 0;
            blob->field[i] = strcmp(line, "-") == 0 ? NULL : line;
            line = tab ? tab + 1 : line;
        }
        line = next;
    }
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct blob *)a)->field[NAME], ((const struct blob *)b)->field[NAME]);
}

static bool check_push_constants(const struct blob *blob)
{
    uint32_t bytes = blob->info.push_bytes;
    if (bytes > MAX_PUSH_BYTES)
        return complain("%s: %" PRIu32 " bytes of push constants, and Vulkan 1.2 guarantees %d: "
                        "move some of them into a buffer",
                        blob->field[PATH], bytes, MAX_PUSH_BYTES);
    if (bytes && !blob->field[ARGS_STRUCT])
        return complain("%s: has push constants; say which struct they are with a line "
                        "\"// args: STRUCT HEADER\" at the top of the shader",
                        blob->field[PATH]);
    if (!bytes && blob->field[ARGS_STRUCT])
        return complain("%s: says \"// args: %s\" and uses no push constants", blob->field[PATH],
                        blob->field[ARGS_STRUCT]);
    return true;
}

static bool add_module(struct build *build, struct blob *blob)
{
    size_t size;
    char *bytes = read_file(blob->field[PATH], &size);
    if (!bytes)
        return complain("cannot read %s", blob->field[PATH]);
    char error[200];
    bool ok = spirv_parse((const uint32_t *)(const void *)bytes, size / 4, &blob->info, error,
                          sizeof error);
    if (!ok)
        complain("%s: %s", blob->field[PATH], error);
    ok = ok && check_push_constants(blob);
    if (ok) {
        size_t need = build->n_words + size / 4 + BLOB_ALIGN_WORDS;
        uint32_t *words = mem_grow(build->words, &build->words_capacity, need, sizeof *words);
        ok = words || complain("out of memory");
        if (words) {
            build->words = words;
            blob->first_word = build->n_words;
            blob->n_words = spirv_strip((const uint32_t *)(const void *)bytes, size / 4,
                                        words + build->n_words);
            build->n_words += blob->n_words;
            while (build->n_words % BLOB_ALIGN_WORDS)
                words[build->n_words++] = 0;
        }
    }
    mem_free(bytes);
    return ok;
}

static bool write_words(const struct build *build, const char *path)
{
    static const uint32_t none[BLOB_ALIGN_WORDS];
    FILE *file = fopen(path, "wb");
    if (!file)
        return complain("cannot write %s", path);
    size_t n = build->n_words ? build->n_words : BLOB_ALIGN_WORDS;
    bool ok = fwrite(build->n_words ? build->words : none, sizeof(uint32_t), n, file) == n;
    ok = (fclose(file) == 0) && ok;
    return ok || complain("cannot write %s", path);
}

static void print_c_string(FILE *out, const char *text)
{
    if (!text) {
        fputs("NULL", out);
        return;
    }
    fputc('"', out);
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fputc('\\', out);
        fputc(*c, out);
    }
    fputc('"', out);
}

/* The words come in through the assembler: a C array of 8 MB takes the compiler most of a minute.
 */
static void print_words(FILE *out, const char *bin_path)
{
    fputs("extern const uint32_t shader_words[];\n"
          "#ifdef _WIN32\n"
          "#define BEGIN \".section .rdata,\\\"dr\\\"\\n\"\n"
          "#define END \".text\\n\"\n"
          "#else\n"
          "#define BEGIN \".pushsection .rodata,\\\"a\\\"\\n\"\n"
          "#define END \".popsection\\n\"\n"
          "#endif\n"
          "__asm__(BEGIN \".balign 16\\n.globl shader_words\\nshader_words:\\n.incbin \\\"",
          out);
    for (const char *c = bin_path; *c; c++)
        fputs(*c == '\\' || *c == '"' ? "\\\\" : (char[]){*c, 0}, out);
    fputs("\\\"\\n\" END);\n\n", out);
}

static void print_arrays(FILE *out, const struct blob *blob, size_t index)
{
    static const char *const types[] = {"UINT", "INT", "FLOAT", "BOOL"};
    if (blob->info.n_specs)
        fprintf(out, "static const struct shader_spec specs_%zu[] = {\n", index);
    for (uint32_t i = 0; i < blob->info.n_specs; i++) {
        const struct shader_spec *spec = &blob->info.specs[i];
        fputs("    {", out);
        print_c_string(out, spec->name);
        fprintf(out, ", %" PRIu32 ", SHADER_SPEC_%s, 0x%" PRIx32 "},\n", spec->id,
                types[spec->type], spec->value);
    }
    if (blob->info.n_specs)
        fputs("};\n", out);
    if (blob->info.n_capabilities)
        fprintf(out, "static const uint32_t capabilities_%zu[] = {", index);
    for (uint32_t i = 0; i < blob->info.n_capabilities; i++)
        fprintf(out, "%s%" PRIu32, i ? ", " : "", blob->info.capabilities[i]);
    if (blob->info.n_capabilities)
        fputs("};\n", out);
    if (blob->field[ARGS_STRUCT])
        fprintf(out,
                "_Static_assert(sizeof(struct %s) == %" PRIu32 ",\n"
                "               \"%s: struct %s and the shader's push constants differ\");\n",
                blob->field[ARGS_STRUCT], blob->info.push_bytes, blob->field[NAME],
                blob->field[ARGS_STRUCT]);
}

static void print_row(FILE *out, const struct blob *blob, size_t index)
{
    const struct spirv_info *info = &blob->info;
    fputs("    {.name = ", out);
    print_c_string(out, blob->field[NAME]);
    fprintf(out, ",\n     .words = shader_words + %zu,\n     .n_words = %zu,\n", blob->first_word,
            blob->n_words);
    fprintf(out, "     .push_bytes = %" PRIu32 ",\n", info->push_bytes);
    if (info->n_specs)
        fprintf(out, "     .specs = specs_%zu,\n     .n_specs = %" PRIu32 ",\n", index,
                info->n_specs);
    if (info->n_capabilities)
        fprintf(out,
                "     .capabilities = capabilities_%zu,\n     .n_capabilities = %" PRIu32 ",\n",
                index, info->n_capabilities);
    fprintf(out, "     .shared_bytes = %" PRIu32 ",\n", info->shared_bytes);
    fprintf(out, "     .local_size = {%u, %u, %u},\n", info->local_size[0], info->local_size[1],
            info->local_size[2]);
    fprintf(out, "     .local_size_spec = {%" PRId32 ", %" PRId32 ", %" PRId32 "},\n",
            info->local_size_spec[0], info->local_size_spec[1], info->local_size_spec[2]);
    fprintf(out,
            "     .uses_subgroups = %d,\n     .uses_addresses = %d,\n     .reads_counts = %d,\n"
            "     .op = ",
            info->uses_subgroups, info->uses_addresses, info->reads_counts);
    print_c_string(out, blob->field[OP]);
    fputs(",\n     .format = ", out);
    print_c_string(out, blob->field[FORMAT]);
    fputs("},\n", out);
}

static bool header_is_new(const struct build *build, size_t index)
{
    const char *header = build->blobs[index].field[ARGS_HEADER];
    for (size_t i = 0; header && i < index; i++) {
        const char *other = build->blobs[i].field[ARGS_HEADER];
        if (other && strcmp(other, header) == 0)
            return false;
    }
    return header != NULL;
}

static bool write_table(const struct build *build, const char *path, const char *bin_path)
{
    FILE *out = fopen(path, "w");
    if (!out)
        return complain("cannot write %s", path);
    fputs("/* Generated by tools/spirv_reflect.c from shaders/. */\n"
          "#include <stddef.h>\n\n#include \"vk/shader_blob.h\"\n",
          out);
    for (size_t i = 0; i < build->n_blobs; i++) {
        if (header_is_new(build, i))
            fprintf(out, "#include \"%s\"\n", build->blobs[i].field[ARGS_HEADER]);
    }
    fputc('\n', out);
    print_words(out, bin_path);
    for (size_t i = 0; i < build->n_blobs; i++)
        print_arrays(out, &build->blobs[i], i);
    fprintf(out, "\nconst uint32_t n_shader_blobs = %zu;\n", build->n_blobs);
    fputs("const struct shader_blob shader_blobs[] = {\n", out);
    for (size_t i = 0; i < build->n_blobs; i++)
        print_row(out, &build->blobs[i], i);
    fputs(build->n_blobs ? "};\n" : "    {.name = \"\", .words = shader_words},\n};\n", out);
    bool ok = !ferror(out);
    ok = (fclose(out) == 0) && ok;
    return ok || complain("cannot write %s", path);
}

/* Writes the header only if it changes, so that its includers are not rebuilt for nothing. FNV-1a,
 * 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/ */
static bool write_build_id(const struct build *build, const char *path)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < build->n_words; i++) {
        for (unsigned shift = 0; shift < 32; shift += 8)
            hash = (hash ^ (build->words[i] >> shift & 0xff)) * 0x100000001b3;
    }
    char text[200];
    snprintf(text, sizeof text,
             "/* Generated by tools/spirv_reflect.c: a hash of all SPIR-V. */\n"
             "#define HEARTH_BUILD_ID \"%016" PRIx64 "\"\n",
             hash);
    size_t size;
    char *old = read_file(path, &size);
    bool same = old && strcmp(old, text) == 0;
    mem_free(old);
    if (same)
        return true;
    FILE *out = fopen(path, "w");
    if (!out)
        return complain("cannot write %s", path);
    bool ok = fputs(text, out) >= 0;
    ok = (fclose(out) == 0) && ok;
    return ok || complain("cannot write %s", path);
}

static void build_clear(struct build *build)
{
    for (size_t i = 0; i < build->n_blobs; i++)
        spirv_info_clear(&build->blobs[i].info);
    mem_free(build->blobs);
    mem_free(build->words);
    mem_free(build->list);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("usage: spirv_reflect LIST OUT.bin OUT.c BUILD_ID.h\n", stderr);
        return 2;
    }
    struct build build = {0};
    bool ok = read_list(&build, argv[1]);
    if (ok && build.n_blobs)
        qsort(build.blobs, build.n_blobs, sizeof *build.blobs, compare_names);
    for (size_t i = 0; ok && i < build.n_blobs; i++) {
        ok = add_module(&build, &build.blobs[i]);
        if (i > 0 && compare_names(&build.blobs[i - 1], &build.blobs[i]) == 0)
            ok = complain("two blobs are named %s", build.blobs[i].field[NAME]);
    }
    ok = ok && write_words(&build, argv[2]) && write_table(&build, argv[3], argv[2]) &&
         write_build_id(&build, argv[4]);
    build_clear(&build);
    return ok ? 0 : 1;
}
