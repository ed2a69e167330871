"""What checks of the stand-in GPUs share: how a program runs on one, and the order of a whole check."""
import os
import subprocess
import sys

SKIPPED = 77  # what ctest takes for skipped


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600, check=False)


def main(check):
    """Calls check(hw, program, gpu), which returns a number of faults, for each GPU that the command line means; the exit status."""
    hw, program, *gpus = (word for word in sys.argv[1:] if not word.startswith("--"))
    if not os.access(hw, os.X_OK):
        required = os.environ.get("HEARTH_REQUIRE_GOLDEN") == "1"
        print(f"{'failed' if required else 'skipped'}: no stand-in GPUs at {hw}: scripts/setup --for test builds them")
        return 1 if required else SKIPPED
    gpus = gpus or [line.split()[0] for line in run(hw, "list").stdout.splitlines()]
    bad = sum(check(hw, program, gpu) for gpu in gpus)
    print(f"{len(gpus)} GPUs, {bad} faults")
    return 1 if bad or not gpus else 0
