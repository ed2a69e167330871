"""Listings of machine instructions as three compilers print them: brw (Intel, INTEL_DEBUG=cs), ACO (AMD, ACO_DEBUG=perfinfo) and
NAK (NVIDIA's chips, NAK_DEBUG=print), of Mesa 25 and later. Finds blocks and loops, and counts what is in them by kind."""
import re
from collections import Counter, namedtuple

# What instructions do. "wait" issues nothing that computes: it is counted apart everywhere.
KINDS = ("load", "store", "shared", "fma", "float", "convert", "bits", "integer", "move", "flow", "scalar", "wait")


class Unreadable(Exception):
    """The listing is not as it was when this was written."""


# macs: multiply-adds of a lane, or with `whole` of all lanes of a subgroup together.
Instruction = namedtuple("Instruction", "name kind macs whole barrier", defaults=(0, False, False))


class Block:
    def __init__(self, name):
        self.name, self.next, self.instructions, self.cycles = name, [], [], 0.0


class Listing:
    """Blocks by name, in order. `stated` is how many instructions the listing itself says there are, where it does."""

    def __init__(self, blocks, counts_waits, stated=None):
        if not blocks:
            raise Unreadable("no block of instructions")
        self.blocks = {block.name: block for block in blocks}
        self.counts_waits, self.stated = counts_waits, stated
        order = {name: i for i, name in enumerate(self.blocks)}
        before = {name: [] for name in self.blocks}
        for block in blocks:
            for name in block.next:
                if name not in order:
                    raise Unreadable(f"block {block.name} goes to {name}, which is not there")
                before[name].append(block.name)
        self.loops = {}  # header: names of its blocks
        for block in blocks:
            for header in block.next:
                if order[header] <= order[block.name]:
                    self.loops.setdefault(header, {header}).update(body(before, header, block.name))

    def count(self, names=None, kinds=None):
        return sum(1 for name in (names or self.blocks) for i in self.blocks[name].instructions if not kinds or i.kind in kinds)

    def inner(self, header):
        """Headers of the loops that lie within a loop."""
        return [h for h in self.loops if h != header and self.loops[h] < self.loops[header]]


def body(before, header, latch):
    """The blocks from which the latch is reached without passing the header."""
    found, open_ends = {header, latch}, [latch]
    while open_ends:
        name = open_ends.pop()
        for previous in before[name] if name != header else ():
            if previous not in found:
                found.add(previous)
                open_ends.append(previous)
    return found


def check_listing(listing, stated):
    """Raises Unreadable where a listing has not as many instructions as the driver's statistics say. brw's statistics leave most
    of its waits out, but not all: up to 4.6 % more were seen."""
    listed = listing.count() if listing.counts_waits else listing.count(kinds=set(KINDS) - {"wait"})
    if abs(listed - stated) > 0.05 * stated:
        raise Unreadable(f"{listed} instructions are listed, and the driver says {stated:g}")


# --- brw: Intel -------------------------------------------------------------------------------------------------------------------

BRW_HEAD = re.compile(r"^SIMD(\d+) shader: (\d+) instructions\. \d+ loops\. (\d+) cycles")
BRW_START = re.compile(r"^ +START B(\d+) .*\((\d+) cycles\)")
BRW_END = re.compile(r"^ +END B(\d+)((?: ->B\d+)*)")
BRW_LINE = re.compile(r"^(?:\([^)]*\) *)?([a-z][\w.]*)(?:\((\d+)\))?\s+(.*)$")
BRW_TYPES = re.compile(r"(?:>|\d)(UB|UW|UD|UQ|B|W|D|Q|HF|F|DF|BF)\b")
BRW_FLOW = ("if", "else", "endif", "while", "break", "do", "cont", "halt", "jmpi", "goto", "join", "brd", "brc", "cmp")


