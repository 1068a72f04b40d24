"""ExpNet's face model and the files that lead to its landmarks, in their published layouts."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.io

from emoca_core.interfaces.samples import frontal_landmarks

BASEL, EXPRESSION, NONECK = 53490, 53215, 38365


def grid_face(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """A curved sheet that looks along +z, 20 cm high in micrometres, and its one-based triangles."""
    y, x = np.mgrid[1 : -1 : rows * 1j, -1 : 1 : columns * 1j]
    mean = np.stack([x, y, 0.8 - 0.5 * x**2 - 0.3 * y**2], -1).reshape(-1, 3) * 1e5
    corner = np.arange(1, rows * columns + 1).reshape(rows, columns)
    a, b, c, d = (corner[r, k].ravel() for r in (np.s_[:-1], np.s_[1:]) for k in (np.s_[:-1], np.s_[1:]))
    return mean, np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])


def nearest_vertices(mean: np.ndarray) -> np.ndarray:
    """Where a schematic face's 68 points lie on the sheet."""
    wanted = frontal_landmarks().numpy().astype(float) * [1e5, -1e5]
    return np.array([np.linalg.norm(mean[:, :2] - point, axis=1).argmin() for point in wanted])


def expnet_model(rows: int, columns: int, sizes: tuple[int, int, int] = (99, 29, 99)) -> dict[str, np.ndarray]:
    """The fields of the published struct: unit components and their deviations, expression apart from identity."""
    random = np.random.default_rng(6)
    mean, faces = grid_face(rows, columns)
    shape, expression, texture = sizes
    neutral = random.normal(scale=200.0, size=mean.size)  # of the expressions; the sum of both is the mean face

    def components(count: int) -> np.ndarray:
        return (random.normal(size=(mean.size, count)) / np.sqrt(mean.size)).astype(np.float32)

    return {
        "shapeMU": (mean.ravel() - neutral)[:, None],
        "shapePC": components(shape),
        "shapeEV": np.sort(random.uniform(1e3, 4e4, (shape, 1)), axis=0)[::-1],
        "expMU": neutral[:, None],
        "expPC": components(expression),
        "expEV": np.sort(random.uniform(1e3, 2e4, (expression, 1)), axis=0)[::-1],
        "texMU": random.uniform(80, 180, (mean.size, 1)),
        "texPC": components(texture),
        "texEV": np.sort(random.uniform(10, 400, (texture, 1)), axis=0)[::-1],
        "faces": faces,
    }


def write_model(path: Path, fields: Mapping[str, np.ndarray]) -> Path:
    scipy.io.savemat(path, {"BFM": dict(fields)})
    return path


def write_landmarks(path: Path, vertices: np.ndarray) -> Path:
    path.write_text("\n".join(map(str, vertices)) + "\n")
    return path


def write_chain(folder: Path, mean: np.ndarray) -> tuple[list[Path], np.ndarray]:
    """3DDFA-V2's model and index list and Deep3DFace's index file, of the published sizes.

    Args:
        folder: Where to.
        mean: Mean face of 53,490 vertices, micrometres.

    Returns:
        The files, and the 53,215 vertices of the face that have expressions.
    """
    random = np.random.default_rng(7)
    trimmed = np.sort(random.permutation(BASEL)[:EXPRESSION])
    kept = random.permutation(EXPRESSION)[:NONECK].astype(np.int32)  # in disorder, so that no step can be left out
    face = mean[trimmed[kept]]
    keypoints = nearest_vertices(face)
    noneck = {
        "u": face.reshape(-1, 1).astype(np.float32),
        "w_shp": np.ones((face.size, 1), np.float32),
        "w_exp": np.ones((face.size, 1), np.float32),
        "keypoints": (3 * keypoints[:, None] + np.arange(3)).ravel(),
    }
    paths = [folder / name for name in ("bfm_noneck_v3.pkl", "indices.npy", "BFM_exp_idx.mat")]
    paths[0].write_bytes(pickle.dumps(noneck, 2))
    np.save(paths[1], kept)
    scipy.io.savemat(paths[2], {"trimIndex": (trimmed[:, None] + 1).astype(np.uint16)})
    return paths, trimmed
