"""Work on parts of a data set, shared among processes; one process is the simplest case.

Every process computes its share, the main one writes. A part is computed as a whole, in the same batches wherever it is
computed, so that the files are the same on any number of processes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from accelerate.utils import broadcast_object_list, gather_object
from jaxtyping import Shaped
from safetensors import SafetensorError
from safetensors.numpy import load_file

from emoca_core.errors import AssetFormatError, EmocaError
from emoca_core.method import pick_device
from emoca_core.progress import progress_bar
from emoca_core.train.world import processes, together

T = TypeVar("T")

PART = 256
"""Images in one file of the cache: what an interruption can cost each process."""


@dataclass(frozen=True)
class Part:
    """Some rows of a data set, and the file that holds what is known of them."""

    rows: range
    file: Path


def parts_of(count: int, folder: Path, size: int) -> list[Part]:
    """A data set of ``count`` rows in parts."""
    return [
        Part(range(start, min(start + size, count)), folder / f"{start:09d}.safetensors")
        for start in range(0, count, size)
    ]


def fill_parts(
    parts: Sequence[Part], compute: Callable[[range], T], write: Callable[[Part, T], None], label: str
) -> None:
    """Write the files that are missing; afterwards every process can read all of them.

    Args:
        parts: All parts, the same in every process.
        compute: What a file holds, from its rows. Runs in every process.
        write: Writes one file, atomically. Runs in the main process.
        label: For the progress bar.

    Raises:
        EmocaError: In every process, where ``compute`` raised it in one; parts that were done before are kept.
    """
    with together():
        _fill_parts(parts, compute, write, label)


def _fill_parts(
    parts: Sequence[Part], compute: Callable[[range], T], write: Callable[[Part, T], None], label: str
) -> None:
    state = processes()
    missing = [index for index, part in enumerate(parts) if not part.file.exists()]
    (missing,) = broadcast_object_list([missing])  # another program may be writing to the same cache
    done = len(parts) - len(missing)
    bar = progress_bar(total=len(parts), initial=done, label=label, unit="part", hidden=not state.is_main_process)
    for start in range(0, len(missing), state.num_processes):
        window = missing[start : start + state.num_processes]
        own = window[state.process_index : state.process_index + 1]
        for index, value in gather_object(list(_attempted(own, parts, compute))):
            if isinstance(value, EmocaError):
                raise value
            if state.is_main_process:
                write(parts[index], value)
        state.wait_for_everyone()
        bar.update(len(window))
    bar.close()


def read_part(file: Path) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The arrays of a file of the cache.

    Raises:
        AssetFormatError: It is damaged.
    """
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise AssetFormatError(f"{file} is damaged: remove it, and it is computed again ({error})") from None


def process_count() -> int:
    """How many processes share the work."""
    return int(processes().num_processes)


def device_of_process(name: str) -> torch.device:
    """Where this process computes: on several processes ``auto`` is the device that Accelerate gave it.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    """
    state = processes()
    shared: torch.device = state.device
    return shared if state.num_processes > 1 and name in ("auto", shared.type) else pick_device(name)


def _attempted(
    indices: Sequence[int], parts: Sequence[Part], compute: Callable[[range], T]
) -> Iterator[tuple[int, T | EmocaError]]:
    """Errors travel as values: a process that stopped would leave the others waiting."""
    for index in indices:
        try:
            yield index, compute(parts[index].rows)
        except EmocaError as error:
            yield index, error