def brw_instruction(name, lanes, rest, message):
    word = name.split(".")[0]
    types = BRW_TYPES.findall(rest.split("{")[0])
    to, floats = (types[0] if types else ""), {"F", "HF", "DF", "BF"}
    if word in ("sync", "nop", "wait"):
        return Instruction(name, "wait")
    if word in ("send", "sends", "sendc", "sendsc"):
        barrier = "barrier msg" in message
        if barrier or "fence" in message or "memory fence" in message:
            return Instruction(name, "wait", barrier=barrier)
        if message.lstrip().startswith("slm") or re.search(r"Surface = 254\b|\bbti 254\b", message):
            return Instruction(name, "shared")
        return Instruction(name, "store" if re.search(r"\bstore\b|\bwrite\b|atomic", message) else "load")
    if word == "dpas":
        # systolic depth × repeat count: eight packed words of two halves or four bytes deep, so many rows
        depth, repeat = (int(n) for n in name.split(".")[1].split("x"))
        deep = depth * (4 if re.search(r">(UB|B)\b", rest) else 2)
        return Instruction(name, "fma", macs=deep * repeat * lanes, whole=True)
    if word == "dp4a":
        return Instruction(name, "fma", macs=4)
    if word in ("mad", "mac", "madm"):
        return Instruction(name, "fma", macs=1) if to in floats else Instruction(name, "integer")
    if word == "mul" and to == "HF":
        return Instruction(name, "float", macs=1)  # a multiply-add to zero
    if word in BRW_FLOW:
        return Instruction(name, "flow")
    if word == "mov":
        if to in floats and any(t not in floats or t != to for t in types[1:]):
            return Instruction(name, "convert")
        sizes = {t: len(t.encode()) and {"B": 1, "W": 2, "D": 4, "Q": 8}.get(t[-1], 0) for t in types}
        narrow = to in sizes and any(sizes[t] and sizes[t] < sizes[to] for t in types[1:])
        return Instruction(name, "bits" if narrow else "move")
    if word in ("and", "or", "xor", "not", "shl", "shr", "asr", "rol", "ror", "bfe", "bfi1", "bfi2", "bfrev", "fbl", "fbh", "lzd", "cbit", "bfn"):
        return Instruction(name, "bits")
    if word in ("add", "mul", "add3", "addc", "subb", "mach", "macl", "avg", "math", "rndd", "rnde", "rndz", "frc"):
        return Instruction(name, "float" if to in floats else "integer")
    return Instruction(name, "move")


def parse_brw(text):
    """The last program of a listing: of those that are tried for several widths it is the one that is kept."""
    at = text.rfind("\nNative code for ")
    lines = text[at + 1:].split("\n") if at >= 0 or text.startswith("Native code for ") else []
    head = next((m for m in map(BRW_HEAD.match, lines) if m), None)
    if not head:
        raise Unreadable("brw lists no program")
    blocks, block, starts = [], Block(None), {}
    for i, line in enumerate(lines):
        start, end, found = BRW_START.match(line), BRW_END.match(line), BRW_LINE.match(line)
        if start:
            starts[start.group(1)] = float(start.group(2))
        elif end:
            block.name, block.next = end.group(1), re.findall(r"->B(\d+)", end.group(2))
            # behind a loop whose end has a condition the way out is not printed
            if blocks and not any(block.name in b.next for b in blocks):
                blocks[-1].next.append(block.name)
            blocks.append(block)
            block = Block(None)
        elif found and not BRW_HEAD.match(line) and (found.group(2) or found.group(1) in ("sync", "nop")):
            message = lines[i + 1] if i + 1 < len(lines) and lines[i + 1].startswith(" ") else ""
            block.instructions.append(brw_instruction(found.group(1), int(found.group(2) or 1), found.group(3), message))
    listing = Listing(blocks, False, int(head.group(2)))
    # cycles are printed as if each loop ran ten times
    for name, item in listing.blocks.items():
        depth = sum(name in names for names in listing.loops.values())
        item.cycles = starts.get(name, 0.0) / 10 ** depth
    listing.lanes = int(head.group(1))
    return listing


