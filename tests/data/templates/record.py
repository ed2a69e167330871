#!/usr/bin/env python3
"""Records what Jinja2 makes of its built-in filters, tests and globals: builtins.json, from the package of the version below.

    python3 tests/data/templates/record.py          writes builtins.json beside it

A row is a template in which @ stands for a value, and its output for each of the values; null where Jinja2 fails. The
environment is that of Hugging Face transformers. "?" is an output that hearth is not held to; the filter random has no rows.
"""
import copy
import json
import os
import re
import sys

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

VERSION = "3.1.6"

CONTEXT = {
    "users": [
        {"name": "Bob", "age": 30, "city": "NY", "on": True},
        {"name": "alice", "age": 25, "city": "LA", "on": False, "at": {"x": 2}},
        {"name": "Carl", "age": 30, "city": "ny", "on": True, "at": {"x": 1}},
    ],
    "u": "Straße ΑΣ ǆ İ ﬁx 日本 😀",
    "html": "<p class=\"x\">T&amp;'s <b>bold</b>\n <!-- no --> &lt;é&gt;</p>",
    "long": "The quick brown fox jumps over the lazy dog; it's well-known, über-long-hyphenated and antidisestablishmentarian.",
    "links": "see https://example.org/a?b=c&d=(e), www.x.com. mail me@x.org <http://y.net/> ftp://z.com mailto:a@b.de x.info",
    "brackets": "(http://a.org/(x))) http://a.org/(x) http://a.org/((x) (((http://a.org/x))) http://a.org/((x).), http://a.org/(x)y) "
    "http://a.org/((a)b). <http://a.org/<x>> <<http://a.org/<<x>, (http://a.org/(x>)>. (<www.a.org/<(x)>)> http://a.org/<(x>)) "
    "(me@a.org) <me@a.org>, (me@(a.org)) ftp:(x)). <ftp:<x>>, (ftp:) www.a.org) )http://a.org( http://a.org/x().) http://a.org/(((x).)).).",
}

VALUES = [
    "''", "'Hello, wonderful World'", "u", "html", "long", "links", "' \\t a b\\n'", "'one\\ntwo\\r\\n\\nthree'",
    "'12'", "'-3.5'", "'0x1F'", "'1e3'", "'abc'", "'%s and %d'", "'ABC'", "'it\\'s \"q\"'",
    "0", "1", "-7", "42", "1234567", "2.5", "-0.5", "1e20", "0.1", "true", "false", "none", "nothing",
    "[]", "[3, 1, 2]", "['b', 'A', 'c', 'a', 'B']", "[1, 'a']", "[[1, 2], [0, 5]]", "[none, 1, '']", "[0, 0.0, false, 1, true]",
    "(1, 2, 2)", "range(6)", "{}", "{'b': 1, 'a': 2, 'C': 0}", "{1: 'x', 'k': [1, none]}", "users",
]  # fmt: skip

