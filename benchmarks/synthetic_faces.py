"""How many synthetic faces per second the ``synthetic_faces`` data set draws, renders and labels.

    python benchmarks/synthetic_faces.py [--batch 32] [--rounds 8] [--size 224] [--workers 2]

Before that, plain faces and those with all variety (``variety=1``) at 112 pixels on one core, by turns in one run, by
the clock and by seconds of the core, which count alone where others use the machine.

Then in one process on torch's threads, then as a training reads them: by a ``DataLoader`` with workers of one thread.
The median counts in one process (the best round says what the machine can do when nothing else runs), the average with
workers, which deliver their batches in bursts.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from emoca_core import get_registry
from emoca_core.interfaces import FaceDataset, FaceSample

TARGET = 60.0
"""Images per second on two cores at 224 pixels, and with all variety on one core at 112."""
SMALL = 112


def report(title: str, batches: Iterator[list[FaceSample]], rounds: int) -> None:
    """Print the rate of ``rounds`` batches after two that are not counted."""
    rates = []
    for number in range(rounds + 2):
        start = time.perf_counter()
        batch = next(batches)
        if number >= 2:
            rates.append((time.perf_counter() - start) / len(batch))
    print(
        f"{title}: {1 / statistics.mean(rates):.0f} images/s on average, "
        f"median {1 / statistics.median(rates):.0f}, best {1 / min(rates):.0f} (target {TARGET:.0f})"
    )


def report_variety(batch: int, rounds: int) -> None:
    """Print the rates of plain faces and of those with everything, on one core, by turns."""
    torch.set_num_threads(1)
    kinds = {"plain": 0.0, "with everything": 1.0}
    build = get_registry().build
    sets = {
        name: in_this_process(build("dataset", "synthetic_faces", {"image_size": SMALL, "variety": variety}), batch)
        for name, variety in kinds.items()
    }
    clock: dict[str, list[float]] = {name: [] for name in kinds}
    core: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(rounds + 1):
        for name, batches in sets.items():
            start, used = time.perf_counter(), time.process_time()
            count = len(next(batches))
            if number:
                clock[name].append((time.perf_counter() - start) / count)
                core[name].append((time.process_time() - used) / count)
    for name in kinds:
        print(
            f"one core, {SMALL} px, {name}: median {1 / statistics.median(core[name]):.0f} images per second of the "
            f"core, {1 / statistics.median(clock[name]):.0f} by the clock (target {TARGET:.0f})"
        )


def in_this_process(faces: FaceDataset, batch: int) -> Iterator[list[FaceSample]]:
    """Batch after batch by the data set itself."""
    for first in range(0, len(faces), batch):
        yield faces.__getitems__(range(first, first + batch))


def main() -> None:
    """Measure all ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    faces = get_registry().build("dataset", "synthetic_faces", {"image_size": options.size})
    print(f"{options.size} px, batches of {options.batch}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    threads = torch.get_num_threads()
    report_variety(options.batch, options.rounds)
    for count in sorted({1, threads}):
        torch.set_num_threads(count)
        report(f"one process, {count} threads", in_this_process(faces, options.batch), options.rounds)
    loader: DataLoader[FaceSample] = DataLoader(
        faces,  # type: ignore[arg-type]
        options.batch,
        num_workers=options.workers,
        collate_fn=list,
    )
    report(f"DataLoader, {options.workers} workers", iter(loader), 4 * options.rounds)


if __name__ == "__main__":
    main()
