"""Rules that need the build: compilers, what it generated, and the list of tests."""
import os
import re
import subprocess

import tree as style_tree

MOST_SPIRV_BYTES = 8 << 20


def compile_alone(command, root, code):
    """Compiles a few lines of code; None or the first message."""
    done = subprocess.run(command + ["-fsyntax-only", "-"], input=code.encode(), capture_output=True, cwd=root)
    if done.returncode == 0:
        return None
    lines = done.stderr.decode(errors="replace").split("\n")
    return next((line for line in lines if "error" in line), lines[0])


def _alone(tree, headers, name_of, command):
    """Compiles each header alone, overlaid ones from standard input."""
    wrong = []
    for path in headers:
        code = tree.text(path) if path in tree.overlay else f'#include "{name_of(path)}"\n'
        message = compile_alone(command, tree.root, code)
        if message:
            wrong.append(f"{path}: does not compile alone: {message}")
    return wrong


def rule_public_headers(tree, settings):
    """Every public header compiles alone in C11 and C++17."""
    flags = ["-Wall", "-Wextra", "-Wshadow", "-Werror", "-pedantic", "-Wno-unused", "-Iinclude"]
    headers = tree.paths("include/*.h")
    name = lambda path: path[len("include/"):]  # noqa: E731
    wrong = _alone(tree, headers, name, [settings.cc, "-std=c11", "-x", "c"] + flags)
    if not settings.cxx:
        if wrong:
            return wrong
        raise style_tree.Skip("there is no C++ compiler; in C all is well")
    return wrong + _alone(tree, headers, name, [settings.cxx, "-std=c++17", "-x", "c++"] + flags)


def rule_headers_alone(tree, settings):
    """Every header of src, of shaders' arguments and of the test harness compiles alone."""
    flags = ["-std=c11", "-x", "c", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-Wno-unused", "-Isrc", "-Iinclude", "-Ishaders",
             "-Itests", "-Itests/op", "-DVK_NO_PROTOTYPES"]
    flags += [flag for folder in settings.system for flag in ("-isystem", folder)]
    headers = tree.paths("src/*.h", "shaders/*_args.h", "shaders/common/*.h", "tests/harness/*.h", "tests/op/*.h")
    return _alone(tree, headers, lambda path: path.split("/", 1)[1], [settings.cc] + flags)


def rule_format(tree, settings):
    """clang-format 14 would change nothing (18 and 19 would: newer ones are not asked)."""
    tool = settings.clang_format
    version = tool and subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"version (\d+)", version or "")
    if not found or found.group(1) != "14":
        raise style_tree.Skip("clang-format 14 is not installed" + (f" (but {found.group(1)})" if found else ""))
    wrong = []
    paths = [p for p in tree.paths("src/*.[ch]", "include/*.h", "tests/*.[ch]", "tools/*.[ch]", "bench/*.[ch]") if not p.startswith("tests/hw/")]
    plain = [p for p in paths if p not in tree.overlay]
    for path in tree.overlay:
        done = subprocess.run([tool, "--dry-run", "-Werror", "--assume-filename=" + path], input=tree.text(path).encode(),
                              capture_output=True, cwd=tree.root)
        wrong += [f"{path}: is not formatted"] if done.returncode else []
    if not plain:
        return wrong
    done = subprocess.run([tool, "--dry-run", "-Werror"] + plain, capture_output=True, text=True, cwd=tree.root)
    seen = set()
    for line in done.stderr.split("\n"):
        match = re.match(r"(\S+?):(\d+):\d+: error", line)
        if match and match.group(1) not in seen:
            seen.add(match.group(1))
            wrong.append(f"{match.group(1)}:{match.group(2)}: is not formatted (clang-format -i {match.group(1)})")
    return wrong


def _generated(settings, name):
    path = os.path.join(settings.build, name)
    if not os.path.exists(path):
        raise style_tree.Skip(f"the build has no {name}")
    with open(path, encoding="utf-8") as file:
        return file.read()


