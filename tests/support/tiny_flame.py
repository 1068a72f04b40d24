"""A small random head in the published FLAME files: every key, every container, written the way the originals are.

Nothing here is a stand-in for the licensed model's shape: it is a bumpy sphere with five joints.
"""

import contextlib
import pickle
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import scipy.sparse
import torch

from emoca_core.interfaces.samples import frontal_landmarks

JOINTS = np.array([[0, -0.6, 0], [0, -0.4, 0], [0, -0.2, 0.2], [0.3, 0.3, 0.8], [-0.3, 0.3, 0.8]])  # of unit size
RADIUS = 0.1  # metres


def tiny_arrays(rows: int = 9, columns: int = 14, seed: int = 0) -> dict[str, np.ndarray]:
    """FLAME's arrays under their published names (``asset.*`` without the prefix in the golden file)."""
    random = np.random.default_rng(seed)
    latitude = np.linspace(-1.2, 1.2, rows)[:, None]
    longitude = (np.arange(columns) / columns * 2 * np.pi)[None]
    points = [
        np.cos(latitude) * np.sin(longitude),
        np.sin(latitude) + 0 * longitude,
        np.cos(latitude) * np.cos(longitude),
    ]
    vertices = np.stack(points, -1).reshape(-1, 3) * RADIUS
    corner = np.arange(rows * columns).reshape(rows, columns)
    right, up = np.roll(corner, -1, axis=1), corner[1:]
    faces = np.concatenate(
        [
            np.stack([corner[:-1], right[:-1], up], -1).reshape(-1, 3),
            np.stack([right[:-1], right[1:], up], -1).reshape(-1, 3),
        ]
    )
    distance = np.linalg.norm(vertices[:, None] - JOINTS * RADIUS, axis=-1)
    near = np.exp(-((distance / RADIUS) ** 2) * 4)
    count = len(vertices)
    return {
        "f": faces.astype(np.uint32),
        "v_template": vertices,
        "shapedirs": random.normal(scale=2e-3, size=(count, 3, 400)),
        "posedirs": random.normal(scale=1e-3, size=(count, 3, 36)),
        "J_regressor": (near / near.sum(0)).T,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
        "weights": near / near.sum(1, keepdims=True),
        "uv": np.stack([(longitude / 2 / np.pi + 0 * latitude), (latitude / 2.4 + 0.5 + 0 * longitude)], -1).reshape(
            -1, 2
        ),
        "uv_faces": faces.astype(np.int64),
        **_embedding(vertices, faces, random),
        "mediapipe_indices": np.sort(random.choice(478, 105, replace=False)),
        "mediapipe_triangle": random.integers(len(faces), size=105),
        "mediapipe_weights": random.dirichlet(np.ones(3), size=105),
    }


