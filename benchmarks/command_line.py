"""How long the light commands take to start: target 0.4 s on an idle machine.

    python benchmarks/command_line.py [--rounds 11]

Prints the median wall time and the least CPU time; the latter hardly depends on what else the machine does. Python
alone and pydantic alone are the floor.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python": ["-c", "pass"],
    "pydantic": ["-c", "import pydantic; pydantic.BaseModel"],
    "emoca --help": ["-m", "emoca_core", "--help"],
    "emoca list": ["-m", "emoca_core", "list"],
    "torch": ["-c", "import torch"],
}


def measure(arguments: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Measure every command in turn, so that a busy machine slows all of them alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            runs[name].append(measure(arguments))
    for name, times in runs.items():
        wall, cpu = zip(*times, strict=True)
        print(f"{name:14} wall {statistics.median(wall):.2f} s   cpu {min(cpu):.2f} s")


if __name__ == "__main__":
    main()
