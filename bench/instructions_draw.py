"""The table of bench/instructions in words and as one picture."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine  # noqa: E402

VENDORS = (("Intel", "brw", ("skl", "icl", "tgl", "adl", "dg1", "mtl", "arl", "a380", "a770", "lnl", "b580", "ptl")),
           ("AMD", "ACO", ("polaris10", "vega10", "vega20", "renoir", "navi10", "navi21", "navi23", "vangogh", "rembrandt", "navi31", "navi32", "navi33",
                           "phoenix", "gfx1150", "gfx1151", "gfx1200", "gfx1201")),
           ("NVIDIA", "NAK", ("gtx980", "gtx1080", "rtx2080", "rtx3090", "rtx4090", "rtx5090")))
FORMS = ("buffers", "addresses")
UNITS = (("matvec", "32 weights of a lane"), ("matmul", "1024 multiply-adds of a subgroup"))


def lines_of(table, cards, start):
    """(row, format) of rows whose names begin so, as some of the cards have them, in order."""
    found = {}
    for card in cards:
        for row, kinds in table["cards"].get(card, {}).items():
            for kind in kinds if row.startswith(start) else ():
                found[row, kind] = None
    return sorted(found, key=lambda line: line[0])


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def cell(table, card, line, what):
    forms = table["cards"][card].get(line[0], {}).get(line[1], {})
    values = [number(forms[form][what]) if forms.get(form) else "-" for form in FORMS]
    return " / ".join(values) if forms else ""


def tables(table, head):
    """The whole table in Markdown."""
    lines = ["# Instructions and estimated cycles", "", *head, "",
             "Read off what the compilers of the stand-in GPUs write, with the specialization that selection sets. Each cell: storage buffers / addresses.",
             "Instructions leave out waits, and count every way through the loop; cycles are the compiler's own estimate, with what it expects to wait for.",
             "Lanes of a subgroup differ (8 on Intel before Xe2, 16 since; 32 or 64 elsewhere), so columns of different vendors do not compare.",
             "`bench/instructions` makes this, docs/shaders.md reads it. Nothing of it ran."]
    for vendor, compiler, names in VENDORS:
        cards = [card for card in names if card in table["cards"]]
        for start, unit in UNITS if cards else ():
            rows = lines_of(table, cards, start)
            for what in ("instructions", "cycles"):
                lines += ["", f"## {vendor} ({compiler}), {start}: {what} per {unit}", ""]
                lines += machine.table(["row", "format", *cards],
                                       [[row, kind, *(cell(table, card, (row, kind), what) for card in cards)] for row, kind in rows])
        if cards:
            lines += ["", f"## {vendor} ({compiler}): lanes of a subgroup, and how many " +
                      {"brw": "(the driver does not say how many are resident)", "ACO": "may be resident on a SIMD", "NAK": "on an SM"}[compiler] + ", fewest and most", ""]
            rows = [r for _, r in sorted((row, row) for row in {row for card in cards for row in table["cards"][card]})]
            lines += machine.table(["row", *cards], [[row, *(resident(table, card, row) for card in cards)] for row in rows])
    spilled = [f"{card} {row} {kind} ({forms['addresses']['spills']})" for card, rows in table["cards"].items() for row, kinds in rows.items()
               for kind, forms in kinds.items() if (forms.get("addresses") or {}).get("spills")]
    if spilled:
        lines += ["", "## Spills of the address form, which only tests use", "", ", ".join(spilled)]
    if table["reasons"]:
        lines += ["", "## Why entries grew", ""] + [f"- {reason}" for reason in table["reasons"]]
    return "\n".join(lines) + "\n"


def resident(table, card, row):
    entries = [entry for forms in table["cards"][card].get(row, {}).values() for entry in forms.values() if entry]
    if not entries:
        return ""
    lanes, many = sorted({entry["simd"] for entry in entries}), sorted({entry["occupancy"] for entry in entries})
    text = "–".join(dict.fromkeys((str(lanes[0]), str(lanes[-1]))))
    return text if not many[-1] else text + " × " + "–".join(dict.fromkeys((str(many[0]), str(many[-1]))))


# --- the picture ------------------------------------------------------------------------------------------------------------------

STYLE = """text{font:9px system-ui,sans-serif;fill:#24292f}.h{font-size:13px;font-weight:600}.v{font-weight:600}.n{text-anchor:middle}
.l{text-anchor:end}rect{fill:#0969da}.o rect{fill:#bc4c00}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}rect{fill:#4493f8}.o rect{fill:#f0883e}}"""
LEFT, WIDE, HIGH, GAP, NAMES = 104, 32, 13, 12, 44
WORDS = ("What the compilers of the stand-in GPUs write for the storage-buffer form of each kernel. {driver}; nothing of this ran.",
         "A cell is stronger the more it has beside the least of the same line and group, twice as much at the strongest: only cards of one vendor "
         "with as many lanes compare.")


def lanes_of(table, card):
    """Of a card's subgroups, in words."""
    lanes = sorted({forms["buffers"]["simd"] for kinds in table["cards"][card].values() for forms in kinds.values() if forms.get("buffers")})
    return "–".join(dict.fromkeys(str(n) for n in lanes[:1] + lanes[-1:]))


def groups_of(table):
    """Cards of one vendor and as many lanes, under a title."""
    groups = {}
    for vendor, _, names in VENDORS:
        for card in names:
            if card in table["cards"]:
                groups.setdefault(f"{vendor}, {lanes_of(table, card)} lanes", []).append(card)
    return groups


def heads(out, groups, top):
    """Titles and, slanted, names of the columns; returns where each begins, and where they end."""
    x_of, x = {}, LEFT
    for title, cards in groups.items():
        out.append(f'<text class="v" x="{x}" y="{top}">{title}</text>')
        for card in cards:
            x_of[card] = x
            at = f"{x + WIDE / 2:g},{top + NAMES}"
            out.append(f'<text transform="translate({at}) rotate(-38)">{card}</text>')
            x += WIDE
        x += GAP
    return x_of, x + NAMES // 2


def cells(out, values, x_of, top):
    """A line of a group: numbers, the stronger the more beside the least."""
    least = min([value for value in values.values() if value], default=0)
    for card, value in values.items():
        if value is None:
            continue
        shade = 0.06 + 0.5 * min(1.0, value / least - 1 if least else 0)
        out.append(f'<rect x="{x_of[card] + 1}" y="{top + 3}" width="{WIDE - 2}" height="{HIGH - 1}" opacity="{shade:.2f}"/>'
                   f'<text class="n" x="{x_of[card] + WIDE / 2:g}" y="{top + HIGH:g}">{number(value)}</text>')


def panel(out, table, what, start, unit, top):
    """One heat map; returns where the next begins, and how wide it is."""
    groups = groups_of(table)
    rows = lines_of(table, [card for cards in groups.values() for card in cards], start)
    out.append(f'<text class="h" x="4" y="{top}">{start}: {what} per {unit}</text>')
    x_of, right = heads(out, groups, top + 18)
    top += 18 + NAMES + 4
    out.append(f'<g class="{"o" if what == "cycles" else "i"}">')
    for row, kind in rows:
        out.append(f'<text class="l" x="{LEFT - 6}" y="{top + HIGH:g}">{row.removeprefix(start + "_") + " " if start == "matmul" else ""}{kind}</text>')
        for cards in groups.values():
            cells(out, {card: table["cards"][card].get(row, {}).get(kind, {}).get("buffers", {}).get(what) for card in cards}, x_of, top)
        top += HIGH
    out.append("</g>")
    return top + 34, right


def picture(table):
    """One SVG, to be read on a light or a dark ground."""
    out, top, right = [], 20, 0
    for words in WORDS:
        out.append(f'<text x="4" y="{top}">{words.format(driver=table["driver"])}</text>')
        top += 13
    top += 14
    for start, unit in UNITS:
        for what in ("instructions", "cycles"):
            top, x = panel(out, table, what, start, unit, top)
            right = max(right, x)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right} {top}" width="{right}" height="{top}" role="img">\n'
            f"<title>Instructions and estimated cycles of matvecs and tiles on {len(table['cards'])} cards</title>\n<style>{STYLE}</style>\n"
            + "\n".join(out) + "\n</svg>\n")