# Arguments of each filter; "" calls it without. A leading | continues with further filters.
FILTERS = {
    "abs": [""],
    "attr": ["('name')", "('0')", "()"],
    "batch": ["(2)|list", "(2, 'x')|list", "(0)|list", "(-1)|list", "('a')|list", "()|list"],
    "capitalize": [""],
    "center": ["", "(30)", "(width=7)", "(0)", "(-3)", "('x')"],
    "count": [""],
    "d": ["('z')", "('z', true)", "", "(default_value=1, boolean=1)"],
    "default": ["('z')", "('z', true)", "('z', boolean=false)"],
    "dictsort": ["", "(true)", "(false, 'value')", "(by='value', reverse=true)", "(by='x')", "(reverse=1)"],
    "e": [""],
    "escape": ["", "|escape", "|string"],
    "filesizeformat": ["", "(true)", "(binary=false)"],
    "first": [""],
    "float": ["", "(7)", "(default='x')"],
    "forceescape": ["", "|e"],
    "format": ["", "(1, 2)", "('a', 3)", "(x=1)"],
    "groupby": ["('age')|list", "('city')|list", "('city', case_sensitive=true)|list", "('at.x', default=9)|list", "(0)|list", "('age')|map(attribute=0)|list", "('age')|map('last')|map('length')|list"],
    "indent": ["", "(2)", "(2, true)", "(2, true, true)", "('> ')", "(width=1, first=true, blank=false)", "(0)", "(-1)", "(none)"],
    "int": ["", "(5)", "(0, 16)", "(0, 2)", "(base=0)", "('x')", "(0, 8)"],
    "items": ["|list", ""],
    "join": ["", "(', ')", "(1)", "('-', attribute='name')", "(attribute=0)", "(none)", "('<')"],
    "last": [""],
    "length": [""],
    "list": [""],
    "lower": [""],
    "map": ["('upper')|list", "(attribute='name')|list", "(attribute='at.x', default=0)|list", "('default', 'x')|list", "('int')|list", "()|list", "('replace', 'a', 'o')|list", "(attribute=0)|list", "('nope')|list", "('string')|join"],
    "max": ["", "(true)", "(attribute='age')", "(attribute='name')", "(case_sensitive=true)", "(attribute=1)"],
    "min": ["", "(true)", "(attribute='age')", "(attribute='name')", "(case_sensitive=true)", "(attribute=1)"],
    "pprint": [""],
    "reject": ["|list", "('odd')|list", "('eq', 1)|list", "('string')|list", "('in', [1, 'a'])|list", "('nope')|list"],
    "rejectattr": ["('on')|list", "('age', 'gt', 26)|list", "('at.x')|list", "('at', 'undefined')|list", "(0)|list", "()|list"],
    "replace": ["('l', 'L')", "('l', 'L', 1)", "('', '-')", "('', '-', 3)", "('a', '')", "('l', 'L', 0)", "('l', 'L', -1)", "('l')", "(1, 2)", "('l', none)"],
    "reverse": ["", "|list", "|join"],
    "round": ["", "(1)", "(-1)", "(1, 'ceil')", "(1, 'floor')", "(0, 'x')", "(precision=2, method='common')", "('a')"],
    "safe": ["", "|e"],
    "select": ["|list", "('odd')|list", "('eq', 1)|list", "('string')|list", "('in', [1, 'a'])|list", "('nope')|list", "('defined')|list", "('sameas', true)|list"],
    "selectattr": ["('on')|list", "('age', 'gt', 26)|list", "('at.x')|list", "('at', 'defined')|list", "(0)|list", "()|list", "('name', 'in', ['Bob'])|map(attribute='age')|list"],
    "slice": ["(2)|list", "(2, 'x')|list", "(4)|list", "(0)|list", "(-1)|list", "('a')|list"],
    "sort": ["", "(true)", "(reverse=true, case_sensitive=true)", "(attribute='age')", "(attribute='age,name')", "(attribute='at.x')", "(attribute=0)", "(false, true)"],
    "string": ["", "|length"],
    "striptags": [""],
    "sum": ["", "(start=10)", "(attribute='age')", "('age', 5)", "(attribute=0)", "(start='a')"],
    "title": [""],
    "tojson": ["", "(indent=2)", "(ensure_ascii=true)", "(sort_keys=true)", "(separators=(',', ':'))"],
    "trim": ["", "('ab')", "(chars=' ')", "(none)", "('')"],
    "truncate": ["", "(9)", "(9, true)", "(9, false, '')", "(9, true, '>>', 0)", "(length=20, leeway=3)", "(0)", "(2)", "(9, leeway=100)"],
    "unique": ["|list", "(true)|list", "(attribute='age')|list", "(attribute='city')|map(attribute='name')|list", "(case_sensitive=true, attribute='city')|list"],
    "upper": [""],
    "urlencode": [""],
    "urlize": ["", "(12)", "(12, true)", "(nofollow=true)", "(target='_blank')", "(rel='x y')", "(extra_schemes=['ftp:'])", "(trim_url_limit=5, target='\"')"],
    "wordcount": [""],
    "wordwrap": ["", "(10)", "(10, false)", "(10, true, '|')", "(10, break_on_hyphens=false)", "(3)", "(0)", "(width=40, wrapstring='\\n> ')"],
    "xmlattr": ["", "(false)", "(autospace=true)"],
}

TESTS = {
    "divisibleby": ["(3)", " 2", "(0)", "(2.5)"],
    "eq": ["(1)", "('abc')", "([])", " 0", "(none)"],
    "sameas": ["(none)", "(true)", "(1)", "(false)"],
    "in": ["([1, 'abc', none])", "('abc Hello, wonderful World')", "(range(3))", "({'abc': 1, 1: 2})", "(5)"],
    "filter": [""],
    "test": [""],
}  # fmt: skip
for name in ("==", "equalto"):
    TESTS[name] = ["(1)", "('abc')"]
for name in ("!=", "ne", "<", "lt", "lessthan", "<=", "le", ">", "gt", "greaterthan", ">=", "ge"):
    TESTS[name] = ["(1)", "('abc')", "([3])", "(none)"]

