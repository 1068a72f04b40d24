"""Which surface point lies under every texel of the atlas."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt


@dataclass(frozen=True)
class Texels:
    """Surface points of an N x N texture; row 0 is the top (v = 1).

    Attributes:
        triangle: [N, N] triangle under each texel centre; texels outside the islands take their nearest neighbour's.
        weights: [N, N, 3] barycentric weights.
        inside: [N, N] texels that lie in an island.
    """

    triangle: np.ndarray
    weights: np.ndarray
    inside: np.ndarray

    def interpolate(self, corner_values: np.ndarray) -> np.ndarray:
        """Values [N, N, C] from values at triangle corners [F, 3, C]."""
        values: np.ndarray = np.einsum("hwk,hwkc->hwc", self.weights, corner_values[self.triangle])
        return values


def rasterise(uv: np.ndarray, faces: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangle index [size, size] (-1 outside) and barycentric weights at texel centres; later triangles win."""
    triangle = np.full((size, size), -1)
    weights = np.zeros((size, size, 3))
    x, y = uv[:, 0] * size - 0.5, (1 - uv[:, 1]) * size - 0.5
    for index, corner in enumerate(faces):
        cx, cy = x[corner], y[corner]
        det = (cy[1] - cy[2]) * (cx[0] - cx[2]) + (cx[2] - cx[1]) * (cy[0] - cy[2])
        if abs(det) < 1e-12:
            continue
        columns = np.arange(max(0, int(np.ceil(cx.min()))), min(size - 1, int(np.floor(cx.max()))) + 1)
        rows = np.arange(max(0, int(np.ceil(cy.min()))), min(size - 1, int(np.floor(cy.max()))) + 1)[:, None]
        w0 = ((cy[1] - cy[2]) * (columns - cx[2]) + (cx[2] - cx[1]) * (rows - cy[2])) / det
        w1 = ((cy[2] - cy[0]) * (columns - cx[2]) + (cx[0] - cx[2]) * (rows - cy[2])) / det
        hit = (w0 >= 0) & (w1 >= 0) & (w0 + w1 <= 1)
        r, c = np.nonzero(hit)
        if len(r):
            at = rows[r, 0], columns[c]
            triangle[at] = index
            weights[at] = np.stack([w0[hit], w1[hit], 1 - w0[hit] - w1[hit]], 1)
    return triangle, weights


def build_texels(uv: np.ndarray, faces: np.ndarray, size: int) -> Texels:
    """Rasterise the atlas and dilate its islands over the empty texels, so that filtering finds no seams."""
    triangle, weights = rasterise(uv, faces, size)
    inside = triangle >= 0
    row, column = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return Texels(triangle[row, column], weights[row, column], inside)


def sample(picture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear look-up [..., C] of a picture [H, W, C] at texture coordinates [..., 2]."""
    height, width = picture.shape[:2]
    x = np.clip(uv[..., 0] * width - 0.5, 0, width - 1.001)
    y = np.clip((1 - uv[..., 1]) * height - 0.5, 0, height - 1.001)
    column, row = x.astype(int), y.astype(int)
    fx, fy = (x - column)[..., None], (y - row)[..., None]
    top = picture[row, column] * (1 - fx) + picture[row, column + 1] * fx
    bottom = picture[row + 1, column] * (1 - fx) + picture[row + 1, column + 1] * fx
    value: np.ndarray = top * (1 - fy) + bottom * fy
    return value
