#!/usr/bin/env python3
"""Plans for the stand-in GPUs: each starts, finds its card's memory and keeps to it.

usage: check_plan.py HW PROGRAM [GPU …]

HW is the launcher that tests/hw/build makes, PROGRAM is hearth. For each GPU (default: all) `hearth plan --json` of three models
must name the device of `hearth devices`, plan no more for it than its budget, that no larger than its heap, and less with --vram.
Prints a line per GPU and per fault; exit 1 if there was any, 77 if there is no launcher (1 too, where HEARTH_REQUIRE_GOLDEN=1 says
that the run must be whole).
"""
import json
import sys

from stand_ins import main, run

MODELS = ("llama-1b", "llama-8b", "mixtral-8x7b")
LIMIT = 1 << 30  # for --vram


def plan(hw, program, gpu, *options):
    done = run(hw, gpu, program, "plan", *options, "--json")
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise SystemExit(f"{gpu}: hearth plan {' '.join(options)} failed ({done.returncode}): {done.stderr.strip()[-300:]}")


def faults_of(device, result, limit):
    heaps = [heap for heap in result["heaps"] if heap["device"] == device["id"]]
    if not heaps:
        yield f"{device['id']} has no part in the plan"
        return
    heap, own = heaps[0], max(h["bytes"] for h in device["heaps"] if h["device_local"])
    if heap["name"] != device["name"][:60]:
        yield f"is called {heap['name']}, not {device['name']}"
    if heap["memory_bytes"] != own:
        yield f"has {heap['memory_bytes']} bytes in the plan, {own} in the largest heap of its own"
    if not 0 < heap["budget_bytes"] <= min(own, limit or own):
        yield f"a budget of {heap['budget_bytes']} bytes of {own}"
    if heap["planned_bytes"] > heap["budget_bytes"]:
        yield f"{heap['planned_bytes']} bytes are planned, the budget is {heap['budget_bytes']}"
    placed = sum(unit["bytes"] for unit in result["units"] if unit["device"] == device["id"])
    if placed > heap["planned_bytes"]:
        yield f"units of {placed} bytes, of which {heap['planned_bytes']} are planned"
    if result["answer_tokens_per_s"] <= 0 or result["prompt_tokens_per_s"] <= 0:
        yield "no rates"


def check(hw, program, gpu):
    devices = json.loads(run(hw, gpu, program, "devices", "--json").stdout)
    cards = [d for d in devices if d["id"].startswith("vulkan") and d["supported"] and d["kind"] != "software"]
    bad, placed = 0 if cards else 1, 0
    for model in MODELS:
        for limit in (0, LIMIT):
            options = [f"synth:{model}:q4_k_m"] + (["--vram", str(limit)] if limit else [])
            result = plan(hw, program, gpu, *options)
            placed += sum(unit["bytes"] for unit in result["units"] if unit["device"] != "cpu")
            for device in cards:
                for fault in faults_of(device, result, limit):
                    bad += 1
                    print(f"{gpu}: {model}, {limit or 'no'} limit: {fault}")
    if not placed:
        bad += 1
        print(f"{gpu}: nothing of any model is planned for it")
    print(f"{gpu}: {len(cards)} card, {bad} faults")
    return bad


if __name__ == "__main__":
    sys.exit(main(check))