OTHERS = [
    "range(@)|list", "range(2, @)|list", "range(9, 0, -2)|list", "range(0, 9, 3)|list", "range(0, 5, 0)|list", "range(3).start", "range(1, 9, 2).stop", "range(1, 9, 2).step", "range(3)|string",
    "dict(a=@)", "dict(@)", "dict(@, z=1)", "dict()",
    "[users, users]|pprint", "(long, 1)|pprint", "(long,)|pprint", "{'k': long, 'z': {'y': links, 1: users}}|pprint", "[long ~ '\\n\\n' ~ links ~ '\\n', u]|pprint",
    "('x' * 100)|pprint", "('x' * 79)|pprint", "[['x' * 70, 'y'], ('z' * 76,)]|pprint", "range(50)|list|pprint", "[range(20)|list, {'a': (range(9)|list, long)}]|pprint",
    "(-9223372036854775807 - 1) == -9223372036854775808.0",
    "(-9223372036854775807 - 1) < -9223372036854775808.0", "9223372036854775807 == 9223372036854775808.0", "9223372036854775807 < 9223372036854775808.0",
    "brackets|urlize", "brackets|urlize(14)", "brackets|urlize(extra_schemes=['ftp:'])", "brackets|safe|urlize",
    "{'x' * 60: 'y' * 30}|pprint", "(long ~ '\\n' ~ u * 9)|pprint", "(html * 3)|pprint", "{'a b': [{}, [], (), '', none] * 5}|pprint", "namespace(a=@).a", "namespace(@).b", "namespace(nope=1)|string|length > 0",
]  # fmt: skip
STATEMENTS = [
    "{% set c = cycler(1, 'b', @) %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.next() }}{% set _ = c.reset() %}{{ c.current }}",
    "{% set c = cycler() %}",
    "{% set j = joiner(@) %}{{ j() }}a{{ j() }}b{{ j() }}",
    "{% set j = joiner() %}{{ j() }}a{{ j() }}b{{ j() }}",
    "{% set n = namespace() %}{% set n.x = @ %}{% for i in [1, 2] %}{% set n.x = i %}{% endfor %}{{ n.x }}",
    "{% filter upper %}x{{ @ }}{% endfilter %}",
    "{% for a in @ %}{{ loop.index }}{{ a }}{{ ',' if not loop.last }}{% else %}none{% endfor %}",
]


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    env.filters["tojson"] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    return env


def output(env, template, value):
    try:
        return env.from_string(template.replace("@", f"({value})")).render(**copy.deepcopy(CONTEXT))
    except Exception:
        return None


def kept(text):
    """What hearth is held to: no addresses of objects, no integers of more than 64 bits."""
    return "?" if text and (" at 0x" in text or re.search(r"(?<![.\d])\d{19,}(?![.\d])", text)) else text


def templates(env):
    for name in sorted(env.filters):
        if name != "random":
            for args in FILTERS[name]:
                yield f"{{{{ @|{name}{args} }}}}"
    for name in sorted(env.tests):
        for args in TESTS.get(name, [""]):
            if name.isidentifier():
                yield f"{{{{ @ is {name}{args} }}}}"
                yield f"{{{{ @ is not {name}{args} }}}}" if args == "" else f"{{{{ [@]|select('{name}', {args.strip(' ()') or 'none'})|list }}}}"
            else:
                yield f"{{{{ [@]|reject('{name}', {args.strip('()')})|list }}}}"
    for text in OTHERS:
        yield f"{{{{ {text} }}}}"
    yield from STATEMENTS


def main():
    if jinja2.__version__ != VERSION:
        sys.exit(f"Jinja2 {VERSION} is needed (pip install jinja2=={VERSION}), this is {jinja2.__version__}")
    env, rows = environment(), []
    for template in templates(env):
        values = VALUES if "@" in template else ["none"]
        expected = [output(env, template, value) for value in values]
        rows.append({"template": template, "expected": [kept(text) for text in expected]})
    names = {
        "filters": sorted(env.filters),
        "tests": sorted(env.tests),
        "globals": sorted(env.globals),
    }
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "builtins.json")
    with open(path, "w", encoding="utf-8") as out:
        line = lambda value: json.dumps(value, ensure_ascii=False)
        out.write(f'{{\n"jinja2": {line(VERSION)},\n"names": {line(names)},\n"context": {line(CONTEXT)},\n')
        out.write(f'"values": {line(VALUES)},\n"rows": [\n')
        out.write(",\n".join(line(row) for row in rows))
        out.write("\n]\n}\n")
    print(f"{path}: {len(rows)} rows of {len(VALUES)} values")


main()
