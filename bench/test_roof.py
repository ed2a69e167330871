#!/usr/bin/env python3
"""Tests of bench/roof on the software device: all is measured, no kernel is faster than its limit, and what fails costs nothing else.

usage: test_roof.py ROOF OPBENCH LAYER_FOLDER

Started by scripts/with-lavapipe; without a software device all is skipped (77). LAYER_FOLDER holds the manifest of tests/layer.
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOF, OPBENCH, LAYER = (os.path.abspath(word) for word in sys.argv[1:4])
SKIPPED, FAILED = 77, 1
TRIES = 4  # a machine in use measures limits that are too low, now and then
MOST = 1.2  # of a limit
# Formats, rows and columns that are fast enough for a test; one column of floats has to come from memory, whatever the caches. A row that the device has not is passed over by opbench.
CASES = (("F32,Q4_0", "8192x4096", "1", None), ("F32,Q4_0", "512x512", "64", None), ("Q8_0", "512x512", "64", "matmul_int"),
         ("Q8_0", "512x512", "64", "matmul_f16"), ("Q8_0", "512x512", "64", "matmul_coop_f16"), ("Q8_0", "512x512", "64", "matmul_coop_s8"))


def run(program, *args, **env):
    start = [os.environ["HEARTH_EXEC"]] if os.environ.get("HEARTH_EXEC") else []
    return subprocess.run([*start, program, "--device", "vulkan:0", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=500,
                          env=dict(os.environ, **env), check=False)


def layered(fail):
    """The environment in which a call to the driver fails (tests/layer/layer.h)."""
    paths = [LAYER] + ([os.environ["VK_LAYER_PATH"]] if os.environ.get("VK_LAYER_PATH") else [])
    return {"VK_LAYER_PATH": ":".join(paths), "VK_INSTANCE_LAYERS": "VK_LAYER_HEARTH_test", "HEARTH_LAYER_FAIL": fail}


def figures(roof):
    """(name, rate or None, why) of all that is measured per second."""
    for kind, key, unit in (("read", "memory", "bytes_per_s"), ("copy", "copy", "bytes_per_s"), ("math", "math", "flop_per_s"),
                            ("matrix", "shape", "flop_per_s")):
        for item in roof[kind]:
            yield item[key], item[unit], item.get("why", "")


class Roof(unittest.TestCase):
    first = None  # what was measured first serves two tests

    def measured(self, again=False):
        if again or not Roof.first:
            done = run(ROOF, "--json")
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            Roof.first = json.loads(done.stdout)
        return Roof.first

    def test_all_is_measured(self):
        roof = self.measured()
        for name, rate, why in figures(roof):
            with self.subTest(name):
                self.assertTrue((rate or 0) > 0 or why in ("hearth multiplies no such types", "hearth lets no sums saturate"), why)
        rates = {(item["input"], item["sum"]): item["flop_per_s"] for item in roof["matrix"]}
        for types in (("f16", "f32"), ("f16", "f16"), ("s8", "s32")):
            if types in rates:
                with self.subTest(types):
                    self.assertGreater(rates[types] or 0, 0)
        self.assertTrue(all(seconds is not None for seconds in roof["latency_s"].values()))

    def shares(self, folder, again):
        """The share of its limit that each row reaches, by what is measured."""
        path, shares = os.path.join(folder, "roof.json"), {}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.measured(again), file)
        for formats, shape, columns, row in CASES:
            done = run(OPBENCH, "--roof", path, "--formats", formats, "--shapes", shape, "--columns", columns, "--rounds", "3", "--seconds", "0",
                       "--json", *(["--rows", row] if row else []))
            if row and done.returncode != 0 and b"nothing to measure" in done.stderr:
                continue
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            for case in json.loads(done.stdout)["cases"]:
                shares[case["row"], case["format"], case["columns"]] = case["roof_share"]
        return shares

    def test_nothing_is_faster(self):
        least = {}
        with tempfile.TemporaryDirectory(prefix="roof-test-") as folder:
            for number in range(TRIES):
                for key, share in self.shares(folder, number > 0).items():
                    least[key] = min(share, least.get(key, share))
                if all(share <= MOST for share in least.values()):
                    break
        self.assertGreaterEqual(len(least), 4)
        for key, share in least.items():
            with self.subTest(key):
                self.assertLessEqual(share, MOST)
                self.assertGreater(share, 0)

    def test_time_ends(self):
        done = run(ROOF, "--json", "--seconds", "0.001")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        roof = json.loads(done.stdout)
        self.assertEqual({item["why"] for item in roof["math"] + roof["matrix"]}, {"no time was left"})
        self.assertGreater(roof["read"][0]["bytes_per_s"], 0)

    def test_what_fails_costs_nothing_else(self):
        # from some pipeline on the driver's compiler fails (VK_ERROR_INITIALIZATION_FAILED)
        done = run(ROOF, "--json", HEARTH_CACHE=os.path.join(tempfile.gettempdir(), "no-such-folder"), **layered("vkCreateComputePipelines:6+:-3"))
        self.assertEqual(done.returncode, FAILED)
        self.assertIn(b"not all was measured", done.stderr)
        roof = json.loads(done.stdout)
        found = list(figures(roof))
        self.assertTrue(all(rate for name, rate, _ in found if "memory" in name or "device" in name or "host" in name))
        bad = [why for _, rate, why in found if not rate and why.startswith("failed: ")]
        self.assertGreaterEqual(len(bad), 3)
        self.assertIsNone(roof["latency_s"]["dispatch"])


if __name__ == "__main__":
    if os.environ.get("HEARTH_TEST_SOFTWARE") != "1":
        print("no software device: scripts/with-lavapipe shows it to tests")
        sys.exit(SKIPPED)
    unittest.main(argv=sys.argv[:1])
