"""``emoca`` with the toy parts, as a program of its own. The file ``TOY_WORK`` tells which process encoded how often.

The parts that processes share are small, so that a small data set has several.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import toy_benchmark

import emoca_core.registry
from emoca_core import cli
from emoca_core.probe import codes, detections, sources


def encode(self, crop, encode=toy_benchmark.ColourEncoder.forward):
    with open(os.environ["TOY_WORK"], "a") as work:
        work.write(f"{os.environ.get('RANK', 0)}\n")
    return encode(self, crop)


if __name__ == "__main__":
    toy_benchmark.ColourEncoder.forward = encode
    codes.PART = detections.PART = 8
    registry = toy_benchmark.toy_registry()
    emoca_core.registry.get_registry = sources.get_registry = lambda: registry
    sys.exit(cli.main(sys.argv[1:]))
