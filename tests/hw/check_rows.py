#!/usr/bin/env python3
"""Holds every pipeline that selection picks on the stand-in GPUs against their compilers' statistics.

usage: check_rows.py [--fallbacks] [--chosen=ROW] HW PROGRAM [GPU …]

HW is the launcher that tests/hw/build makes, PROGRAM is hearth. For each GPU (default: all) `hearth devices` must name it, as
cards.py says, and each pipeline of `hearth rows --stats --json` (with --fallbacks also those that are taken where others turn
out wrong) must have no spills, no scratch memory, at least 10 instructions, the subgroup size that was demanded, or else one of
those in cards.py, and room for a second workgroup beside it. With --chosen one of them must be of that row. Prints a line per GPU and per fault; exit 1 if there was any, 77 if there is no launcher (1 too, where HEARTH_REQUIRE_GOLDEN=1 says that the run must be whole).
"""
import json
import sys

from cards import CARDS, meant
from stand_ins import main, run

# What costs memory traffic, by the names of Intel's, AMD's and NVK's compilers. NVK's SLM is shader local memory: scratch of a
# thread (src/nouveau/compiler/nak.h of Mesa 26), not what Intel calls so; its spills "to reg" stay in (uniform) registers.
SPILLS = ("Spills", "Fills", "Spilled SGPRs", "Spilled VGPRs", "Spills to memory", "Fills from memory", "Scratch Memory Size",
          "Scratch size", "SLM size")
INSTRUCTIONS = ("Instructions", "Instruction Count", "Instruction count", "Instruction Size")
FALLBACKS = ["--fallbacks"] if "--fallbacks" in sys.argv else []
CHOSEN = [word.split("=")[1] for word in sys.argv if word.startswith("--chosen=")]

# Shapes are made so that one workgroup reads while another computes: two fit where a workgroup runs. That is 4 SIMDs of AMD's
# (a CU of GCN, two of RDNA, which RADV gives to one workgroup), NVIDIA's SM, and 128 KiB of shared memory on Intel's, whose driver
# does not say how many threads are resident (before Xe-HPG there is half of it, and threads for one workgroup of 256).
SIMDS, INTEL_SHARED_BYTES, BESIDE = 4, 128 << 10, 2


def crowding(pipeline):
    """What keeps a second workgroup out, or None."""
    stats, lanes = pipeline.get("stats") or {}, pipeline.get("subgroup_size", 0)
    shared = stats.get("Workgroup Memory Size", 0)
    if BESIDE * shared > INTEL_SHARED_BYTES:
        return f"{shared:g} bytes of shared memory"
    room = stats.get("Subgroups per SIMD", 0) * SIMDS or stats.get("Max warps/SM", 0)
    needed = -(-pipeline.get("specialization", {}).get("GROUP", 1) // lanes) if lanes else 0
    return f"room for {room:g} subgroups, a workgroup has {needed}" if room and BESIDE * needed > room else None


def faults_of(pipeline, widths):
    stats = pipeline.get("stats") or {}
    if not stats:
        yield "no statistics"
        return
    if not any(name in stats for name in SPILLS):
        yield "nothing of spills among " + ", ".join(stats)
    for name in SPILLS:
        if stats.get(name, 0) != 0:
            yield f"{name} {stats[name]:g}"
    for name in INSTRUCTIONS:
        if name in stats and stats[name] < 10:
            yield f"emptied: {name} {stats[name]:g}"
    if not any(name in stats for name in INSTRUCTIONS):
        yield "no count of instructions among " + ", ".join(stats)
    demanded, got = pipeline.get("subgroup_demanded", 0), pipeline.get("subgroup_size", 0)
    if not got:  # all three drivers say it, of every pipeline
        yield "the driver does not say how wide its subgroups are"
    elif got not in ((demanded,) if demanded else widths):
        yield f"subgroups of {got} instead of {demanded or ' or '.join(map(str, widths))}"
    crowded = crowding(pipeline)
    if crowded:
        yield "not two workgroups at a time: " + crowded


def check(hw, program, gpu):
    card = CARDS.get(gpu)
    if not card:
        print(f"{gpu}: cards.py does not know it")
        return 1
    devices = run(hw, gpu, program, "devices", "--json")
    try:
        found = [d for d in json.loads(devices.stdout) if d["id"].startswith("vulkan")]
    except (ValueError, KeyError):
        found = []
    if len(found) != 1 or not meant(card, found[0]):
        names = [f"{d['name'].strip()} with {d['memory_bytes'] >> 30} GiB" for d in found]
        wanted = card.name + (f" with {card.gib} GiB" if card.gib else "")
        print(f"{gpu}: hearth devices names {' and '.join(names) or 'no Vulkan device'}, and not {wanted}: "
              f"{devices.stderr.strip()[-200:]}")
        return 1
    if not found[0]["default"]:
        print(f"{gpu}: it is not what hearth takes by itself")
        return 1
    rows = run(hw, gpu, program, "rows", "--stats", *FALLBACKS, "--json", "--device", "vulkan:0")
    try:
        pipelines = json.loads(rows.stdout)
    except ValueError:
        print(f"{gpu}: hearth rows failed ({rows.returncode}): {rows.stderr.strip()[-300:]}")
        return 1
    bad = 0
    for pipeline in pipelines:
        for fault in faults_of(pipeline, card.widths):
            bad += 1
            print(f"{gpu}: {pipeline['blob']} {pipeline.get('specialization')} "
                  f"subgroup {pipeline.get('subgroup_demanded', 0)}: {fault}")
    for row in CHOSEN:
        if row not in (pipeline["row"] for pipeline in pipelines):
            bad += 1
            print(f"{gpu}: {row} is not chosen")
    print(f"{gpu}: {found[0]['name'].strip()}: {len(pipelines)} pipelines, {bad} faults")
    return bad + (0 if pipelines else 1)


if __name__ == "__main__":
    sys.exit(main(check))
