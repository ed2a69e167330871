"""What the scripts of this folder share: the machine in words, running programs, tables in Markdown."""
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULTS = os.path.join(ROOT, "bench", "results")


class Failed(Exception):
    """A sentence for the user."""


def run(command, env=None, timeout=None):
    """stdout of a command; what it says on stderr is shown if it fails."""
    try:
        done = subprocess.run(command, env=env, capture_output=True, timeout=timeout)
    except OSError as error:
        raise Failed(f"{command[0]} cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(command)} took longer than {timeout} s") from error
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().split("\n")[-5:]
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n  " + "\n  ".join(last))
    return done.stdout.decode(errors="replace")


def run_json(command, env=None, timeout=None):
    text = run(command, env, timeout)
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failed(f"{' '.join(command)} did not print JSON: {error}") from error


def on_device(device, program, *args):
    """The command line that runs a program where `device` is to be had, and its --device option."""
    if device == "software":
        return [os.path.join(ROOT, "scripts", "with-lavapipe"), program, *args, "--device", "vulkan:0"]
    return [program, *args, "--device", device]


def environment(**changes):
    """This process's, with changes; None takes a variable away."""
    env = dict(os.environ)
    for name, value in changes.items():
        env.pop(name, None)
        if value is not None:
            env[name] = value
    return env


def _first(pattern, path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = re.search(pattern, file.read(), re.M)
    except OSError:
        return None
    return found.group(1).strip() if found else None


def processor():
    """Name, cores that this process may use, and what vectors the processor has."""
    name = _first(r"^model name\s*:\s*(.*)$", "/proc/cpuinfo") or platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    flags = (_first(r"^flags\s*:\s*(.*)$", "/proc/cpuinfo") or "").split()
    vectors = [flag for flag in ("avx2", "avx512f", "avx512_vnni") if flag in flags]
    family = _first(r"^cpu family\s*:\s*(\d+)$", "/proc/cpuinfo"), _first(r"^model\s*:\s*(\d+)$", "/proc/cpuinfo")
    kind = f" (family {family[0]}, model {family[1]})" if all(family) else ""
    return f"{name}{kind}, {cores} cores" + (", " + " ".join(vectors) if vectors else "")


def load():
    """The mean number of running programs over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def busy_seconds():
    """Seconds that all processors were busy, and that a host took from them, since the start; None if unknown."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    hertz = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - ticks[3] - ticks[4] - ticks[7]) / hertz, ticks[7] / hertz


def commit():
    """The commit that is measured; marked when files differ from it."""
    try:
        name = run(["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"]).strip()
        changed = run(["git", "-C", ROOT, "status", "--porcelain", "-uno"]).strip()
    except Failed:
        return "unknown"
    return name + (" with changes" if changed else "")


def median(values):
    return statistics.median(values)


def table(head, rows):
    """Lines of a Markdown table; cells of text are set left, others right."""
    rows = [[cell if isinstance(cell, str) else f"{cell:.3g}" for cell in row] for row in rows]
    left = [all(re.match(r"[A-Za-z]", row[i]) for row in rows) for i in range(len(head))]
    widths = [max([len(str(head[i]))] + [len(row[i]) for row in rows]) for i in range(len(head))]

    def line(cells):
        return "| " + " | ".join(c.ljust(w) if is_left else c.rjust(w) for c, w, is_left in zip(cells, widths, left)) + " |"

    rule = "|" + "|".join(("-" * (w + 2)) if is_left else "-" * (w + 1) + ":" for w, is_left in zip(widths, left)) + "|"
    return [line(head), rule] + [line(row) for row in rows]


def describe(lines):
    """A list of facts, with those of the machine in front."""
    facts = [("machine", processor()), ("system", platform.system() + " " + ".".join(platform.release().split(".")[:2])),
             ("hearth", f"sources of commit {commit()}"), ("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))]
    return [f"- {name}: {value}" for name, value in facts + lines]


def write(path, text):
    """To a file; of bench/results when no folder is named."""
    if not os.path.dirname(path):
        path = os.path.join(RESULTS, path)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}") from error


def publish(lines, path):
    """Prints the report; writes it to a file too, if one is named."""
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if path:
        write(path, text)


def say(text):
    print(text, file=sys.stderr, flush=True)
