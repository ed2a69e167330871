#!/usr/bin/env python3
"""Tests of bench/isa.py and bench/instructions with small listings written for them: blocks, loops, kinds, what is compared and refused."""
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import re
import sys
import tempfile
import unittest
from unittest import mock
from xml.dom import minidom

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import isa  # noqa: E402
import instructions_draw  # noqa: E402

loader = importlib.machinery.SourceFileLoader("bench_instructions", os.path.join(HERE, "instructions"))
instructions = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
loader.exec_module(instructions)

# A matvec as each compiler prints one: before the loop, the loop (B1, with a branch to B2 in it), behind it.
BRW = """SIMD16 program that was dropped
Native code for unnamed compute shader (null) (src_hash 0x1)
SIMD16 shader: 2 instructions. 0 loops. 20 cycles. 0:0 spills:fills
   START B0 (20 cycles)
mov(16)         g1<1>UD         0x0UD                           { align1 1H };
mov(16)         g2<1>UD         0x0UD                           { align1 1H };
   END B0
Native code for unnamed compute shader (null) (src_hash 0x1)
SIMD8 shader: 14 instructions. 1 loops. 1242 cycles. 0:0 spills:fills, 2 sends
   START B0 (22 cycles)
mov(8)          g1<1>UD         g0<0,1,0>UD                     { align1 1Q };
add(8)          g2<1>D          g1<8,8,1>D      1D              { align1 1Q };
   END B0 ->B1
   START B1 <-B0 <-B3 (900 cycles)

LABEL1:
sync nop(1)                     null<0,1,0>UB                   { align1 WE_all 1N $4.src };
send(8)         g7UD            g9UD            nullUD          0x62403500                a0.1<0>UD
                ugm MsgDesc: ( load, a32, d32, V4, L1STATE_L3MOCS dst_len = 4, src0_len = 1, bti )  BTI 0 { align1 1Q $9 };
and(8)          g10<1>UD        g7<8,8,1>UD     0x0000000fUD    { align1 1Q $9.dst };
mov(8)          g11<1>F         g10<32,8,4>UB                   { align1 1Q };
mov(8)          g12<1>UD        g10.1<32,8,4>UB                 { align1 1Q };
mad(8)          g13<1>F         g13<8,8,1>F     g11<8,8,1>F     g8<1,1,1>F { align1 1Q };
(+f0.0) if(8)   JIP:  LABEL2          UIP:  LABEL2              { align1 1Q };
   END B1 ->B2 ->B3
add(8)          g20<1>F         g20<8,8,1>F     g11<8,8,1>F     { align1 1Q };
   END B2 ->B3
   START B3 <-B1 <-B2 (300 cycles)
LABEL2:
mul(8)          g21<1>D         g20<8,8,1>D     9W              { align1 1Q };
cmp.l.f0.0(8)   null<1>D        g21<8,8,1>D     g1<0,1,0>D      { align1 1Q };
(+f0.0) while(8) JIP:  LABEL1                                   { align1 1Q };
   END B3 ->B1
   START B4 (20 cycles)
mov(8)          g30<1>F         g13<8,8,1>F                     { align1 1Q };
send(8)         nullUD          g30UD           nullUD          0x02000010                0x00000000
                ugm MsgDesc: ( store, a32, d32, V1, L1STATE_L3MOCS dst_len = 0, src0_len = 1, bti )  BTI 0 { align1 1Q };
   END B4
"""
ACO = """After lowering to hw instructions:
ACO shader stage: SW (CS), HW (COMPUTE_SHADER)
BB0
/* logical preds: / linear preds: / kind: uniform, top-level, loop-preheader, */
        (  1 clk)   s0 = s_mov_b32 s3
BB1
/* logical preds: BB0, BB2, / linear preds: BB0, BB2, / kind: loop-header, */
        (  1 clk)   v[4-7] = buffer_load_dwordx4 s[28-31], v7, 0 offen storage:buffer semantics:private,reorder
        (252 clk)   s_waitcnt vmcnt(0)
        (  1 clk)   v1 = v_and_b32 0xf0f0f0f, v4
        (  1 clk)   v2 = v_cvt_f32_ubyte0 v1
        (  1 clk)   s_delay_alu valu_dep_1
        (  4 clk)   v93 = v_dual_fmac_f32 v15, v38, v93 ::v14 = v_dual_add_f32 v14, v37
        (  2 clk)   v3 = v_fma_mix_f32 lo(v1), v2, v3
        (  1 clk)   exec = v_cmpx_le_u32 s1, v0
BB2
/* logical preds: BB1, / linear preds: BB1, / kind: loop-latch, */
        (  3 clk)   v0 = v_add_u32 32, v0
        (  2 clk)   s_branch block:BB1
BB3
/* logical preds: BB1, / linear preds: BB1, / kind: loop-exit, */
        (  5 clk)   ds_write_b32 v2, v0 storage:shared
        (  1 clk)   s_endpgm
latency: 300.0
"""
NAK = """NAK IR after calc_instr_deps:
block.u 0 L2 [] -> {
      ur0       = s2r sr[0x25]                              // delay=1 wr:0
} -> [1]
block 1 L21 [0, 1] -> {
      r44..48   = ld.global.a64.constant.b128 [r48..50], pT // delay=2 wr:0
      r6        = prmt r44 0x4440 rZ                        // delay=5 wt=000001
      r2        = i2f.f32.u32.re r6                         // delay=2 wr:0
      r0        = ffma.ftz r2 r0 r1                         // delay=4 wt=000001
                  nop L32                                   // delay=1
@!p0              bra pT L21                                // delay=1
} -> [2, 1]
block 2 L3 [1] -> {
                  exit                                      // delay=1
} -> []
Encoded shader:
"""
# A tile: a step loop (1) with barriers, in it a loop that reads x (2) and one that multiplies (4).
TILE = """After lowering to hw instructions:
BB0
/* logical preds: / linear preds: / kind: */
        (  1 clk)   s0 = s_mov_b32 s3
BB1
/* logical preds: BB0, BB5, / linear preds: BB0, BB5, / kind: loop-header, */
        (  1 clk)   v1 = buffer_load_dword s[28-31], v7, 0 offen storage:buffer
BB2
/* logical preds: BB1, BB2, / linear preds: BB1, BB2, / kind: loop-header, */
        (  1 clk)   v[4-7] = buffer_load_dwordx4 s[28-31], v7, 0 offen storage:buffer
        (  1 clk)   ds_write_b128 v2, v[4-7] storage:shared
BB3
/* logical preds: BB2, / linear preds: BB2, / kind: */
        ( 10 clk)   s_barrier
BB4
/* logical preds: BB3, BB4, / linear preds: BB3, BB4, / kind: loop-header, */
        (  1 clk)   v2 = ds_read_b32 v0 storage:shared
        (  1 clk)   v3 = v_dot4_i32_iu8 v2, v1, v3
        (  1 clk)   v4 = v_dot4_i32_iu8 v2, v1, v4
        (  1 clk)   v5 = v_fmac_f32 v2, v1
BB5
/* logical preds: BB4, / linear preds: BB4, / kind: loop-latch, */
        (  1 clk)   s_barrier
        (  1 clk)   s_branch block:BB1
BB6
/* logical preds: BB5, / linear preds: BB5, / kind: */
        (  1 clk)   s_endpgm
"""


