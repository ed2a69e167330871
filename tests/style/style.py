#!/usr/bin/env python3
"""Checks one rule of style over the whole project: exit 0 it holds, 1 it does not, 77 it cannot be checked here.

    tests/style/style.py RULE [--build FOLDER] [--cc CC] [--cxx CXX] [--clang-format TOOL] [--system FOLDER]…
    tests/style/style.py all        every rule, for a look before a commit
    tests/style/style.py --list
"""
import argparse
import os
import sys

import build
import layers
import shape
import tree as style_tree
import words

RULES = {name[len("rule_"):]: function for module in (layers, shape, words, build)
         for name, function in vars(module).items() if name.startswith("rule_")}
NEED_SETTINGS = {name for name, function in RULES.items() if function.__module__ == "build"}
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Settings:
    def __init__(self, options, report):
        self.build, self.cc, self.cxx, self.clang_format = options.build, options.cc, options.cxx, options.clang_format
        self.system, self.report, self.most_spirv_bytes = options.system, report, None


def check(name, tree, settings):
    """The violations of a rule, a line each. Raises Skip."""
    return RULES[name](tree, settings if name in NEED_SETTINGS else settings.report)


def options(parser):
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--cxx", default="")
    parser.add_argument("--clang-format", default="clang-format")
    parser.add_argument("--system", action="append", default=[])
    return parser


def say(*lines):
    print("\n    ".join(lines))


def main():
    parser = options(argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter))
    parser.add_argument("rule", nargs="?", choices=[*RULES, "all"])
    parser.add_argument("--list", action="store_true")
    chosen = parser.parse_args()
    if chosen.list or not chosen.rule:
        for name, rule in RULES.items():
            print(f"{name:20} {rule.__doc__}")
        return 0
    settings = Settings(chosen, say)
    tree, code = style_tree.Tree(ROOT), 0
    for name in RULES if chosen.rule == "all" else [chosen.rule]:
        try:
            wrong = check(name, tree, settings)
        except style_tree.Skip as why:
            print(f"skipped: {name}: {why}")
            code = code or (77 if chosen.rule != "all" else 0)
            continue
        if wrong:
            print(f"{name}: {RULES[name].__doc__}", *wrong, sep="\n  ")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
