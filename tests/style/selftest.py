#!/usr/bin/env python3
"""Shows that each rule of style.py notices what it is there to notice: lays a violation over the tree and asks.

Every rule needs at least one sample here; what a rule must let pass can stand here too.
"""
import argparse
import functools
import sys

import shape
import style
import tree as style_tree

LONG = "static void f(void)\n{\n" + "    g();\n" * 120 + "}\n"
EXACT = "static void f(int a)\n{\n" + "    g();\n" * 97 + "}\n"  # 100 lines
TABLE = "static const int t[] = {\n" + "    1,\n" * 300 + "};\n"
HEADER = "/*\n * x.h — a thing.\n *\n * Owns it. One thread.\n */\n"

# rule: samples of (what is laid over, a part of the violation; None: the rule must let it pass)
SAMPLES = {
    "layers": [
        ({"src/vk/x.c": '#include "op/op.h"\n'}, "vk may not include op/op.h"),
        ({"src/op/x.c": '#include "vk/vk.h"\n'}, "op may not include vk/vk.h"),
        ({"src/base/x.c": '#include "quant/dtype.h"\n'}, "base may not include"),
        ({"src/plan/x.c": '#include "gpu/place.h"\n'}, "plan may not include"),
        ({"src/model/arch/x.c": '#include "gguf/gguf.h"\n'}, "model/arch may not include"),
        ({"src/cli/x.c": '#include "op/op.h"\n'}, "cli may not include"),
        ({"src/cli/x.c": '#include "engine/rows.h"\n', "src/engine/rows.h": '#include "base/log.h"\n'}, None),
        ({"src/cli/x.c": '#include "engine/rows.h"\n', "src/engine/rows.h": '#include "op/op.h"\n'}, "cli reaches src/op/op.h through src/engine/rows.h"),
        ({"src/engine/x.c": '#include "vk/vk_priv.h"\n'}, "private to its folder"),
        ({"src/gpu/x.c": '#include "nowhere.h"\n'}, "no file of this project"),
        ({"src/gpu/x.c": "#include <volk.h>\n"}, "<volk.h> is for vk only"),
        ({"src/gpu/x.c": "#  include <vulkan/vulkan.h>\n"}, "is for vk only"),
        ({"src/model/x.c": "#include <jansson.h>\n"}, "is for text, engine, cli, server only"),
        ({"src/novel/x.c": ""}, "in no row"),
        ({"src/gpu/x.c": '/* #include "text/utf8.h" */\n#include "plan/memmap.h"\n#include "moe/moe_args.h"\n'}, None),
    ],
    "no_cycles": [
        ({"src/op/a.h": '#include "op/b.h"\n', "src/op/b.h": '#include "op/a.h"\n'}, "src/op/a.h → src/op/b.h → src/op/a.h"),
    ],
    "function_sizes": [
        ({"src/op/x.c": LONG}, "f has 123 lines"),
        ({"src/op/x.c": "TEST(f)\n" + LONG[LONG.index("{"):]}, "TEST(f) has"),
        ({"src/op/x.c": TABLE + 'struct s {\n    int i;\n};\nextern "C" {\n}\n' + LONG}, "f has 123 lines"),
        ({"src/op/x.c": EXACT + TABLE}, None),
    ],
    "file_sizes": [
        ({"src/op/x.c": "/* */\n" * 1001}, "has 1001 lines"),
        ({"src/op/x.c": "/* */\n" * 1000}, None),
    ],
    "parameters": [
        ({"src/op/x.h": "void f(int a, int b, int (*c)(int, int), int d,\n       int e, int f, int g);\n"}, "f has 7 parameters"),
        ({"include/hearth/x.h": 'extern "C" {\nvoid f(int a, int b, int c, int d, int e, int f, int g);\n}\n'}, "f has 7 parameters"),
        ({"src/op/x.c": "static void f(int a, int b, int c, int d, int e, int f, int g)\n{\n}\n"}, "f has 7 parameters"),
        ({"src/op/x.c": "#define F(a, b, c, d, e, f, g) h(a)\nvoid f(int a, int (*b)(int, int, int), int c, int d, int e, int f);\n"}, None),
    ],
    "header_paragraphs": [
        ({"src/op/x.h": "#ifndef X\n#endif\n"}, "does not begin with"),
        ({"src/op/x.h": HEADER.replace("x.h", "y.h")}, "does not begin with"),
        ({"src/op/x.h": HEADER.replace("One thread", "Once")}, "nothing about threads"),
        ({"src/op/x.h": HEADER.replace("Owns", "Has")}, "nothing about owns"),
        ({"src/op/x.h": HEADER}, None),
    ],
    "shader_paragraphs": [({"shaders/norm/x.comp": "#version 460\n"}, "does not begin with its name")],
    "no_arch_switch": [
        ({"src/gpu/x.c": 'int f(void)\n{\n    return strcmp(name,\n                  "qwen3") == 0;\n}\n'}, "asks for an architecture's name"),
        ({"src/engine/x.c": "enum arch_kind { A };\n"}, "numbers architectures"),
        ({"src/engine/x.c": "void f(void)\n{\n    if (str_equal(model->arch->name, x))\n        g();\n}\n"}, "compares"),
        ({"src/engine/x.c": "void f(void)\n{\n    if (model->arch == &arch_qwen3)\n        g();\n}\n"}, "names an architecture"),
        ({"src/text/x.c": 'const struct tokenizer_kind k = {.model = "llama"};\n'}, None),
    ],
    "vendors": [
        ({"src/gpu/x.c": "int v = 0x10de;\n"}, "a vendor's number"),
        ({"src/gpu/x.c": 'int f(void)\n{\n    return strcmp(driver, "NVIDIA") == 0;\n}\n'}, "a vendor's name"),
        ({"src/gpu/x.c": 'int f(void)\n{\n    return strstr(name, "AMD Radeon") != 0;\n}\n'}, "a vendor's name"),
        ({"src/gpu/x.c": "/* AMD 0x1002 */\n"}, None),
    ],
    "system": [
        ({"src/vk/x.c": "#include <unistd.h>\n"}, "<unistd.h> is a system's header"),
        ({"src/vk/x.c": "#include <sys/mman.h>\n"}, "is a system's header"),
        ({"src/vk/x.c": "#if defined(_WIN32)\n#endif\n"}, "asks for the system"),
        ({"src/base/os_posix.c": "#include <unistd.h>\n"}, None),
    ],
    "heap": [
        ({"src/vk/x.c": "char *p = malloc(3);\n"}, "malloc("),
        ({"src/vk/x.c": "void f(char *p)\n{\n    free(p);\n}\n"}, "free("),
        ({"src/vk/x.c": 'struct hooks h = {.release = free};\n'}, "memory past"),
        ({"src/vk/x.c": "/* free(p) */ char *s = \"malloc(3)\"; void f(struct a *a) { a->free(a); mem_free(a); }\n"}, None),
    ],
    "log": [
        ({"src/vk/x.c": 'void f(void)\n{\n    printf("x");\n}\n'}, "printf("),
        ({"src/vk/x.c": "void f(void)\n{\n    abort();\n}\n"}, "abort("),
        ({"src/cli/x.c": 'void f(void)\n{\n    printf("x");\n}\n'}, None),
    ],
    "words": [
        ({"src/vk/x.c": "/* TO" + "DO: more */\n"}, "unfinished"),
        ({"scripts/x": "# XX" + "X\n"}, "unfinished"),
        ({"docs/x.md": "Not " + "implemented.\n"}, "unfinished"),
        ({"docs/x.md": "Made with Clau" + "de.\n"}, "not the product's matter"),
        ({"scripts/x": "cd /wo" + "rk/main\n"}, "a workplace's path"),
        ({"scripts/x": "ls ../shar" + "ed/tools\n"}, "a workplace's path"),
        ({"scripts/x": "curl https://arti" + "factory.example.com/x\n"}, "a registry's host"),
        ({"src/vk/x.c": "/* Copy" + "right 2020 somebody */\n"}, "rights of others"),
        ({"scripts/x": "mktemp /tmp/x.XXXXXX; ls ../shared/golden; ls build/work/x\n"}, None),
    ],
    "lines": [
        ({"src/vk/x.c": "int a; \n"}, "blanks at the end"),
        ({"src/vk/x.c": "int a;"}, "does not end with a newline"),
        ({"src/vk/x.c": "\tint a;\n"}, "a tab"),
    ],
    "docs": [
        ({"docs/x.md": "See `src/vk/nowhere.c`.\n"}, "there is no src/vk/nowhere.c"),
        ({"docs/x.md": "See [this](nowhere.md).\n"}, "leads nowhere"),
        ({"bench/x.md": "| `bench/x` | a table (`results/nowhere.md`) |\n"}, "there is no bench/results/nowhere.md"),
        ({"docs/x.md": "See `src/vk/vk.h`, `shaders/<op>/x.comp` and [tests](testing.md).\n"}, None),
    ],
    "public_headers": [
        ({"include/hearth/x.h": "bool f(void);\n"}, "does not compile alone"),
        ({"include/hearth/x.h": "struct a { int a; };\nstatic inline int f(void) { int a; { int a = 1; (void)a; } return 0; }\n"}, "does not compile alone"),
    ],
    "headers_alone": [({"src/op/x.h": "struct tensor *f(size_t n);\n"}, "does not compile alone")],
    "format": [({"src/op/x.c": "int  f( void ){return 0;}\n"}, "src/op/x.c: is not formatted")],
    "tests_listed": [
        ({"tests/unit/test_x.c": "TEST(a)\n{\n}\n"}, "TEST(a) is no entry"),
        ({"tests/unit/test_base.c": " TEST( Misspelt )\n{\n}\n"}, "TEST(Misspelt) is no entry"),
        ({"tests/unit/help.c": "TEST(a)\n{\n}\n"}, "is no entry"),
    ],
    "lists": [
        ({"src/quant/x.c": "const struct dtype\n    dtype_x = {0};\n"}, "dtype_x is not in gen/dtype_list.c"),
        ({"src/model/arch/x.c": "int a;\n"}, "defines no architecture"),
        ({"src/model/arch/llama.c": "const struct arch arch_camel = {0};\n"}, "defines arch_camel, not arch_llama"),
        ({"src/quant/q4_1.c": None}, "dtype_q4_1 is defined nowhere"),
    ],
    "shaders": [
        ({"shaders/norm/batch_norm.comp": "// batch_norm.comp: x\n"}, "no row of src/gpu uses batch_norm"),
        ({"shaders/quant/q9_9.h": "/* q9_9.h — x */\n"}, "no format of src/quant"),
    ],
}


