"""One face as plain arrays, with what moves it: what exporters write."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray


@dataclass(frozen=True)
class ExpressionRig:
    """The neutral face of one person, the targets that move it, and how strongly the capture uses each.

    Attributes:
        neutral: Vertices of the person at rest, turned as the captured head is; metres.
        targets: What each target adds to ``neutral`` at weight 1, metres.
        weights: Weight of each target in the capture, by name, in the order of ``targets``.
        source: Where the weights are from: ``"arkit"`` are the 52 ARKit values in [0, 1], ``"code"`` a face model's own
            coefficients.
    """

    neutral: Float[ndarray, "V 3"]
    targets: Float[ndarray, "N V 3"]
    weights: Mapping[str, float]
    source: str

    def posed(self) -> Float[ndarray, "V 3"]:
        """The face that the weights give, as viewers of glTF files show it; metres."""
        weights = np.array(list(self.weights.values()))
        moved = weights @ self.targets.reshape(len(weights), -1)
        return np.asarray(self.neutral + moved.reshape(self.neutral.shape))


@dataclass(frozen=True)
class FaceMesh:
    """One face in model space (metres; x to the subject's left, y up, z out of the face).

    Attributes:
        vertices: As captured.
        faces: Triangles, counter-clockwise seen from outside.
        uv: Texture coordinates, u right, v up.
        uv_faces: Triangles into ``uv``, one for each of ``faces``.
        texture: sRGB picture, row 0 at v = 1.
        vertex_colors: sRGB in [0, 1], one for each vertex.
        rig: The same face as its neutral form and weighted targets; ``None`` for a mesh that nothing moves.
    """

    vertices: Float[ndarray, "V 3"]
    faces: Int[ndarray, "F 3"]
    uv: Float[ndarray, "U 2"] | None = None
    uv_faces: Int[ndarray, "F 3"] | None = None
    texture: UInt8[ndarray, "T T 3"] | None = None
    vertex_colors: Float[ndarray, "V 3"] | None = None
    rig: ExpressionRig | None = None

    @property
    def has_uv(self) -> bool:
        """Whether the mesh has texture coordinates."""
        return self.uv is not None and self.uv_faces is not None