def kinds_of(listing):
    return {kind: listing.count(kinds={kind}) for kind in isa.KINDS if listing.count(kinds={kind})}


class Listings(unittest.TestCase):
    def test_brw(self):
        listing = isa.parse_brw(BRW)
        self.assertEqual((listing.lanes, listing.stated, listing.count()), (8, 14, 15))
        self.assertEqual(kinds_of(listing), {"load": 1, "store": 1, "fma": 1, "float": 1, "convert": 1, "bits": 2, "integer": 2, "move": 2,
                                             "flow": 3, "wait": 1})
        self.assertEqual(listing.loops, {"1": {"1", "2", "3"}})
        cost = isa.cost_of(listing, isa.main_loop(listing))
        self.assertEqual((cost.instructions, cost.waits, cost.cycles), (10, 1, 120.0))

    def test_brw_without_a_program(self):
        for text in ("", "NIR for nothing\n", "Native code for x\nand no head\n"):
            with self.assertRaises(isa.Unreadable):
                isa.parse_brw(text)

    def test_brw_counts_products_of_matrices(self):
        one = isa.brw_instruction("dpas.8x8", 16, "g1<1>F g1<1>F g2<1>HF g3<1>HF", "")
        self.assertEqual((one.macs, one.whole), (8 * 16 * 16, True))
        one = isa.brw_instruction("dpas.8x8", 8, "g1<1>D g1<1>D g2<1>B g3<1>B", "")
        self.assertEqual(one.macs, 8 * 8 * 32)

    def test_brw_tells_memories_apart(self):
        for message, kind in (("slm MsgDesc: ( load, a32", "shared"), ("hdc1 MsgDesc: (DC untyped surface write, Surface = 254, SIMD8", "shared"),
                              ("hdc0 MsgDesc: (DC OWORD block read, bti 254", "shared"), ("hdc1 MsgDesc: (DC untyped surface write, Surface = 2", "store"),
                              ("ugm MsgDesc: ( load, a64", "load"), ("gateway MsgDesc: (barrier msg)", "wait"), ("slm MsgDesc: ( fence, a32", "wait")):
            self.assertEqual(isa.brw_instruction("send", 8, "g7UD g9UD", message).kind, kind, message)

    def test_aco(self):
        listing = isa.parse_aco("== old\nAfter lowering to hw instructions:\nBB0\n" + ACO)
        self.assertEqual(listing.count(), 13)
        cost = isa.cost_of(listing, isa.main_loop(listing))
        self.assertEqual((cost.instructions, cost.waits, cost.cycles), (8, 2, 268.0))
        self.assertEqual(cost.kinds, {"load": 1, "bits": 1, "convert": 1, "fma": 2, "integer": 1, "flow": 2})

    def test_nak(self):
        listing = isa.parse_nak(NAK)
        self.assertEqual(listing.count(), 8)
        cost = isa.cost_of(listing, isa.main_loop(listing))
        self.assertEqual((cost.instructions, cost.waits, cost.cycles), (5, 1, 15.0))
        self.assertEqual(cost.kinds, {"load": 1, "bits": 1, "convert": 1, "fma": 1, "flow": 1})

    def test_a_block_that_is_not_there(self):
        with self.assertRaisesRegex(isa.Unreadable, "goes to 7"):
            isa.parse_nak(NAK.replace("-> [2, 1]", "-> [7, 1]"))

    def test_check_listing(self):
        aco = isa.parse_aco(ACO)
        isa.check_listing(aco, 13)
        for stated in (12, 14):
            with self.assertRaises(isa.Unreadable):
                isa.check_listing(aco, stated)
        brw = isa.parse_brw(BRW)
        isa.check_listing(brw, 14.5)  # of its waits some are counted
        with self.assertRaisesRegex(isa.Unreadable, "14 instructions are listed, and the driver says 15"):
            isa.check_listing(brw, 15)


