"""Which folder may include which: the picture of docs/architecture.md as one table."""
import re

# folder: what it may include beside its own headers. "x" is the folder with all its headers, "x/y.h" one header.
# A folder stands above all that it names; selftest.py has this table without cycles.
MAY_INCLUDE = {
    "hearth": [],  # include/hearth
    "base": ["hearth/status.h"],
    "quant": ["base", "common/iq_grids.h"],  # tables that GLSL has too
    "gguf": ["base", "quant"],
    "vk": ["base", "build_id.h", "common/iq_grids.h"],  # knows no op; build_id.h is generated
    "op": ["base", "quant"],
    "plan": ["base", "op", "model/model.h"],  # of backends only numbers
    "kv": ["base", "quant", "op"],
    "sample": ["hearth/sampling.h", "base", "gguf"],  # what files advise
    "text": ["base", "gguf"],
    "hub": ["base"],
    "model": ["base", "quant", "gguf", "op"],
    "model/arch": ["model/arch.h", "model/blocks.h", "model/model.h", "op/op.h"],
    "cpu": ["base", "quant", "op", "plan/memmap.h"],
    "gpu": ["base", "quant", "op", "plan/memmap.h", "vk/vk.h", "vk/shader_blob.h", "shaders"],
    "engine": ["hearth", "base", "quant", "gguf", "op", "vk/vk.h", "plan", "kv", "sample", "text", "hub", "model", "cpu",
               "gpu"],
    # Programs reach models through include/hearth; beside it they read files, text and devices, but no tensor of a model.
    "cli": ["hearth", "base", "gguf", "text", "hub", "quant/dtype.h", "vk/vk.h", "model/synth.h", "engine/rows.h", "engine/plan.h",
            "sample/advice.h",
            "engine/roof.h", "engine/selftest.h", "engine/tune_kernels.h", "engine/tuned.h",
            "plan/tune.h"],
    "server": ["hearth", "base", "text", "hub"],
    "bench": ["hearth", "base", "quant", "gguf", "op", "vk", "plan", "kv", "model", "sample", "cpu", "gpu", "engine", "shaders"],
    "tools": ["base", "vk/shader_blob.h"],
    "shaders": [],
}

# Headers from elsewhere, and the folders of src that may include them. Tests may include all.
MAY_INCLUDE_SYSTEM = {
    r"vulkan/.*|volk\.h": ["vk"],
    r"jansson\.h": ["text", "engine", "cli", "server"],
    r"pcre2\.h": ["text", "engine"],
    r"utf8proc\.h": ["text"],
    r"curl/.*": ["hub"],
    r"editline/.*|histedit\.h": ["cli"],
    r"cmocka\.h": [],
}

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+(?:"([^"]+)"|<([^>]+)>)', re.M)


def folder_of(path):
    """The row of the table that a file belongs to; None for tests."""
    parts = path.split("/")
    if path.startswith("src/model/arch/"):
        return "model/arch"
    if parts[0] == "src":
        return parts[1]
    if path.startswith("include/hearth/"):
        return "hearth"
    return None if parts[0] == "tests" else parts[0]


def resolve(tree, path, name):
    """The file that `#include "name"` in `path` means; None: generated, or not there."""
    for base in (path.rsplit("/", 1)[0], "src", "include", "shaders", "tests", "tests/op", "tools"):
        if tree.exists(base + "/" + name):
            return base + "/" + name
    return None


def includes(tree, path):
    """(line, name in quotes or None, name in angles or None) of each #include."""
    code = tree.code(path)
    for match in _INCLUDE.finditer(code):
        yield code.count("\n", 0, match.start()) + 1, match.group(1), match.group(2)


def sources(tree):
    return [p for p in tree.paths("src/*.[ch]", "include/*.h", "tools/*.[ch]", "bench/*.[ch]", "shaders/*.h")
            if not p.startswith("shaders/quant/")]  # GLSL throughout


def may_include(own, other, header):
    return other == own or any(allowed in (other, header) for allowed in MAY_INCLUDE[own])


def _reach(tree, path, wanted):
    """Headers that `path` gets by way of others, each with the header that brings it."""
    seen, waiting = {path}, [path]
    while waiting:
        by = waiting.pop()
        for _, name, _ in includes(tree, by):
            target = name and resolve(tree, by, name)
            if target and target not in seen:
                seen.add(target)
                waiting.append(target)
                if by != path and folder_of(by) != folder_of(target) and wanted(target):
                    yield target, by


PROGRAMS = ("cli", "server")  # what they may not include they may not get through a header either


def rule_layers(tree, _):
    """Every #include between folders is in the table; private headers stay in their folder."""
    wrong = []
    for path in sources(tree):
        own = folder_of(path)
        if own not in MAY_INCLUDE:
            wrong.append(f"{path}: its folder is in no row of tests/style/layers.py")
            continue
        for line, name, system in includes(tree, path):
            where = f"{path}:{line}"
            if system:
                for pattern, folders in MAY_INCLUDE_SYSTEM.items():
                    if re.fullmatch(pattern, system) and own not in folders:
                        wrong.append(f"{where}: <{system}> is for {', '.join(folders) or 'tests'} only")
                continue
            target = resolve(tree, path, name)
            if not target:
                if name not in MAY_INCLUDE[own]:
                    wrong.append(f'{where}: "{name}" is no file of this project')
                continue
            other = folder_of(target)
            if other != own and re.search(r"_(priv|impl|part|run)\.h$", target):
                wrong.append(f"{where}: {target} is private to its folder")
            elif not may_include(own, other, name):
                wrong.append(f"{where}: {own} may not include {name}")
            if name.startswith(".") or "/../" in name:
                wrong.append(f'{where}: "{name}" is not written from the root of its tree')
        if own in PROGRAMS:
            foreign = lambda t, own=own: not may_include(own, folder_of(t), t.split("/", 1)[1])  # noqa: E731
            wrong += [f"{path}: {own} reaches {target} through {by}" for target, by in _reach(tree, path, foreign)]
    return wrong


def rule_no_cycles(tree, _):
    """No header includes itself by way of others, and no folder of the table is above itself."""
    headers = {p: [t for _, name, _ in includes(tree, p) if name and (t := resolve(tree, p, name))]
               for p in sources(tree) if p.endswith(".h")}
    folders = {own: [a if a in MAY_INCLUDE else a.rsplit("/", 1)[0] for a in allowed] for own, allowed in MAY_INCLUDE.items()}
    return _cycles(headers) + _cycles(folders)


def _cycles(graph):
    wrong, done = [], set()

    def visit(node, way):
        if node in way:
            wrong.append("a cycle: " + " → ".join(way[way.index(node):] + [node]))
            return
        if node not in done:
            for other in graph.get(node, []):
                if other != node:
                    visit(other, way + [node])
            done.add(node)

    for node in graph:
        visit(node, [])
    return wrong