# Rules that look at more than one file at a time: they see the whole tree.
WHOLE = ("no_cycles", "no_arch_switch", "lists", "shaders", "tests_listed")


@functools.lru_cache(maxsize=None)
def without(name, settings):
    """The violations that a rule finds in the tree as it is."""
    return style.check(name, style_tree.Tree(style.ROOT), settings)


def check(name, overlay, settings):
    """Those that it finds only with something laid over the tree."""
    try:
        before = without(name, settings) if name in WHOLE else []
        after = style.check(name, style_tree.Tree(style.ROOT, overlay, alone=name not in WHOLE), settings)
    except style_tree.Skip as why:
        return f"skipped: {name}: {why}"
    return [line for line in after if line not in before]


def exceptions(failed):
    """Exceptions must be few, reasoned and needed."""
    kept = dict(shape.EXCEPTIONS)
    shape.EXCEPTIONS.clear()
    tree = style_tree.Tree(style.ROOT, {"src/op/x.c": EXACT})
    for wrong in ({"src/op/x.c f": "ok"}, {"src/op/x.c f": "reasons enough for a long function"},
                  {"src/op/nowhere.c f": "reasons enough for a long function"}, {"src/op/x.c": "reasons enough for a long file"},
                  {f"src/op/x.c {i}": "reasons enough for a long function" for i in range(9)}):
        shape.EXCEPTIONS.update(wrong)
        if not shape.rule_exceptions(tree, None):
            failed.append(f"exceptions: did not notice {wrong}")
        shape.EXCEPTIONS.clear()
    shape.EXCEPTIONS.update(kept)


def budget(failed, settings):
    settings.most_spirv_bytes = 1
    try:
        if not any("are allowed" in line for line in style.check("shaders", style_tree.Tree(style.ROOT), settings)):
            failed.append("shaders: did not notice blobs above the budget")
    except style_tree.Skip as why:
        print(f"skipped: shaders: {why}")
    settings.most_spirv_bytes = None


def main():
    settings = style.Settings(style.options(argparse.ArgumentParser(description=__doc__)).parse_args(), lambda *lines: None)
    failed, n = [], 0
    for name in style.RULES:
        if name not in SAMPLES and name != "exceptions":
            failed.append(f"{name}: has no sample")
    for name, samples in SAMPLES.items():
        for overlay, expected in samples:
            n += 1
            found = check(name, overlay, settings)
            if isinstance(found, str):
                print(found)
                break
            if expected and not any(expected in line for line in found):
                failed.append(f'{name}: {overlay.keys()} gave {found}, not "{expected}"')
            if not expected and found:
                failed.append(f"{name}: must let pass, but says {found}")
    exceptions(failed)
    budget(failed, settings)
    print(f"{n} samples", *failed, sep="\n  ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
