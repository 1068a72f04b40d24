"""What one photo costs from a cold start, against what nothing can avoid: torch, MediaPipe, one detection, the files.

    python benchmarks/cold_start.py [PHOTO] [--pairs 7] [--recipe NAME]

Both are whole processes, run in turn, so that a busy machine slows both. The second imports torch and mediapipe, finds
the landmarks of the same photo once with MediaPipe's own Face Landmarker, and writes files with the content that the
first wrote. One pair is run before the clock starts: it fills the disk's cache and the cache of compiled kernels.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emoca_plugins.landmarkers.model_bundle import find_bundle

ACCEPTED = 1.5
"""Largest ratio of the wall-clock times accepted."""

_LEAST = """
import sys
from pathlib import Path
import torch
import mediapipe
from mediapipe.tasks.python import BaseOptions, vision

photo, bundle, source, target = sys.argv[1:]
options = vision.FaceLandmarkerOptions(
    base_options=BaseOptions(model_asset_path=bundle),
    output_face_blendshapes=True,
    output_facial_transformation_matrixes=True,
)
with vision.FaceLandmarker.create_from_options(options) as landmarker:
    assert landmarker.detect(mediapipe.Image.create_from_file(photo)).face_landmarks, "MediaPipe finds no face"
Path(target).mkdir()
for file in Path(source).iterdir():
    (Path(target) / file.name).write_bytes(file.read_bytes())
"""


@dataclass(frozen=True)
class Cost:
    """Of one process, seconds.

    Attributes:
        wall: By the clock.
        processor: Of all its threads.
    """

    wall: float
    processor: float


def run(command: Sequence[str]) -> Cost:
    """Run one process to its end, and see that it worked."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode:
        sys.exit(f"{' '.join(command[:4])} ... failed:\n{result.stderr}")
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    """Run the pairs, print each of them and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path, nargs="?", default=Path("examples/photos/astronaut.jpg"))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--recipe", default="open_fit", help="method (default: %(default)s)")
    options = parser.parse_args()
    bundle = str(find_bundle())
    pairs: list[tuple[Cost, Cost]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.pairs + 1):
            out, copy = Path(folder) / f"out{number}", Path(folder) / f"copy{number}"
            command = [sys.executable, "-m", "emoca_core", "reconstruct", str(options.photo)]
            whole = run([*command, "--recipe", options.recipe, "--out", str(out)])
            face = next(out.glob("*/face_0"))
            least = run([sys.executable, "-c", _LEAST, str(options.photo), bundle, str(face), str(copy)])
            if number:
                pairs.append((whole, least))
                print(f"pair {number}: reconstruct {whole.wall:.2f} s, least {least.wall:.2f} s", flush=True)
    for clock in ("wall", "processor"):
        times = [(getattr(whole, clock), getattr(least, clock)) for whole, least in pairs]
        ratio = statistics.median(whole / least for whole, least in times)
        whole, least = (statistics.median(column) for column in zip(*times, strict=True))
        verdict = f" (accepted: {ACCEPTED})" if clock == "wall" else ""
        print(f"{clock:9s} reconstruct {whole:.2f} s, least {least:.2f} s, ratio {ratio:.2f}{verdict}")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; median of {len(pairs)} pairs")


if __name__ == "__main__":
    main()
