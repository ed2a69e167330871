#!/usr/bin/env python3
"""Holds the kernels of bench/roof against what compilers of the stand-in GPUs make of them: a limit is one only where the loop is full of
the instructions that it is the limit of.

usage: check_roof.py HW FOLDER [GPU …]

HW is the launcher that tests/hw/build makes, FOLDER holds the kernels' SPIR-V. In the loop of each kernel there must be all
multiply-adds of the rounds that it writes out, by the widest instructions there are, none of them scalar, and little else. Prints a line
per GPU and per fault; exit 1 if there was any, 77 if there is no launcher (1 too, where HEARTH_REQUIRE_GOLDEN=1).
"""
import os
import subprocess
import sys
from collections import namedtuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "bench"))
import isa  # noqa: E402
from stand_ins import main  # noqa: E402

# Of a card: the subgroup's size where one may be demanded, m, n, k of matrices of halves and of bytes, and the instructions that must do it
# all by kernel, as they begin.
Roof = namedtuple("Roof", "parser lanes halves bytes f32 f16 dot")
AMD, INTEL, NVIDIA = isa.parse_aco, isa.parse_brw, isa.parse_nak
CARDS = {
    "vega20": Roof(AMD, 0, None, None, "v_mac_f32", "v_pk_fma_f16", "v_dot4"),
    "navi31": Roof(AMD, 32, (16, 16, 16), (16, 16, 16), "v_dual_fmac_f32", "v_pk_fma_f16", "v_dot4"),
    "gfx1151": Roof(AMD, 32, (16, 16, 16), (16, 16, 16), "v_dual_fmac_f32", "v_pk_fma_f16", "v_dot4"),
    "gfx1201": Roof(AMD, 32, (16, 16, 16), (16, 16, 16), "v_dual_fmac_f32", "v_pk_fma_f16", "v_dot4"),
    "a770": Roof(INTEL, 8, (8, 8, 16), (8, 8, 32), "mad", "mad", "dp4a"),
    "b580": Roof(INTEL, 16, (8, 16, 16), (8, 16, 32), "mad", "mad", "dp4a"),
    "rtx3090": Roof(NVIDIA, 0, (16, 8, 16), (16, 8, 32), "ffma", "hfma2", "idp4"),
}
WRITTEN_OUT, MATRIX_WRITTEN_OUT = 16, 8  # rounds, roof_math.glsl and roof_matrix.glsl
CHAINS = (16, 8, 4)
SUMS = (8, 4, 2)
# What else may be in a loop: what counts, compares, goes back and changes what is multiplied; and to each multiplication so much, as
# compilers move sums where a loop goes back. With NAK (not what NVIDIA's own driver compiles with) a sum moves at each.
REST, BESIDE = 12, {AMD: 1 / 16, INTEL: 1 / 16, NVIDIA: 1 / 16}
REST_OF_MATRICES, BESIDE_MATRICES = 20, {AMD: 1 / 8, INTEL: 1, NVIDIA: 12}
BESIDE_HALVES = 3  # AMD's halves of sums are halves of registers


def compiled(hw, card, blob, roof, specs):
    """What the card's compiler lists of a kernel."""
    options = [word for i, value in enumerate(specs) for word in ("--spec", f"{i}={value}")]
    if roof.lanes:
        options += ["--subgroup", str(roof.lanes)]
    env = dict(os.environ, INTEL_DEBUG="cs", ACO_DEBUG="perfinfo", NAK_DEBUG="print")
    done = subprocess.run([hw, card, *options, blob], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=300, check=False)
    if done.returncode != 0:
        raise isa.Unreadable(f"it is not compiled: {done.stdout.decode(errors='replace').strip()[-200:]}")
    return roof.parser(done.stderr.decode(errors="replace"))


def spare(roof, kernel, multiplying):
    """How many other instructions a loop may have."""
    if not kernel.startswith("roof_matrix"):
        return REST + BESIDE[roof.parser] * multiplying
    beside = BESIDE_MATRICES[roof.parser]
    return REST_OF_MATRICES + (max(beside, BESIDE_HALVES) if kernel.endswith("f16_f16") else beside) * multiplying


def faults_of(roof, kernel, listing, macs, lanes, name):
    """What is wrong with a loop that should have so many multiply-adds of a lane, by instructions of a name."""
    names = listing.loops[isa.main_loop(listing)]
    loop = [i for block in names for i in listing.blocks[block].instructions if i.kind != "wait"]
    found = sum(i.macs / (lanes if i.whole else 1) for i in loop)
    others = sorted({i.name for i in loop if i.macs and not i.name.startswith(name)})
    scalar = sorted({i.name for i in loop if i.name.startswith("s_f")})
    rest = sum(1 for i in loop if not i.macs)
    if found != macs:
        yield f"{found:g} multiply-adds of a lane in its loop, and not {macs:g}"
    if others:
        yield f"multiplies by {', '.join(others)}, and not {name}"
    if scalar:
        yield f"multiplies what is the same in all lanes, apart from them: {', '.join(scalar)}"
    if rest > spare(roof, kernel, len(loop) - rest):
        yield f"{rest} instructions in its loop do something else"


def kernels(roof, demanded):
    """(kernel, its specialization, multiply-adds of a lane in a round of the loop, a subgroup's size where it works together, name)"""
    for chains in CHAINS:
        for kernel, parts, name in (("roof_math", 1, roof.f32), ("roof_math_f16", 2, roof.f16), ("roof_dot", 4, roof.dot)):
            yield kernel, (chains,), parts * chains * WRITTEN_OUT, 0, name
    lanes = demanded or 32
    matrix = {AMD: "v_wmma", INTEL: "dpas", NVIDIA: ""}[roof.parser]
    for kernel, shape in (("roof_matrix_f16", roof.halves), ("roof_matrix_f16_f16", roof.halves), ("roof_matrix_s8", roof.bytes)):
        if shape and not (kernel == "roof_matrix_f16_f16" and lanes == 8):  # Xe-HPG adds halves up in floats alone
            m, n, k = shape
            for sums in SUMS:
                yield kernel, (4 * lanes, m, n, k, sums), MATRIX_WRITTEN_OUT * sums * m * n * k / lanes, lanes, matrix


def check(hw, folder, card):
    bad = n = 0
    roof = CARDS.get(card)
    if not roof:
        print(f"{card}: CARDS does not have it")
        return 1
    for kernel, specs, macs, lanes, name in kernels(roof, roof.lanes):
        n += 1
        try:
            faults = list(faults_of(roof, kernel, compiled(hw, card, os.path.join(folder, kernel + ".spv"), roof, specs), macs, lanes, name))
        except isa.Unreadable as error:
            faults = [str(error)]
        bad += len(faults)
        for fault in faults:
            print(f"{card}: {kernel} {' '.join(map(str, specs))}: {fault}")
    print(f"{card}: {n} kernels, {bad} faults")
    return bad + (n == 0)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        sys.argv += list(CARDS)
    sys.exit(main(check))