def _embedding(vertices: np.ndarray, faces: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
    """A schematic face on the front of the sphere; contour rows other than the first are anywhere."""
    points = frontal_landmarks().numpy() * [0.8 * RADIUS, -0.8 * RADIUS]
    depth = np.sqrt(np.maximum(RADIUS**2 - (points**2).sum(1, keepdims=True), 0))
    centres = vertices[faces].mean(1)
    nearest = np.linalg.norm(centres - np.hstack([points, depth])[:, None], axis=-1).argmin(1)
    table = {"static": nearest[17:], "dynamic": random.integers(len(faces), size=(79, 17)), "full": nearest[None]}
    table["dynamic"][0] = nearest[:17]
    weights = {name: random.dirichlet(np.ones(3), size=index.shape) for name, index in table.items()}
    return {
        **{f"{name}_lmk_faces_idx": index for name, index in table.items()},
        **{f"{name}_lmk_bary_coords": weight for name, weight in weights.items()},
    }


class Ch:
    """What chumpy pickles: an object whose state is a dictionary with the array ``x``."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x
        self._dirty_vars: set[str] = set()
        self._itr = None

    def __getstate__(self) -> dict[str, object]:
        return {"x": self.x, "_itr": None, "_status": "new"}


class Select:
    """chumpy's indexing of another array."""

    def __init__(self, a: Ch, idxs: np.ndarray, preferred_shape: tuple[int, ...]) -> None:
        self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape


@contextlib.contextmanager
def chumpy_classes() -> Iterator[None]:
    """Let the two classes above pickle under chumpy's names, without chumpy."""
    homes = {"chumpy": [], "chumpy.ch": [Ch], "chumpy.reordering": [Select]}
    saved = {name: sys.modules.get(name) for name in homes}
    before = {kind: kind.__module__ for kind in (Ch, Select)}
    try:
        for name, kinds in homes.items():
            module = types.ModuleType(name)
            for kind in kinds:
                kind.__module__ = name
                setattr(module, kind.__name__, kind)
            sys.modules[name] = module
        yield
    finally:
        for kind, module_name in before.items():
            kind.__module__ = module_name
        for name, old in saved.items():
            if old is None:
                del sys.modules[name]
            else:
                sys.modules[name] = old


def write_model(path: Path, arrays: Mapping[str, np.ndarray], protocol: int = 2, chumpy: bool = True) -> Path:
    """``generic_model.pkl``: chumpy members, a SciPy matrix, uint32 triangles, as FLAME 2019 and 2020 are published."""
    basis = arrays["shapedirs"]
    with chumpy_classes():
        wrapped = {
            "v_template": Ch(arrays["v_template"]),
            "shapedirs": Select(Ch(basis.ravel()), np.arange(basis.size), basis.shape),
            "posedirs": arrays["posedirs"],
            "weights": Ch(arrays["weights"]),
        }
        plain = {name: arrays[name] for name in wrapped}
        content = {
            **(wrapped if chumpy else plain),
            "f": arrays["f"],
            "J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"]),
            "kintree_table": arrays["kintree_table"],
            "J": np.zeros((5, 3)),
            "bs_style": "lbs",
            "bs_type": "lrotmin",
        }
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def write_embedding(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """``landmark_embedding.npy``: a pickled dictionary whose dynamic part are torch tensors."""
    names = [f"{kind}_lmk_{what}" for kind in ("static", "dynamic", "full") for what in ("faces_idx", "bary_coords")]
    table = {n: torch.from_numpy(np.array(arrays[n])) if n.startswith("dynamic") else arrays[n] for n in names}
    np.save(path, np.array(table, dtype=object), allow_pickle=True)
    return path


def write_template(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """``head_template.obj``."""
    lines = [f"v {x} {y} {z}" for x, y, z in arrays["v_template"]]
    lines += [f"vt {u} {v}" for u, v in arrays["uv"]]
    corners = np.stack([arrays["f"].astype(np.int64), arrays["uv_faces"]], -1) + 1
    lines += ["f " + " ".join(f"{v}/{t}" for v, t in triangle) for triangle in corners]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_extras(folder: Path, arrays: Mapping[str, np.ndarray], seed: int = 1) -> list[Path]:
    """Everything optional: MediaPipe points, eyelids, masks, textures."""
    random = np.random.default_rng(seed)
    count = len(arrays["v_template"])
    files = []

    def keep(name: str) -> Path:
        files.append(folder / name)
        return folder / name

    np.savez(
        keep("mediapipe_landmark_embedding.npz"),
        lmk_face_idx=arrays["mediapipe_triangle"],
        lmk_b_coords=arrays["mediapipe_weights"],
        landmark_indices=arrays["mediapipe_indices"],
    )
    for side, start in (("l", 10), ("r", 30)):
        offsets = np.zeros((count, 3))
        offsets[start : start + 12] = random.normal(scale=3e-3, size=(12, 3))
        np.save(keep(f"{side}_eyelid.npy"), offsets)
    regions = {name: random.permutation(count)[: count // 4] for name in ("face", "scalp", "nose", "left_eyeball")}
    keep("FLAME_masks.pkl").write_bytes(pickle.dumps(regions, protocol=2))
    mean, basis = random.uniform(50, 200, size=(8, 8, 3)), random.normal(scale=9, size=(8, 8, 3, 12))
    np.savez(keep("FLAME_texture.npz"), mean=mean, tex_dir=basis)
    np.savez(keep("FLAME_albedo_from_BFM.npz"), MU=mean.ravel() / 255, PC=basis.reshape(-1, 12) / 255)
    return files


def write_all(folder: Path, arrays: Mapping[str, np.ndarray] | None = None) -> list[Path]:
    """All published files of the tiny head."""
    arrays = arrays or tiny_arrays()
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_model(folder / "generic_model.pkl", arrays),
        write_embedding(folder / "landmark_embedding.npy", arrays),
        write_template(folder / "head_template.obj", arrays),
        *write_extras(folder, arrays),
    ]