def rule_tests_listed(tree, settings):
    """Every TEST of a file is an entry of ctest, so that none is forgotten; those for Windows alone are entries of its build."""
    listed = set(re.findall(r"^add_test\(\[=\[(.+?)\]=\]", _generated(settings, "tests/CTestTestfile.cmake"), re.M))
    wrong = []
    for path in tree.paths("tests/*.c"):
        if path.endswith("_win32.c"):
            continue
        for match in re.finditer(r"^[ \t]*TEST\s*\(\s*(\w+)\s*\)", tree.bare(path), re.M):
            kind, _, file = path[len("tests/"):].partition("/")
            stem = re.fullmatch(r"test_(\w+)\.c", file)
            entry = f"{kind}.{stem.group(1)}.{match.group(1)}" if stem else None
            if entry not in listed:
                line = tree.bare(path).count("\n", 0, match.start(1)) + 1
                wrong.append(f"{path}:{line}: TEST({match.group(1)}) is no entry of ctest")
    return wrong


_LIST = re.compile(r'hearth_list\((\w+)\s+HEADER\s+(\S+)\s+FOLDER\s+(\S+)\s+TYPE\s+"([^"]+)"\)')
# A file of these folders is named as what it defines.
_NAMED_AS_FILE = ("dtype", "arch")


def rule_lists(tree, settings):
    """The generated tables hold each constant that the folders define, and nothing else."""
    wrong = []
    for name, _, folder, kind in _LIST.findall(tree.text("CMakeLists.txt")):
        listed = re.findall(rf"^    &({name}_\w+),$", _generated(settings, f"gen/{name}_list.c"), re.M)
        defined = []
        for path in tree.paths(f"src/{folder}/*.c"):
            if "/" in path[len(f"src/{folder}/"):]:
                continue
            found = re.findall(rf"^\s*(?:static\s+)?const\s+{kind}\s+({name}_\w+)\s*=", tree.bare(path), re.M)
            defined += found
            stem = path.rsplit("/", 1)[1][:-2]
            if name in _NAMED_AS_FILE and found and found != [f"{name}_{stem}"]:
                wrong.append(f"{path}: defines {', '.join(found)}, not {name}_{stem}")
            if name == "arch" and not found:
                wrong.append(f"{path}: defines no architecture")
            wrong += [f"{path}: {symbol} is not in gen/{name}_list.c: write it `const {kind} {symbol} = {{` on one line"
                      for symbol in found if symbol not in listed]
        wrong += [f"gen/{name}_list.c: {symbol} is defined nowhere" for symbol in listed if symbol not in defined]
        wrong += [f"gen/{name}_list.c: {symbol} twice" for symbol in set(listed) if listed.count(symbol) > 1]
    return wrong


def rule_shaders(tree, settings):
    """The blobs keep within 8 MB, each entry point is some row's, each format's header some format's."""
    wrong = []
    path = os.path.join(settings.build, "gen/shaders.bin")
    if not os.path.exists(path):
        raise style_tree.Skip("the build has no gen/shaders.bin")
    size, most = os.path.getsize(path), settings.most_spirv_bytes or MOST_SPIRV_BYTES
    settings.report(f"SPIR-V: {size / 2**20:.2f} of {most / 2**20:.0f} MB in {_generated(settings, 'gen/shaders.list').count(chr(10))} blobs")
    if size > most:
        wrong.append(f"gen/shaders.bin: {size} bytes, {most} are allowed")
    rows = "".join(tree.code(p) for p in tree.paths("src/gpu/*.c"))
    for entry in tree.paths("shaders/*.comp"):
        stem = entry.rsplit("/", 1)[1][:-len(".comp")]
        suffixes = re.search(r"^// defines: (.*)$", tree.text(entry), re.M)
        names = [stem] + [f"{stem}_{variant.split()[0]}" for variant in (suffixes.group(1).split(";") if suffixes else [])]
        wrong += [f"{entry}: no row of src/gpu uses {name}" for name in names if f'"{name}"' not in rows]
    shaders = {s for p in tree.paths("src/quant/*.c") for s in re.findall(r'\.shader = "(\w+)"', tree.code(p))}
    for header in tree.paths("shaders/quant/*.h"):
        if header.rsplit("/", 1)[1][:-2] not in shaders:
            wrong.append(f"{header}: no format of src/quant has this shader")
    return wrong