# --- ACO: AMD ---------------------------------------------------------------------------------------------------------------------

ACO_LINE = re.compile(r"^\s+\( *(\d+) clk\) +(?:[^=]*? = )?([a-z]\w+)")
ACO_WAITS = ("s_waitcnt", "s_wait", "s_delay_alu", "s_nop", "s_clause", "s_code_end", "s_sleep")
ACO_BITS = ("and", "or", "xor", "not", "xnor", "lshl", "lshr", "lshlrev", "lshrrev", "ashr", "ashrrev", "bfe", "bfi", "bfm", "alignbit", "alignbyte",
            "perm", "and_or", "or3", "xor3", "xad", "lshl_or", "bcnt", "ffbh", "ffbl", "bfrev", "mbcnt")


def aco_instruction(name):
    if name.startswith("s_"):
        if "barrier" in name:
            # gfx12 has two halves of one barrier
            return Instruction(name, "wait", barrier=True)
        return Instruction(name, "wait" if name.startswith(ACO_WAITS) else "flow" if "branch" in name else "scalar")
    if name.startswith("ds_"):
        return Instruction(name, "shared")
    if name.startswith(("buffer_", "global_", "flat_", "scratch_", "image_")):
        return Instruction(name, "load" if "_load" in name else "store")
    word = name[7:] if name.startswith("v_dual_") else name[2:]
    matrix = re.match(r"(?:wmma|swmmac)_\w+?_(\d+)x(\d+)x(\d+)_", word)
    if matrix:
        m, n, k = (int(g) for g in matrix.groups())
        return Instruction(name, "fma", macs=m * n * k, whole=True)
    if word.startswith(("dot4", "dot8")):
        return Instruction(name, "fma", macs=4 if word.startswith("dot4") else 8)
    if word.startswith("dot2"):
        return Instruction(name, "fma", macs=2)
    if word.startswith(("pk_fma", "pk_fmac")):
        return Instruction(name, "fma", macs=2)
    if word.startswith("pk_mul_f16"):
        return Instruction(name, "float", macs=2)  # a multiply-add to zero
    if re.match(r"(fma|fmac|mac|mad|fmaak|fmamk|madak|madmk|fma_mix\w*?|mad_mix\w*?)_(f32|f16|legacy_f32)", word) or word.startswith(("fma_mix", "mad_mix")):
        return Instruction(name, "fma", macs=1)
    if word.startswith(("cvt", "pk_cvt")):
        return Instruction(name, "convert")
    if word.startswith("cmp") or "readfirstlane" in word or "readlane" in word:
        return Instruction(name, "flow")
    if re.match(r"(mov|cndmask|writelane|permlane|swap|nop)", word):
        return Instruction(name, "wait" if word == "nop" else "move")
    if re.match("|".join(sorted(ACO_BITS, key=len, reverse=True)), word) and not re.match(r"lshl_add|add_lshl|mad", word):
        return Instruction(name, "bits")
    return Instruction(name, "float" if re.search(r"_f(16|32|64)|pk_(add|mul|max|min)_f", word) else "integer")


def aco_both(name, line):
    """RDNA3 and later issue two as one, of which the kinder to the table is taken: multiply-adds, then other floats."""
    first, other = aco_instruction(name), re.search(r"::.*?= ([a-z]\w+)", line)
    if not other:
        return first
    pair = (first, aco_instruction(other.group(1)))
    kind = next((k for k in ("fma", "float") if k in (pair[0].kind, pair[1].kind)), first.kind)
    return Instruction(name, kind, macs=pair[0].macs + pair[1].macs)