class Tiles(unittest.TestCase):
    def test_rounds(self):
        listing = isa.parse_aco(TILE)
        header = isa.step_loop(listing)
        self.assertEqual((header, isa.inner_names(listing, header)), ("1", ["2", "4"]))
        rounds = isa.tile_rounds(listing, header, 32, 32, [3])
        self.assertEqual(rounds, {"2": 3, "4": 4})  # 8 multiply-adds a round
        cost = isa.cost_of(listing, header, rounds)
        self.assertEqual(cost.instructions, 1 + 3 * 2 + 4 * 4 + 1)

    def test_not_all_multiply_adds_are_found(self):
        listing = isa.parse_aco(TILE)
        with self.assertRaisesRegex(isa.Unreadable, "8 multiply-adds of a lane"):
            isa.tile_rounds(listing, "1", 30, 32, [3])
        with self.assertRaisesRegex(isa.Unreadable, "1 loops read memory, where 2"):
            isa.tile_rounds(listing, "1", 32, 32, [3, 1])

    def test_no_loop(self):
        with self.assertRaisesRegex(isa.Unreadable, "no loop with a barrier"):
            isa.step_loop(isa.parse_aco(ACO))
        with self.assertRaisesRegex(isa.Unreadable, "no loop"):
            isa.main_loop(isa.parse_nak(NAK.replace("-> [2, 1]", "-> [2]")))

    def test_new_rows_say_what_x_is(self):
        item = {"row": "matmul_new", "specialization": {"GROUP": 128, "BM": 64, "BN": 32, "UNITS": 1}}
        with self.assertRaisesRegex(isa.Unreadable, "matmul_new.*X_BYTES"):
            instructions.load_rounds(item)
        self.assertEqual(instructions.load_rounds(item | {"row": "matmul_int"}), [1])
        self.assertEqual(instructions.load_rounds(item | {"row": "matmul_coop_f16"}), [1, 1])


