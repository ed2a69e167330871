"""How large functions, files and lists of parameters may be, and what a header begins with."""
import re

import tree as style_tree

LINES, LINES_WANTED = 100, 60  # of a function
FILE_LINES, FILE_LINES_WANTED = 1000, 600
PARAMETERS = 5  # beside the object that the function belongs to, its first

# What may exceed a limit, each with its reason; at most a handful. "path function" or "path".
EXCEPTIONS = {
    "include/hearth/hearth.h hth_tokenize": "text and ids are pairs of pointer and length, in and out, as C callers expect",
    "src/engine/text.c hth_tokenize": "the same function's definition",
    "src/gguf/gguf_write.h gguf_put_tensor": "name, type, shape and bytes of a tensor in one line, in hundreds of lines of tests",
    "src/gguf/write.c gguf_put_tensor": "the same function's definition",
    "tests/layer/clock.c own_vkCmdDispatchBase": "stands in for a function of Vulkan, whose parameters are the specification's",
    "tests/layer/clock.c own_vkGetQueryPoolResults": "stands in for a function of Vulkan, whose parameters are the specification's",
}
MOST_EXCEPTIONS = 6

C_LIKE = ("src/*.[ch]", "include/*.h", "tests/*.[ch]", "tools/*.[ch]", "bench/*.[ch]", "shaders/*")


def rule_function_sizes(tree, report):
    """A function has at most 100 lines, 60 wanted; tables and declarations are free."""
    wrong, n, long = [], 0, []
    for path in tree.paths(*C_LIKE):
        for function in style_tree.functions(tree.bare(path)):
            if not function.defined:
                continue
            n += 1
            if function.n_lines > LINES and f"{path} {function.name}" not in EXCEPTIONS:
                wrong.append(f"{path}:{function.first}: {function.name} has {function.n_lines} lines, {LINES} are allowed")
            elif function.n_lines > LINES_WANTED:
                long.append(f"{path}:{function.first}: {function.name}, {function.n_lines}")
    report(f"{n} functions; above {LINES_WANTED} lines: {len(long)}", *long)
    return wrong


def rule_file_sizes(tree, report):
    """A file has at most 1000 lines, 600 wanted; data are free."""
    wrong, long = [], []
    for path in tree.paths(*C_LIKE, "*.cmake", "CMakeLists.txt", "*/CMakeLists.txt", "scripts/*", "*.py", "docs/*.md"):
        if path.startswith(("tests/data/", "tests/fuzz/corpus/")):
            continue
        n = tree.text(path).count("\n")
        if n > FILE_LINES and path not in EXCEPTIONS:
            wrong.append(f"{path}: has {n} lines, {FILE_LINES} are allowed")
        elif n > FILE_LINES_WANTED:
            long.append(f"{path}, {n}")
    report(f"files above {FILE_LINES_WANTED} lines: {len(long)}", *long)
    return wrong


def rule_parameters(tree, report):
    """A function has at most 5 parameters beside its object; more go into a struct."""
    wrong, seen, at_limit = [], set(), []
    for path in tree.paths(*C_LIKE):
        for function in style_tree.functions(tree.bare(path)):
            name = f"{path} {function.name}"
            if name in EXCEPTIONS or name in seen or function.n_params <= PARAMETERS:
                continue
            seen.add(name)
            if function.n_params > PARAMETERS + 1:
                wrong.append(f"{path}:{function.first}: {function.name} has {function.n_params} parameters, "
                             f"{PARAMETERS} and an object are allowed")
            elif function.defined:
                at_limit.append(f"{path}:{function.first}: {function.name}")
    report(f"functions with {PARAMETERS + 1} parameters: {len(at_limit)}", *at_limit)
    return wrong


def rule_exceptions(tree, _):
    """Exceptions are few, have a reason, and are still needed."""
    wrong = [] if len(EXCEPTIONS) <= MOST_EXCEPTIONS else [f"{len(EXCEPTIONS)} exceptions; {MOST_EXCEPTIONS} are allowed"]
    for name, reason in EXCEPTIONS.items():
        path, _, function = name.partition(" ")
        if len(reason) < 20:
            wrong.append(f"{name}: an exception without a reason")
        if not tree.exists(path):
            wrong.append(f"{name}: no such file")
        elif function:
            found = [f for f in style_tree.functions(tree.bare(path)) if f.name == function]
            if not any(f.n_lines > LINES or f.n_params > PARAMETERS + 1 for f in found):
                wrong.append(f"{name}: is no exception any more")
        elif tree.text(path).count("\n") <= FILE_LINES:
            wrong.append(f"{name}: is no exception any more")
    return wrong


_PARAGRAPH = re.compile(r"/\*\n \* (?:hearth/)?([\w.]+) — (.*?)\*/", re.S)


def rule_header_paragraphs(tree, _):
    """A header begins by saying what it is; those of src also what they own and which threads may use them."""
    wrong = []
    for path in tree.paths("src/*.h", "include/*.h", "shaders/*_args.h", "tests/harness/*.h", "tests/op/*.h"):
        match = _PARAGRAPH.match(tree.text(path))
        if not match or match.group(1) != path.rsplit("/", 1)[1]:
            wrong.append(f'{path}:1: does not begin with "/*", " * {path.rsplit("/", 1)[1]} — …"')
        elif path.startswith("src/"):
            text = match.group(2)
            for what, words in (("owns", r"\b[Oo]wn(s|ership)?\b|\bconstants?\b|\bConstants\b|\b[Pp]ure functions\b"), ("threads", r"[Tt]hread")):
                if not re.search(words, text):
                    wrong.append(f"{path}:1: its paragraph says nothing about {what}")
    return wrong


def rule_shader_paragraphs(tree, _):
    """A shader begins with its name and what it computes."""
    wrong = []
    for path in tree.paths("shaders/*.comp", "shaders/*.glsl", "shaders/quant/*.h"):
        name = re.escape(path.rsplit("/", 1)[1])
        if not re.search(rf"^(// {name}: |/\* {name} — )\S", "\n".join(tree.text(path).split("\n")[:6]), re.M):
            wrong.append(f"{path}:1: does not begin with its name and what it is")
    return wrong