def parse_aco(text):
    """The last program, with the cycles that each instruction takes or waits."""
    at = text.rfind("After lowering to hw instructions:")
    if at < 0:
        raise Unreadable("ACO lists no program")
    blocks, edges = [], []
    for line in text[at:].split("\n"):
        found = ACO_LINE.match(line)
        if re.match(r"^BB\d+$", line):
            blocks.append(Block(line[2:]))
        elif line.startswith("/* logical preds:") and blocks:
            edges += [(name, blocks[-1].name) for name in re.findall(r"BB(\d+)", line.split("linear preds:")[1].split("/ kind:")[0])]
        elif found and blocks:
            blocks[-1].instructions.append(aco_both(found.group(2), line))
            blocks[-1].cycles += float(found.group(1))
    by_name = {block.name: block for block in blocks}
    for name, to in edges:
        if name not in by_name:
            raise Unreadable(f"block {to} follows {name}, which is not there")
        by_name[name].next.append(to)
    return Listing(blocks, True)


# --- NAK: NVIDIA's chips ----------------------------------------------------------------------------------------------------------

NAK_BLOCK = re.compile(r"^block(?:\.u)? (\d+) ")
NAK_END = re.compile(r"^\} -> \[([\d, ]*)\]")
NAK_LINE = re.compile(r"^(?:@!?u?p\w+)?\s+(?:([^=/]*?) += )?([a-z][\w.\[\]]*).*// delay=(\d+)")


def nak_instruction(to, name):
    word = name.split(".")[0]
    if re.match(r"ur\d|up\d", to.strip()):
        return Instruction(name, "scalar")
    if word in ("nop", "depbar", "membar", "warpsync", "cctl"):
        return Instruction(name, "wait")
    if word == "bar":
        return Instruction(name, "wait", barrier=True)
    if word in ("ldsm", "lds", "sts"):
        return Instruction(name, "shared")
    if word in ("ld", "st", "ldg", "stg", "atom", "atoms", "red", "ldl", "stl"):
        return Instruction(name, "shared" if "shared" in name else "store" if word not in ("ld", "ldg", "ldl") else "load")
    if word in ("ldc", "s2r", "cs2r", "r2ur"):
        return Instruction(name, "scalar")
    if word in ("hmma", "imma"):
        m, n, k = (int(g) for g in re.search(r"m(\d+)n(\d+)k(\d+)", name).groups())
        return Instruction(name, "fma", macs=m * n * k, whole=True)
    if word.startswith("idp4") or word == "idp":
        return Instruction(name, "fma", macs=4)
    if word in ("ffma", "hfma2"):
        return Instruction(name, "fma", macs=1 if word == "ffma" else 2)
    if word == "hmul2":
        return Instruction(name, "float", macs=2)  # a multiply-add to zero
    if re.match(r"[ifh]2[ifh]", word):
        return Instruction(name, "convert")
    if word in ("shf", "shl", "shr", "lop2", "lop3", "prmt", "sgxt", "bmsk", "popc", "flo", "brev", "bfe"):
        return Instruction(name, "bits")
    if word in ("fadd", "fmul", "hadd2", "hmul2", "fmnmx", "mufu", "fset", "hmnmx2", "fswz", "dadd", "dmul", "dfma"):
        return Instruction(name, "float")
    if word in ("bra", "brx", "bssy", "bsync", "bclear", "break", "bmov", "exit", "isetp", "fsetp", "plop3", "psetp", "vote", "hsetp2", "sync",
                "ssy", "pbk", "brk", "cont", "pcnt", "kill"):
        return Instruction(name, "flow")
    if word in ("mov", "sel", "csel", "shfl", "movm", "swap"):
        return Instruction(name, "move")
    return Instruction(name, "integer")


def parse_nak(text):
    """The program as it is encoded; an instruction takes as long as it delays the next."""
    at = text.rfind("NAK IR after calc_instr_deps:")
    if at < 0:
        raise Unreadable("NAK lists no program")
    end = text.find("\nEncoded shader", at)
    blocks = []
    for line in text[at:end if end > 0 else len(text)].split("\n"):
        block, last, found = NAK_BLOCK.match(line), NAK_END.match(line), NAK_LINE.match(line)
        if block:
            blocks.append(Block(block.group(1)))
        elif last and blocks:
            blocks[-1].next = [name.strip() for name in last.group(1).split(",") if name.strip()]
        elif found and blocks:
            blocks[-1].instructions.append(nak_instruction(found.group(1) or "", found.group(2)))
            blocks[-1].cycles += float(found.group(3))
    return Listing(blocks, True)


