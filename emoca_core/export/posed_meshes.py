"""The captured meshes of a clip, one after the other, for formats without animation."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from emoca_core.interfaces import CapturedSequence, FaceMesh
from emoca_core.progress import progress_bar

_SLICE = 64


def posed_meshes(sequence: CapturedSequence) -> Iterator[tuple[int, FaceMesh]]:
    """Number of each frame in the clip, and its mesh in model space with the person's texture or colours."""
    person = replace(sequence.rig.mesh, rig=None)
    with progress_bar(total=len(sequence), label="meshes", unit="frame") as bar:
        for start in range(0, len(sequence), _SLICE):
            rows = slice(start, min(start + _SLICE, len(sequence)))
            posed = sequence.geometry(rows).vertices.numpy().astype(np.float64)
            for number, vertices in zip(sequence.numbers[rows].tolist(), posed, strict=True):
                yield number, replace(person, vertices=vertices)
                bar.update()
