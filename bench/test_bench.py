#!/usr/bin/env python3
"""Tests of bench/peer, bench/formats, bench/columns, bench/context and bench/predicted with invented programs: what they start, how they judge, how they end."""
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import re
import stat
import sys
import tempfile
import unittest
import xml.dom.minidom
from unittest import mock

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import machine  # noqa: E402


def load(name):
    loader = importlib.machinery.SourceFileLoader("bench_" + name, os.path.join(HERE, name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


peer, formats, columns, context, predicted = (load(name) for name in ("peer", "formats", "columns", "context", "predicted"))

# Each run of hearth and of the peer is slower than the one before, as on a machine that gets busy: only ratios are steady.
FAKE = """#!{python}
import json, os, sys
count = {folder!r} + "/count"
n = int(open(count).read()) if os.path.exists(count) else 0
open(count, "w").write(str(n + 1))
with open({folder!r} + "/log", "a") as log:
    log.write(json.dumps([os.path.basename(sys.argv[0]), os.environ.get("LP_NATIVE_VECTOR_WIDTH")] + sys.argv[1:]) + "\\n")
slow = 1.0 + n // 3
option = lambda name: int(sys.argv[sys.argv.index(name) + 1])
"""
HEARTH = """
if sys.argv[1] == "devices":
    print(json.dumps([{"kind": "software", "name": "invented", "driver": "driver 1"}]))
else:
    print(json.dumps([{"test": "%s%d" % (t, option(o)), "tokens_per_s": s / slow, "gb_per_s": 30, "device": "invented", "rows": ["row"]}
                      for t, o, s in (("pp", "-p", 60.0), ("tg", "-n", 30.0)) if option(o)]))
"""
STEADY = 'print(json.dumps({"read_gb_per_s": 50, "barrier_ns": 40}))'
PEER = """
vulkan = sys.argv[1] == "--lavapipe"
speeds = {"128": (20.0, 8.0), "256": (15.0, 10.0), None: (300.0, 100.0)}[os.environ.get("LP_NATIVE_VECTOR_WIDTH")]
print(json.dumps([{"n_prompt": option("-p") if i == 0 else 0, "n_gen": option("-n") if i else 0, "gpu_info": "gpu", "cpu_info": "cpu",
                   "backends": "Vulkan" if vulkan else "CPU", "build_number": 7, "build_commit": "abc", "n_threads": 2,
                   "samples_ts": [speeds[i] / slow, speeds[i] / slow, 1000.0]} for i in (0, 1) if option("-n" if i else "-p")]))
"""


class Fakes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="bench-test-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.program("hearth", HEARTH)
        self.program("peer", PEER)
        self.program("hostroof", STEADY, head="#!{python}\nimport json, os\n")
        # the invented programs need no device
        patch = mock.patch.object(machine, "on_device", lambda device, program, *args: [program, *args, "--device", device])
        patch.start()
        self.addCleanup(patch.stop)
        for module in (peer, formats, columns, context, predicted):
            said = mock.patch.object(module.machine, "say", lambda text: None)
            said.start()
            self.addCleanup(said.stop)
        driver = mock.patch.object(peer, "driver", lambda args: "driver 1")
        driver.start()
        self.addCleanup(driver.stop)
        os.environ["LP_NATIVE_VECTOR_WIDTH"] = "512"
        self.addCleanup(os.environ.pop, "LP_NATIVE_VECTOR_WIDTH", None)

    def program(self, name, body, head=FAKE):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(head.format(python=sys.executable, folder=self.folder) + body)
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
        return path

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def call(self, module, *argv):
        """Exit code and report."""
        path = os.path.join(self.folder, "report.md")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            code = module.main([*argv, "-o", path])
        with open(path, encoding="utf-8") as file:
            report = file.read()
        self.assertEqual(printed.getvalue(), report)
        return code, report

    def peer(self, *argv):
        return self.call(peer, "--peer", self.folder, "--hearth", os.path.join(self.folder, "hearth"),
                         "--hostroof", os.path.join(self.folder, "hostroof"), "--model", "m.gguf", *argv)


class Peer(Fakes):
    def test_better_width_of_each_test(self):
        code, report = self.peer("--device", "software", "--pairs", "3", "--want", "prompt=3")
        self.assertEqual(code, 0)
        self.assertRegex(report, r"prompt of 64 +\| +30\.00 \| +10\.00 \(width 128\)( \| +3\.000){3}")
        self.assertRegex(report, r"answer of 16 +\| +15\.00 \| +5\.00 \(width 256\)( \| +3\.000){3}")

    def test_turns(self):
        self.peer("--device", "software", "--pairs", "2")
        self.assertEqual([(who, width) for who, width, *_ in self.log()],
                         [("hearth", None), ("peer", "128"), ("peer", "256"), ("peer", "256"), ("peer", "128"), ("hearth", None)])

    def test_arguments(self):
        self.peer("--device", "all", "--pairs", "1", "-r", "4")
        hearth, first, _, on_cpu, peer_on_cpu = self.log()
        self.assertEqual(hearth[2:], ["bench", "m.gguf", "-p", "64", "-n", "16", "-d", "0", "-r", "4", "--json", "--device", "software"])
        self.assertEqual(first[2:5], ["--lavapipe", "llama-bench", "-m"])
        self.assertEqual(on_cpu[-2:], ["--device", "cpu"])
        self.assertEqual(peer_on_cpu[1:3], [None, "llama-bench"])
        self.assertIn("-fa", peer_on_cpu)

    def test_depth(self):
        _, report = self.peer("--device", "cpu", "--pairs", "1", "-d", "99")
        for run in self.log():
            self.assertEqual(run[run.index("-d") + 1], "99")
        self.assertRegex(report, r"(?m)^\| prompt of 512 after 99 \|")

    def test_below_what_is_wanted(self):
        self.program("hearth", HEARTH.replace("30.0", "9.0"))
        code, report = self.peer("--device", "software", "--pairs", "3")
        self.assertEqual(code, 1)
        self.assertRegex(report, r"(?m)^\| prompt.*4: NOT reached \|$")
        self.assertRegex(report, r"(?m)^\| answer.*2.5: NOT reached \|$")
        code, report = self.peer("--device", "software", "--pairs", "3", "--want", "prompt=2,answer=1.9")
        self.assertEqual(code, 1)
        self.assertRegex(report, r"(?m)^\| prompt.*2: reached \|$")
        self.assertRegex(report, r"(?m)^\| answer.*1.9: NOT reached \|$")

    def changing(self, what):
        """hostroof's numbers by how often it was asked before, `i`."""
        self.program("hostroof", f"""
path = folder + "/asked"
i = int(open(path).read()) if os.path.exists(path) else 0
open(path, "w").write(str(i + 1))
print(json.dumps({what}))
""", head="#!{python}\nimport json, os\nfolder = {folder!r}\n")

    def test_pairs_of_another_state_are_thrown_out(self):
        want = "prompt=0.1,answer=0.1"
        for what in ('{"read_gb_per_s": 50 if i < 2 else 61, "barrier_ns": 40}', '{"read_gb_per_s": 50, "barrier_ns": 81 if i < 2 else 40}'):
            self.changing(what)
            code, report = self.peer("--device", "cpu", "--pairs", "3", "--want", want)
            self.assertEqual(code, 0)
            self.assertIn("others after them: 1\n", report)
            self.assertEqual(len(self.log()), 8)
            for name in "asked", "log":
                os.remove(os.path.join(self.folder, name))
        self.changing('{"read_gb_per_s": 50 if i < 2 or i % 2 else 70, "barrier_ns": 40}')
        code, report = self.peer("--device", "cpu", "--pairs", "2", "--most", "1", "--want", want)
        self.assertEqual(code, 1)  # one pair of two
        self.assertRegex(report, r"(?m)^\| prompt.*0.1: NOT reached \|$")
        self.changing('{"read_gb_per_s": 50 + 50 * (i % 2), "barrier_ns": 40}')
        with self.assertRaisesRegex(machine.Failed, "changed within each"):
            self.peer("--device", "cpu", "--pairs", "1", "--most", "1")

    def test_share_of_memory(self):
        self.assertIn("30.0 GB/s of weights: 0.75 of", self.peer("--device", "cpu", "--pairs", "1")[1])
        self.changing('{"read_gb_per_s": 31 - 2 * (i % 2), "barrier_ns": 40}')
        self.assertIn("30.0 GB/s of weights: 1.00 of", self.peer("--device", "cpu", "--pairs", "1")[1])

    def test_not_on_vulkan(self):
        self.program("peer", PEER.replace('"Vulkan" if vulkan else "CPU"', '"CPU"'))
        with self.assertRaisesRegex(machine.Failed, "not on Vulkan"):
            self.peer("--device", "software", "--pairs", "1")

    def test_failing_programs(self):
        self.program("hearth", "sys.stderr.write('no such model'); sys.exit(3)")
        with self.assertRaisesRegex(machine.Failed, "(?s)ended with 3:.*no such model"):
            self.peer("--device", "cpu")
        self.program("hearth", "print('talk')")
        with self.assertRaisesRegex(machine.Failed, "did not print JSON"):
            self.peer("--device", "cpu")
        self.program("hearth", "print('[]')")
        with self.assertRaisesRegex(machine.Failed, "did not measure pp512"):
            self.peer("--device", "cpu")
        os.remove(os.path.join(self.folder, "peer"))
        with self.assertRaisesRegex(machine.Failed, "no executable `peer`"):
            self.peer("--device", "cpu")


class Formats(Fakes):
    def formats(self, ratios, *argv, names="F"):
        cases = [{"format": f"{names}{i}", "row": "row", "n": 1, "k": 2, "columns": 3, "time_us": 1, "weights_per_s": 1e9, "gb_per_s": 1, "gflop_per_s": 1,
                  "rounds": 3, "ratio": ratio} for i, ratio in enumerate(ratios)]
        text = json.dumps({"device": "d", "driver": "v", "base": "Q4_1", "cases": cases})
        path = self.program("opbench", f"print({text!r})", head="#!{python}\n")
        return self.call(formats, "--opbench", path, *argv)

    def test_reached(self):
        code, report = self.formats([1.0, 0.6, None])
        self.assertEqual(code, 0)
        self.assertIn(": 0.60 (F1", report)
        self.assertIn("reached", report)
        self.assertTrue(re.search(r"F2 .*\| +- \|", report))

    def test_below(self):
        code, report = self.formats([1.0, 0.599, 0.4])
        self.assertEqual(code, 1)
        self.assertIn(": 0.40 (F2", report)
        self.assertIn("2 of 3 are below", report)
        self.assertEqual(self.formats([1.0, 0.599, 0.4], "--least", "0.3")[0], 0)

    def test_what_is_looked_up(self):
        self.assertEqual(self.formats([1.0, 0.35], names="IQ3_")[0], 0)
        code, report = self.formats([0.5, 0.34], names="IQ2_")
        self.assertEqual(code, 1)
        self.assertIn("1 of 2 are below", report)
        self.assertEqual(self.formats([0.5], names="IQ4_")[0], 1)

    def test_nothing_compared(self):
        self.assertEqual(self.formats([None])[0], 1)
        with self.assertRaisesRegex(machine.Failed, "measured nothing"):
            self.formats([])


# What a column takes, by the formula of the test; each run of the program is slower than the one before.
TIMES = """
columns = [int(c) for c in sys.argv[sys.argv.index("--columns") + 1].split(",")]
names = sys.argv[sys.argv.index("--formats") + 1].split(",") if "--formats" in sys.argv else ["A", "B"]
print(json.dumps({"device": "d", "driver": "v", "cases": [{"format": f, "columns": c, "time_us": (FORMULA) * (1 + n / 10)} for c in columns for f in names]}))
"""


class Columns(Fakes):
    def columns(self, formula, *argv):
        path = self.program("opbench", TIMES.replace("FORMULA", formula))
        return self.call(columns, "--opbench", path, *argv)

    def test_line(self):
        code, report = self.columns("1000 + 300 * c")
        self.assertEqual(code, 0)
        self.assertIn("so of all 2 formats", report)
        self.assertRegex(report, r"\| A +\| +1\.43 \| +1\.76 ")  # the best of three passes is the first one's
        self.assertEqual([line[line.index("--columns") + 1].split(",")[0] for line in self.log()], ["1"] + ["1", "16", "1"] * 2)

    def test_steps_within_a_line(self):
        self.assertEqual(self.columns("1000 + 1000 * ((c + 1) // 2)")[0], 0)

    def test_cliff(self):
        code, report = self.columns("(1000 + 300 * c) * (1.6 if c > 4 and f == 'B' else 1)")
        self.assertEqual(code, 1)
        self.assertIn("not so of B.", report)
        self.assertEqual(self.columns("(1000 + 300 * c) * (1.6 if c > 4 else 1)", "--line", "0.3")[0], 0)

    def test_fall(self):
        self.assertEqual(self.columns("5000 - (c == 9) * 200")[0], 0)
        self.assertEqual(self.columns("5000 - (c == 9) * 300")[0], 1)
        self.assertEqual(self.columns("5000 - 40 * c")[0], 1)  # little by little, too

    def test_distance(self):
        self.assertLess(columns.distance([10.0 + 3 * c for c in range(16)]), 1e-3)
        self.assertAlmostEqual(columns.distance([1.0, 1.0, 2.0, 1.0, 1.0]), 1 / 3, places=3)
        self.assertTrue(columns.fits([1.0, 1.5, 2.0], 0.0))
        self.assertFalse(columns.fits([1.0, 2.0, 1.0], 0.3))


# Kernels of a context of d tokens: attention of each token, and all else by the formula of the test; the first pass is the fastest.
DEEP = """
d = option("-d")
print(json.dumps([{"test": t, "device": "gpu", "kernels": [
    {"kernel": "attention_f16", "time_us": tokens * (100 + d / 2) * (1 + n / 100)}, {"kernel": "matvec", "time_us": tokens * 700 * (1 + n / 100)},
    {"kernel": "add", "time_us": tokens * (FORMULA) * (1 + n / 100)}]} for t, tokens in (("pp64", 64), ("tg16", 1))]))
"""


class Context(Fakes):
    def context(self, formula, *argv):
        path = self.program("hearth", DEEP.replace("FORMULA", formula))
        return self.call(context, "m.gguf", "--hearth", path, "--depths", "0,1000,2000", *argv)

    def test_attention_alone_grows(self):
        code, report = self.context("300")
        self.assertEqual(code, 0)
        self.assertRegex(report, r"\| +0 \| +0\.100 \| +1\.000 \| +1\.100 \|\n\| +1000 \| +0\.606 \| +1\.010 ")
        self.assertIn("0.511 µs more for each token before. All else: at most 2.0 % more", report)
        self.assertEqual([line[line.index("-d") + 1] for line in self.log()], ["0", "1000", "2000"] + ["2000", "1000", "0"] + ["0", "1000", "2000"])
        with open(os.path.join(self.folder, "report.svg"), encoding="utf-8") as file:
            drawn = file.read()
        self.assertEqual(drawn.count("<polygon"), 4)
        xml.dom.minidom.parseString(drawn)

    def test_something_else_grows(self):
        code, report = self.context("300 + 200 * (d == 1000)")
        self.assertEqual(code, 1)
        self.assertIn("wanted 10 % at most: NOT so", report)
        self.assertEqual(self.context("300 + 200 * (d == 1000)", "--grows", "0.25")[0], 0)

    def test_failing_programs(self):
        path = self.program("hearth", "print('[]')")
        with self.assertRaisesRegex(machine.Failed, "measured nothing"):
            self.call(context, "m.gguf", "--hearth", path)
        for depths in ("0", "5,1", "1,x", "-1,1"):
            with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
                self.call(context, "m.gguf", "--depths=" + depths)


# A little slower in each turn, as is what it expects; the device has what --vram lets it have of 1000 bytes, and that is predicted
# badly. Runs whose number is in JUMPS expect twice as much.
PLANNED = """
slow = (1 + n / 1e5) / (2 if n in JUMPS else 1)
part = option("--vram") / 1000 if "--vram" in sys.argv else 1.0
off = SPLIT if 0.1 < part < 0.9 else WHOLE
print(json.dumps([{"test": "%s%d" % (t, option(o)), "tokens_per_s": s / slow, "expected_tokens_per_s": s / slow / off, "estimated": False,
                   "device_bytes": 1000} for t, o, s in (("pp", "-p", 60.0), ("tg", "-n", 30.0)) if option(o)]))
"""


class Predicted(Fakes):
    def predicted(self, whole, split, *argv, jumps=()):
        path = self.program("hearth", PLANNED.replace("SPLIT", str(split)).replace("WHOLE", str(whole)).replace("JUMPS", str(jumps)))
        return self.call(predicted, "--hearth", path, "m.gguf", *argv)

    def test_reached(self):
        code, report = self.predicted(0.95, 1.2)
        self.assertEqual(code, 0)
        self.assertEqual(len(re.findall(r" 0\.950 \| 0\.950 \| 0\.950 \| +0 \| +0\.950 \| ±10 %: reached \|", report)), 4)
        self.assertEqual(len(re.findall(r" 1\.200 \| 1\.200 \| 1\.200 \| +0 \| +1\.200 \| ±25 %: reached \|", report)), 6)

    def test_not_reached(self):
        self.assertEqual(self.predicted(0.89, 1.2, "--turns", "1")[0], 1)
        self.assertEqual(self.predicted(1.11, 1.2, "--turns", "1")[0], 1)
        code, report = self.predicted(1.0, 0.74, "--turns", "1")
        self.assertEqual(code, 1)
        self.assertEqual(len(re.findall("NOT reached", report)), 6)

    def test_order(self):
        self.predicted(1, 1, "--turns", "5", "--vram", "0,50,100", "--device", "vulkan:3")
        limits = [line[line.index("--vram") + 1] if "--vram" in line else None for line in self.log()]
        # all of it comes first, so that the device has room to be measured; so many turns of each and one run more, then the rest
        visit = lambda limit, turns: ([None, limit] if limit else [None]) * (turns + 1)
        self.assertEqual(limits, [None] + visit("1", 4) + visit("500", 4) + visit(None, 4) + visit(None, 1) + visit("500", 1) + visit("1", 1))
        self.assertTrue(all(line[-2:] == ["--device", "vulkan:3"] for line in self.log()))

    def test_turns_in_which_the_machine_changed(self):
        code, report = self.predicted(1, 1, "--turns", "3", "--vram", "100", jumps=(2,))
        self.assertEqual(code, 0)
        self.assertEqual(len(re.findall(r" 1\.000 \| 1\.000 \| 1\.000 \| +2 \| +1\.000 \| ±10 %: reached \|", report)), 2)
        code, report = self.predicted(1, 1, "--turns", "3", "--vram", "100", "--most", "2", jumps=tuple(range(1000))[::2])
        self.assertEqual(code, 1)
        self.assertEqual(len(re.findall(r" +9 \| +[0-9.]+ \| ±10 %: NOT reached \(0 turns\)", report)), 2)

    def test_kept_rates(self):
        code, report = self.predicted(1, 1, "--turns", "3", "--vram", "100", "--keep", jumps=(2,))
        self.assertEqual(code, 0)
        self.assertIn("corrected by what was achieved", report)
        self.assertRegex(report, r"\|\s+0 \|\s+[0-9.]+ \|\s+±10 %: reached \|")  # the jump threw no turn out

    def test_only_measured_rates_count(self):
        path = self.program("hearth", PLANNED.replace("SPLIT", "1").replace("WHOLE", "1").replace("JUMPS", "()").replace("False", "True"))
        with self.assertRaisesRegex(machine.Failed, "m.gguf at 0 %: hearth bench has no prediction"):
            self.call(predicted, "--hearth", path, "m.gguf")


class Machine(unittest.TestCase):
    def test_table(self):
        self.assertEqual(machine.table(["a", "b"], [["x", "1.5"], ["yy", "22"]]),
                         ["| a  |   b |", "|----|----:|", "| x  | 1.5 |", "| yy |  22 |"])

    def test_environment(self):
        with mock.patch.dict(os.environ, {"A": "1", "B": "2"}):
            env = machine.environment(A=None, B="3", C="4")
        self.assertEqual((env.get("A"), env["B"], env["C"]), (None, "3", "4"))

    def test_report_goes_to_results(self):
        with tempfile.TemporaryDirectory(prefix="bench-test-") as folder:
            with mock.patch.object(machine, "RESULTS", folder), contextlib.redirect_stdout(io.StringIO()):
                machine.publish(["a", "b"], "r.md")
            with open(os.path.join(folder, "r.md"), encoding="utf-8") as file:
                self.assertEqual(file.read(), "a\nb\n")


if __name__ == "__main__":
    unittest.main()
