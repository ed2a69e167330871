"""What may be named only in some places, or nowhere."""
import re

import tree as style_tree
from layers import includes, folder_of

SOURCES = ("src/*.[ch]", "include/*.h", "tools/*.[ch]", "bench/*.[ch]")


def _search(tree, paths, pattern, message, view):
    """One line for each match of the pattern in a view (Tree.text, code or bare) of each file."""
    wrong, compiled = [], re.compile(pattern)
    for path in paths:
        text = view(path)
        for match in compiled.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            wrong.append(f"{path}:{line}: {message}: {match.group(0).strip()}")
    return wrong


def _arch_names(tree):
    names = []
    for path in tree.paths("src/model/arch/*.c"):
        names += re.findall(r'^\s*\.name = "(\w+)"', tree.text(path), re.M)
    return names


COMPARE = r"\b(?:strcmp|strncmp|strcasecmp|strncasecmp|strstr|memcmp|str_(?!of\b)\w+)\s*\("


def rule_no_arch_switch(tree, _):
    """Nothing but its own file asks for an architecture's name."""
    names = "|".join(_arch_names(tree))
    paths = [p for p in tree.paths(*SOURCES, "shaders/*") if not p.startswith("src/model/arch/")]
    wrong = _search(tree, paths, rf'{COMPARE}[^;{{}}]*?"(?:{names})"', "asks for an architecture's name", tree.code)
    # That llama is also the name of a tokenizer model is no comparison: struct tokenizer_kind holds it as data.
    wrong += _search(tree, paths, r"\benum\s+arch\w*|\bARCH_[A-Z]\w*", "numbers architectures", tree.bare)
    wrong += _search(tree, paths, rf"\barch_(?:{names})\b", "names an architecture", tree.bare)
    compares = rf"{COMPARE}[^;{{}}]*?\barch(?:->|\.)name\b|\barch(?:->|\.)name\s*[!=]="
    return wrong + _search(tree, paths, compares, "compares an architecture's name", tree.bare)


def rule_vendors(tree, _):
    """Vendors are known to src/vk/quirks.c alone."""
    paths = [p for p in tree.paths(*SOURCES, "shaders/*") if p != "src/vk/quirks.c"]
    numbers = "0x(?:1002|10[dD][eE]|8086|13[bB]5|5143|1010|106[bB]|10005)"
    wrong = _search(tree, paths, rf"\b{numbers}\b", "a vendor's number", tree.bare)
    wrong += _search(tree, paths, r'"[^"\n]*\b(?i:AMD|NVIDIA|Intel|Radeon|GeForce|Arc|RADV|llvmpipe|lavapipe|Qualcomm|Adreno|Mali)\b[^"\n]*"',
                     "a vendor's name", tree.code)
    return [w for w in wrong if not _talk(w)]


def _talk(violation):
    # A sentence to the user may say what a software device is called; a comparison may not.
    return re.search(r"\d: a vendor's name: .* .* .* .* ", violation) and "strcmp" not in violation


SYSTEM_FILES = ("src/base/os_posix.c", "src/base/os_win32.c", "src/base/os.h")
_SYSTEM = (r"windows\.h|io\.h|direct\.h|process\.h|winsock2?\.h|unistd\.h|pthread\.h|fcntl\.h|dlfcn\.h|sched\.h|signal\.h|"
           r"poll\.h|termios\.h|dirent\.h|strings\.h|sys/.*|netinet/.*|arpa/.*|linux/.*")


def rule_system(tree, _):
    """What differs between systems sits in src/base/os_posix.c and os_win32.c."""
    paths = [p for p in tree.paths(*SOURCES) if p not in SYSTEM_FILES]
    wrong = []
    for path in paths:
        wrong += [f"{path}:{line}: <{name}> is a system's header"
                  for line, _, name in includes(tree, path) if name and re.fullmatch(_SYSTEM, name)]
    paths = [p for p in paths if p != "src/base/attr.h"]  # knows compilers, mingw's among them
    return wrong + _search(tree, paths, r"#\s*(?:if|elif|ifdef|ifndef)[^\n]*\b(?:_WIN32|_WIN64|WIN32|__MINGW\w*|__linux__|__APPLE__|__unix__|__FreeBSD__)\b",
                           "asks for the system", tree.bare)


def rule_heap(tree, _):
    """Memory comes from base/mem.h, so that tests can make each allocation fail."""
    paths = [p for p in tree.paths(*SOURCES, "tests/fuzz/fuzz_*.c") if p != "src/base/mem.c"]
    return _search(tree, paths, r"(?<![\w.>])(?:malloc|calloc|realloc|reallocarray|free|strdup|strndup|asprintf|vasprintf|getline|"
                   r"aligned_alloc|posix_memalign|alloca)\s*\(|=\s*(?:malloc|calloc|realloc|free)\s*[,;}]",
                   "memory past base/mem.h", tree.bare)


