"""The files of the project as the style rules see them, and as much of C as the rules need.

A Tree can be laid over with other contents for some paths: that is how selftest.py shows that each rule notices what it
is there to notice, without touching a file.
"""
import fnmatch
import functools
import os
import re
import subprocess


class Skip(Exception):
    """A rule cannot be checked here; the text says why."""


class Tree:
    def __init__(self, root, overlay=None, alone=False):
        """With `alone` the overlaid paths are all that is listed; what else exists can still be read."""
        self.root = root
        self.overlay = dict(overlay or {})
        self._listed = sorted(p for p, text in self.overlay.items() if text is not None) if alone else None

    def paths(self, *patterns):
        """Paths of all files that are or could be committed and match one of the patterns; `*` spans folders."""
        if self._listed is None:
            found = {p for p in _list(self.root) if os.path.isfile(os.path.join(self.root, p))}
            self._listed = sorted((found | set(self.overlay)) - {p for p, t in self.overlay.items() if t is None})
        if not patterns:
            return self._listed
        return [p for p in self._listed if any(fnmatch.fnmatchcase(p, pattern) for pattern in patterns)]

    def exists(self, path):
        if path in self.overlay:
            return self.overlay[path] is not None
        return os.path.exists(os.path.join(self.root, path))

    def text(self, path):
        return self.overlay[path] if path in self.overlay else _read(os.path.join(self.root, path))

    def lines(self, path):
        return enumerate(self.text(path).split("\n"), 1)

    def code(self, path):
        """The text with comments blanked out; lines keep their numbers."""
        return strip_comments(self.text(path))

    def bare(self, path):
        """The text with comments and the insides of strings and characters blanked out."""
        return strip_comments(self.text(path), strings=True)


@functools.lru_cache(maxsize=None)
def _list(root):
    try:
        git = subprocess.run(["git", "-C", root, "ls-files", "-z", "-co", "--exclude-standard"], capture_output=True, check=True)
        return [p for p in git.stdout.decode().split("\0") if p]
    except (OSError, subprocess.CalledProcessError):
        pass
    found = []
    for folder, folders, names in os.walk(root):  # not a clone: an unpacked release
        inside = os.path.relpath(folder, root)
        folders[:] = [f for f in folders if os.path.normpath(os.path.join(inside, f)) not in ("build", ".prefix", ".git")]
        found += [os.path.normpath(os.path.join(inside, n)) for n in names]
    return found


@functools.lru_cache(maxsize=None)
def _read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


@functools.lru_cache(maxsize=None)
def strip_comments(text, strings=False):
    def blank(match):
        token = match.group(0)
        if token[0] == "/":
            return re.sub(r"[^\n]", " ", token)
        if strings:
            return token[0] + re.sub(r"[^\n]", " ", token[1:-1]) + token[-1]
        return token

    return _TOKEN.sub(blank, text)


class Function:
    """A function of C or GLSL, defined or declared: its name, lines [first, last], parameters."""

    def __init__(self, name, first, last, n_params, defined):
        self.name, self.first, self.last, self.n_params, self.defined = name, first, last, n_params, defined

    @property
    def n_lines(self):
        return self.last - self.first + 1


def _without_directives(bare):
    """Preprocessor lines, with what they continue on, blanked out."""
    out, continues = [], False
    for line in bare.split("\n"):
        directive = continues or line.lstrip().startswith("#")
        continues = directive and line.endswith("\\")
        out.append("" if directive else line)
    return "\n".join(out)


_NOT_FUNCTIONS = {"if", "for", "while", "switch", "return", "sizeof", "layout", "defined", "__asm__", "__attribute__",
                  "_Static_assert", "TEST"}


def functions(bare):
    """All functions at file scope in text without comments and strings."""
    text = _without_directives(bare)
    found, start, i = [], 0, 0
    line_of = functools.partial(text.count, "\n", 0)
    while i < len(text):
        c = text[i]
        if c == "{":
            head = text[start:i]
            if re.search(r'\bextern\s*"\s*"\s*$', head):  # what is inside is at file scope too
                start = i = i + 1
                continue
            end = _matching(text, i, "{", "}")
            function = _head(head)
            if function:
                first = line_of(start + len(head) - len(head.lstrip())) + 1
                found.append(Function(function[0], first, line_of(end) + 1, function[1], True))
            i = end
            if function or not re.search(r"=\s*$", head):
                start = end + 1
        elif c == "}":  # of extern "C"
            start = i + 1
        elif c == ";":
            head = text[start:i]
            function = _head(head)
            if function:
                first = line_of(start + len(head) - len(head.lstrip())) + 1
                found.append(Function(function[0], first, line_of(i) + 1, function[1], False))
            start = i + 1
        i += 1
    return found


def _matching(text, at, opening, closing):
    depth = 0
    for i in range(at, len(text)):
        if text[i] == opening:
            depth += 1
        elif text[i] == closing:
            depth -= 1
            if depth == 0:
                return i
    return len(text) - 1


def _head(head):
    """(name, number of parameters) if this text before `{` or `;` is a function's head."""
    head = re.sub(r"__attribute__\s*\(\(.*?\)\)\)?", "", head, flags=re.S)
    if re.search(r"(^|[^=!<>])=([^=]|$)", head):
        return None
    test = re.match(r"\s*TEST\((\w+)\)\s*$", head)
    if test:
        return "TEST(" + test.group(1) + ")", 0
    match = re.search(r"[\w*\s]\b(\w+)\s*\(", head)
    if not match or match.group(1) in _NOT_FUNCTIONS:
        return None
    opening = head.index("(", match.end() - 1)
    closing = _matching(head, opening, "(", ")")
    inside = head[opening + 1:closing].strip()
    if inside in ("", "void"):
        return match.group(1), 0
    depth, commas = 0, 0
    for c in inside:
        depth += (c in "([{") - (c in ")]}")
        commas += c == "," and depth == 0
    return match.group(1), commas + 1