# --- what a loop costs ------------------------------------------------------------------------------------------------------------

Cost = namedtuple("Cost", "instructions waits cycles kinds")  # of a subgroup, in one round of the loop


def cost_of(listing, header, rounds=None):
    """One round of a loop, every way through it counted, with the loops in it as often as `rounds` (by header) says."""
    kinds, cycles = Counter(), 0.0
    for name in listing.loops[header]:
        times = 1
        for inner in listing.inner(header):
            if name in listing.loops[inner]:
                times *= (rounds or {})[inner]
        block = listing.blocks[name]
        for instruction in block.instructions:
            kinds[instruction.kind] += times
        cycles += times * block.cycles
    waits = kinds.pop("wait", 0)
    return Cost(sum(kinds.values()), waits, cycles, dict(kinds))


def main_loop(listing):
    """The header of the loop with the most instructions among those that have no loop within."""
    inmost = [header for header in listing.loops if not listing.inner(header)]
    if not inmost:
        raise Unreadable("no loop")
    return max(inmost, key=lambda header: listing.count(listing.loops[header]))


def step_loop(listing):
    """The header of the smallest loop that workgroups meet in."""
    meeting = [header for header, names in listing.loops.items()
               if any(i.barrier for name in names for i in listing.blocks[name].instructions)]
    if not meeting:
        raise Unreadable("no loop with a barrier")
    return min(meeting, key=lambda header: len(listing.loops[header]))


def width_of(instruction):
    """Multiply-adds of a lane per operation: of a pair issued as one, of either."""
    if instruction.whole or not instruction.macs:
        return 0
    return 1 if instruction.name.startswith("v_dual_") else instruction.macs


def widest(listing, names):
    """Multiply-adds of the widest kind in blocks: of a lane, of a whole subgroup. Scales beside dot products do not count."""
    found = [i for name in names for i in listing.blocks[name].instructions if i.macs]
    whole = sum(i.macs for i in found if i.whole)
    kinds = [width for width in (4, 2, 1) if any(width_of(i) == width for i in found)]
    return (0 if whole or not kinds else sum(i.macs for i in found if width_of(i) == kinds[0])), whole


def reads_memory(listing, header):
    return listing.count(listing.loops[header], {"load"}) > 0


def inner_names(listing, header):
    """Loops within a loop, in the order of the program."""
    return sorted(listing.inner(header), key=list(listing.blocks).index)


def tile_rounds(listing, header, lane_macs, lanes, load_rounds):
    """How often each loop within a tile's step runs: those that multiply by how many multiply-adds a lane has in a step, those that
    read memory as said, in order. Raises Unreadable unless all of the step's multiply-adds are found."""
    rounds, loads, multiplying = {}, [], []
    for inner in inner_names(listing, header):
        if listing.inner(inner):
            raise Unreadable("loops within loops within a step")
        (loads if reads_memory(listing, inner) else multiplying).append(inner)
    if len(loads) != len(load_rounds) or len(multiplying) > 1:
        raise Unreadable(f"{len(loads)} loops read memory, where {len(load_rounds)} are expected; {len(multiplying)} do not")
    rounds.update(zip(loads, load_rounds))
    names = set(listing.loops[multiplying[0]] if multiplying else listing.loops[header])
    if not multiplying:
        for inner in loads:
            names -= listing.loops[inner]
    lane, whole = widest(listing, names)
    per_round = lane + whole / lanes
    if not per_round or lane_macs % per_round or (not multiplying and lane_macs != per_round):
        raise Unreadable(f"{per_round:g} multiply-adds of a lane are found in a round, where a step has {lane_macs}")
    if multiplying:
        rounds[multiplying[0]] = int(lane_macs // per_round)
    return rounds