def entry(n, cycles=100.0):
    return {"instructions": n, "cycles": cycles, "waits": 1.0, "simd": 8, "occupancy": 0}


def table(n=100.0, cycles=100.0):
    return {"a770": {"matvec_f32": {"Q4_K": {"buffers": entry(n, cycles), "addresses": entry(2 * n)}}, "matmul_int": {"Q4_0": {"buffers": entry(5.0)}}},
            "navi31": {"matvec_f32": {"Q4_K": {"buffers": entry(50.0)}}}}


class Compared(unittest.TestCase):
    def test_four_percent_more(self):
        grown, missing, better = instructions.compare(table(), table(104.0))
        self.assertEqual(grown[0], "a770 matvec_f32 Q4_K buffers: instructions 100 before, 104 after (+4.0 %)")
        self.assertEqual((len(grown), missing, better), (2, [], []))
        self.assertEqual(len(instructions.compare(table(), table(cycles=104.0))[0]), 1)

    def test_two_percent_more(self):
        self.assertEqual(instructions.compare(table(), table(102.0)), ([], [], []))

    def test_less_is_told(self):
        grown, missing, better = instructions.compare(table(), table(90.0))
        self.assertEqual((grown, missing, len(better)), ([], [], 2))

    def test_what_the_table_lacks(self):
        before = table()
        del before["navi31"]
        self.assertEqual(instructions.compare(before, table())[1], ["navi31 matvec_f32 Q4_K buffers: not in the table"])

    def test_spills_and_occupancy(self):
        before, after = table(), table()
        after["navi31"]["matvec_f32"]["Q4_K"]["buffers"] |= {"spills": 3}
        before["a770"]["matmul_int"]["Q4_0"]["buffers"]["occupancy"] = 8
        self.assertEqual(instructions.compare(before, after)[0], ["a770 matmul_int Q4_0 buffers: occupancy 8 before, 0 after",
                                                                 "navi31 matvec_f32 Q4_K buffers: spills 0 before, 3 after"])
        self.assertEqual(instructions.compare(after, before)[0], [])

    def test_what_no_longer_compiles(self):
        after = table()
        after["navi31"]["matvec_f32"]["Q4_K"]["buffers"] = None
        self.assertEqual(instructions.compare(table(), after)[0], ["navi31 matvec_f32 Q4_K buffers: no longer compiles"])
        self.assertEqual(instructions.compare(after, table()), ([], [], []))


