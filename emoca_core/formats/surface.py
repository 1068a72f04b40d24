"""Meshes that no face has: all points in one place or one plane, triangles without area, nothing that moves them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

_FLAT = 1e-9
"""Extent along one axis, of the largest one, up to which a mesh is flat."""
_THIN = 1e-5
"""Sine of the angle at a corner up to which a triangle has no area."""
_MOST_THIN = 0.5
"""Share of such triangles that a real mesh may have."""


@dataclass(frozen=True)
class Surface:
    """A mesh among the converted arrays of a format.

    Attributes:
        points: Array of its vertices, or of its texture coordinates, [V, D].
        faces: Array of its triangles; empty where they are in another file.
        moved_by: Arrays without which all faces were alike, or had no shape.
    """

    points: str
    faces: str = ""
    moved_by: tuple[str, ...] = ()

    def faults(self, arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
        """What is wrong with it, in words; arrays that are not there are not looked at."""
        for name in self.moved_by:
            if name in arrays and not arrays[name].any():
                yield f"{name} is zero everywhere"
        if self.points not in arrays:
            return
        points = arrays[self.points].astype(np.float64)
        extent = np.ptp(points, axis=0)
        if not extent.any():
            yield f"all points of {self.points} are in one place"
        elif extent.min() <= _FLAT * extent.max():
            yield f"{self.points} is flat: {'xyz'[extent.argmin()]} never changes"
        elif self.faces in arrays and (thin := _thin_share(points[arrays[self.faces]])) > _MOST_THIN:
            yield f"{thin:.0%} of the triangles in {self.faces} have no area"


def _thin_share(corners: np.ndarray) -> float:
    """Share of the triangles [F, 3, D] that have no area."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    squares = (a**2).sum(1) * (b**2).sum(1)
    return float(np.mean(squares - (a * b).sum(1) ** 2 <= _THIN**2 * squares)) if len(corners) else 1.0