def rule_log(tree, _):
    """Nothing below the programs writes to the terminal or ends the process; base/log.c does the first."""
    paths = [p for p in tree.paths("src/*.[ch]", "include/*.h") if folder_of(p) not in ("cli", "server")
             and p != "src/base/log.c" and p not in SYSTEM_FILES]
    return _search(tree, paths, r"(?<![\w.>])(?:printf|puts|putchar|abort|exit|_Exit|quick_exit|perror)\s*\(|\bstd(?:out|err)\b",
                   "writes to the terminal or ends the process", tree.bare)


# Words that belong in no file; cut in two, so that this file has none of them.
def _join(*halves):
    return "|".join(a + b for a, b in halves)


UNFINISHED = r"\b(?:" + _join(("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK"), ("T", "BD")) + r")\b|(?i:\b" + \
    _join(("not ", "implemented"), ("place", "holder"), ("lorem ", "ipsum")) + r"\b)"
MAKING = r"(?i:\b(?:" + _join(("clau", "de"), ("anth", "ropic"), ("chat", "gpt"), ("co", "pilot"), ("co-authored", "-by"), ("sub", "agent"),
                              ("ai", "-generated"), ("generated by ", "ai"), ("coding ", "agent"), ("ai ", "assistant"),
                              ("language ", "model wrote"), ("as an ", "ai")) + r")\b)"
WORKPLACE = r"(?<![\w.])/(?:" + _join(("wo", "rk"), ("fa", "rm"), ("ro", "ot")) + r")/|(?<![\w])\.\./shar" + r"ed/(?!golden)|/tmp/br" + r"ief"
HOSTS = r"(?i:https?://[\w.-]*(?:" + _join(("arti", "factory"), ("jf", "rog"), ("ne", "xus"), ("py", "pi"), ("npm", "js"), ("crates", r"\.io"),
                                           ("pack", "ages?-?proxy"), ("reg", "istry"), ("local", "host:[0-9]"), ("10", r"\.[0-9]+\.")) + r"))"
RIGHTS = r"(?i:\b" + _join(("copy", "right"), ("spdx", "-license"), ("all rights ", "reserved")) + r"\b)"


def rule_words(tree, _):
    """No unfinished work, nothing about how or where this is made, nobody else's rights, in any file."""
    wrong = []
    for path in tree.paths():
        text = tree.text(path)
        if "\0" in text:
            continue  # not text
        for what, pattern in (("unfinished", UNFINISHED), ("not the product's matter", MAKING), ("a workplace's path", WORKPLACE),
                              ("a registry's host", HOSTS), ("rights of others", RIGHTS)):
            if (path == "LICENSE" and what == "rights of others") or (what == "a registry's host" and path in REGISTRY_USERS):
                continue
            for match in re.finditer(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                wrong.append(f"{path}:{line}: {what}: {match.group(0)}")
    return wrong


REGISTRY_USERS = ()


def rule_lines(tree, _):
    """Lines end without blanks, files with a newline, and nothing is indented by tabs."""
    wrong = []
    for path in tree.paths("*.[ch]", "*.comp", "*.glsl", "*.cmake", "*CMakeLists.txt", "*.py", "scripts/*"):
        if path.startswith(("tests/data/", "tests/fuzz/corpus/")):
            continue
        text = tree.text(path)
        if text and not text.endswith("\n"):
            wrong.append(f"{path}: does not end with a newline")
        for number, line in tree.lines(path):
            if line != line.rstrip():
                wrong.append(f"{path}:{number}: blanks at the end of the line")
            if "\t" in line:
                wrong.append(f"{path}:{number}: a tab")
    return wrong


def rule_docs(tree, _):
    """Files that the documentation names exist."""
    wrong = []
    for path in tree.paths("docs/*.md", "README.md", "third_party/*.md", "bench/*.md"):
        folder = path.rsplit("/", 1)[0] + "/" if "/" in path else ""
        for number, line in tree.lines(path):
            for name in re.findall(r"`((?:src|include|shaders|tests|docs|scripts|cmake|tools|bench|third_party)/[\w./-]*\w/?)`", line):
                if not tree.exists(name.rstrip("/")):
                    wrong.append(f"{path}:{number}: there is no {name}")
            for name in re.findall(r"`(results/[\w./-]*\w)`", line):
                if not tree.exists(folder + name):
                    wrong.append(f"{path}:{number}: there is no {folder}{name}")
            for name in re.findall(r"\]\(([^)#:]+)\)", line):
                if not tree.exists(style_tree.os.path.normpath(folder + name)):
                    wrong.append(f"{path}:{number}: the link to {name} leads nowhere")
    return wrong