class Whole(unittest.TestCase):
    """The program, with measured cards invented."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="instructions-test-")
        self.addCleanup(folder.cleanup)
        self.results = os.path.join(folder.name, "instructions")
        self.bad = []
        for name, value in (("driver", lambda args: self.version), ("measure", lambda args, card: (self.cards.get(card, {}), self.bad))):
            patch = mock.patch.object(instructions, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        said = mock.patch.object(instructions.machine, "say", lambda text: None)
        said.start()
        self.addCleanup(said.stop)
        os.environ.pop("HEARTH_REQUIRE_GOLDEN", None)
        self.version, self.cards = "Mesa 1", table()
        self.assertEqual(self.run_with()[0], 0)

    def run_with(self, *options):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            code = instructions.main(["--cards", "a770,navi31", "--hw", sys.executable, "--results", self.results, *options])
        return code, printed.getvalue()

    def written(self):
        with open(self.results + ".json", encoding="utf-8") as file:
            return json.load(file)

    def test_table_and_picture(self):
        self.assertEqual(self.written(), {"driver": "Mesa 1", "reasons": [], "cards": self.cards})
        with open(self.results + ".md", encoding="utf-8") as file:
            text = file.read()
        self.assertRegex(text, r"\| matvec_f32 \| Q4_K   \| 100 / 200 \|")
        self.assertRegex(text, r"\| matmul_int \| Q4_0   \| 5\.0 / - \|")
        drawn = minidom.parse(self.results + ".svg")
        shown = [node.firstChild.data for node in drawn.getElementsByTagName("text")]
        self.assertTrue({"a770", "navi31", "Q4_K", "100", "5.0"} <= set(shown))

    def test_cells_are_shaded_beside_cards_that_compare(self):
        cards = {name: {"matvec_f32": {"Q8_0": {"buffers": entry(n) | {"simd": lanes}}}}
                 for name, n, lanes in (("skl", 50.0, 8), ("a770", 75.0, 8), ("b580", 200.0, 16), ("ptl", 900.0, 16), ("navi31", 10.0, 32))}
        drawn = minidom.parseString(instructions_draw.picture({"driver": "Mesa 1", "cards": cards}))
        shades = [node.getAttribute("opacity") for node in drawn.getElementsByTagName("rect")]
        self.assertEqual(shades, ["0.06", "0.31", "0.06", "0.56", "0.06"] + 5 * ["0.06"])  # cycles are all alike
        shown = [node.firstChild.data for node in drawn.getElementsByTagName("text")]
        self.assertTrue({"Intel, 8 lanes", "Intel, 16 lanes", "AMD, 32 lanes"} <= set(shown))

    def test_check(self):
        self.assertEqual(self.run_with("--check")[0], 0)
        self.cards = table(104.0)
        code, text = self.run_with("--check")
        self.assertEqual(code, 1)
        self.assertIn("a770 matvec_f32 Q4_K buffers: instructions 100 before, 104 after (+4.0 %)", text)
        self.cards = table(102.0)
        self.assertEqual(self.run_with("--check")[0], 0)
        self.bad = ["a770 matvec_f32 Q4_K buffers: Spills 3"]
        self.assertEqual(self.run_with("--check")[0], 1)
        self.assertEqual(self.written()["cards"], table())

    def test_nothing_measured_is_no_success(self):
        self.cards = {}
        self.assertEqual(self.run_with("--check")[0], 1)

    def test_what_is_no_longer_chosen(self):
        self.cards = table()
        del self.cards["a770"]["matmul_int"]
        code, text = self.run_with("--check")
        self.assertEqual(code, 1)
        self.assertIn("a770 matmul_int Q4_0 buffers: no longer chosen", text)
        for options in (("--tile-formats", "Q8_0"), ("--tile-formats", "")):  # which it was not asked about
            self.assertEqual(self.run_with("--check", *options)[0], 0)
        self.assertEqual(self.run_with()[0], 0)
        self.assertEqual(self.written()["cards"], self.cards)

    def test_a_part_leaves_the_rest(self):
        self.cards = {"a770": {"matvec_f32": {"Q8_0": {"buffers": entry(70.0)}}}, "navi31": {}}
        self.assertEqual(self.run_with("--formats", "Q8_0", "--tile-formats", "")[0], 0)
        whole = table()
        whole["a770"]["matvec_f32"]["Q8_0"] = {"buffers": entry(70.0)}
        self.assertEqual(self.written()["cards"], whole)
        self.cards = {"a770": {"matvec_f32": {"Q4_K": {"buffers": entry(90.0)}}}, "navi31": {}}
        self.assertEqual(self.run_with("--formats", "Q4_K", "--tile-formats", "", "--cards", "a770")[0], 0)
        whole["a770"]["matvec_f32"]["Q4_K"] = {"buffers": entry(90.0)}
        self.assertEqual(self.written()["cards"], whole)

    def test_growth_wants_a_reason(self):
        self.cards = table(104.0)
        code, text = self.run_with()
        self.assertEqual((code, self.written()["cards"]), (1, table()))
        self.assertIn("say why with --reason", text)
        self.assertEqual(self.run_with("--reason", "it is right now")[0], 0)
        self.assertEqual(self.written()["cards"], self.cards)
        self.assertRegex(self.written()["reasons"][0], r"^it is right now \(2 entries, first: a770 matvec_f32 Q4_K buffers: .*\+4\.0 %\)\)$")

    def test_another_driver(self):
        self.version = "Mesa 2"
        self.assertEqual(self.run_with("--check")[0], instructions.SKIPPED)
        with mock.patch.dict(os.environ, HEARTH_REQUIRE_GOLDEN="1"):
            self.assertEqual(self.run_with("--check")[0], 1)

    def test_compilers_are_not_mixed(self):
        self.version = "Mesa 2"
        for options in (("--cards", "a770"), ("--tile-formats", "")):
            code, text = self.run_with(*options)
            self.assertEqual((code, self.written()["driver"]), (1, "Mesa 1"))
            self.assertIn("the table is of Mesa 1, and here is Mesa 2", text)
        self.assertEqual(self.run_with()[0], 0)
        self.assertEqual(self.written()["driver"], "Mesa 2")

    def test_no_stand_ins(self):
        self.assertEqual(self.run_with("--hw", "/nowhere")[0], instructions.SKIPPED)


class Read(unittest.TestCase):
    def test_programs_are_told_apart(self):
        found = {}
        text = "loading\n== 0\nNAK IR:\nold\n" + NAK + "more\n== 1\n" + BRW + "== 2\nfailed\n"
        instructions.read_programs(io.StringIO(text), found.__setitem__)
        self.assertEqual(list(found), [0, 1, 2])
        self.assertEqual(instructions.parse(found[0]).count(), 8)
        self.assertEqual(instructions.parse(found[1]).lanes, 8)
        with self.assertRaisesRegex(isa.Unreadable, "no compiler"):
            instructions.parse(found[2])

    def test_steps_of_formats(self):
        self.assertEqual([instructions.quant_step(f"matvec_{name}") for name in ("q4_k", "q4_0_addr", "q2_k", "q6_k_addr")], [2, 1, 2, 2])

    def test_entry(self):
        item = {"row": "matvec_f32", "blob": "matvec_q4_k", "specialization": {"COLS": 1, "ROWS": 2}, "subgroup_size": 32, "stats": {"Instructions": 13}}
        found = instructions.entry_of(item, ACO)
        self.assertEqual((found["instructions"], found["cycles"], found["waits"], found["simd"]), (2.0, 67.0, 0.5, 32))
        with self.assertRaises(isa.Unreadable):
            instructions.entry_of(item | {"stats": {"Instructions": 20}}, ACO)

    def test_every_card_is_drawn(self):
        self.assertEqual(sorted(instructions.CARDS), sorted(card for _, _, names in instructions_draw.VENDORS for card in names))
        self.assertLessEqual(set(instructions.DAILY), set(instructions.CARDS))


class Committed(unittest.TestCase):
    """What lies in bench/results, and what docs/shaders.md says of it."""

    def setUp(self):
        with open(os.path.join(instructions.machine.RESULTS, "instructions.json"), encoding="utf-8") as file:
            self.table = json.load(file)

    def test_words_and_picture_are_of_the_table(self):
        for ending, text in instructions.files_of(self.table).items():
            with open(os.path.join(instructions.machine.RESULTS, "instructions" + ending), encoding="utf-8") as file:
                self.assertEqual(file.read(), text, ending)

    def test_every_card_is_there(self):
        self.assertEqual(list(self.table["cards"]), list(instructions.CARDS))

    def test_numbers_of_the_documentation(self):
        cards = ("a770", "b580", "navi21", "navi31", "gfx1201")
        with open(os.path.join(instructions.machine.ROOT, "docs", "shaders.md"), encoding="utf-8") as file:
            lines = re.findall(r"^\| (\w+) +\|((?: +[\d.]+ / [\d.]+ \|){5})$", file.read(), re.M)
        self.assertEqual([kind for kind, _ in lines], ["Q4_K", "Q6_K", "Q8_0", "MXFP4"])
        for kind, cells in lines:
            found = [self.table["cards"][card]["matvec_f32"][kind]["buffers"]["instructions"] / 32 for card in cards]
            said = [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) / ([\d.]+)", cells)]
            for card, now, (number, least) in zip(cards, found, said):
                self.assertAlmostEqual(now, number, delta=0.0051, msg=f"{kind} on {card}")
                self.assertLess(least, now)


if __name__ == "__main__":
    unittest.main()
