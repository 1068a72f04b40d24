"""Time of the open head's forward pass over smplx's FLAME layer at equal sizes, both in one run.

    python benchmarks/open_head_speed.py [--batch 32]

Needs `pip install smplx` (extra `bench`). FLAME's licensed file is not needed: the peer gets random arrays of FLAME's
shapes (5,023 vertices, 100 + 52 coefficients, 36 pose correctives, 51 + 17 landmarks).
"""

import argparse
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from emoca_core.interfaces import FaceParameters
from emoca_plugins.face_models.open_head import OpenHead

SHAPE, EXPRESSION = 100, 52
TARGET = 0.5


def write_random_flame(folder: Path) -> None:
    """Files of FLAME's format with random content."""
    rng = np.random.default_rng(0)
    vertices, faces = 5023, 9976
    regressor = rng.random((5, vertices))
    weights = rng.random((vertices, 5))
    model = {
        "f": rng.integers(0, vertices, (faces, 3)).astype(np.uint32),
        "v_template": rng.normal(0, 0.1, (vertices, 3)),
        "shapedirs": rng.normal(0, 1e-3, (vertices, 3, 400)),
        "posedirs": rng.normal(0, 1e-3, (vertices, 3, 36)),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
        "weights": weights / weights.sum(1, keepdims=True),
    }
    static = {"lmk_face_idx": rng.integers(0, faces, 51), "lmk_b_coords": rng.dirichlet([1, 1, 1], 51)}
    dynamic = {"lmk_face_idx": rng.integers(0, faces, (79, 17)), "lmk_b_coords": rng.dirichlet([1, 1, 1], (79, 17))}
    (folder / "FLAME_NEUTRAL.pkl").write_bytes(pickle.dumps(model))
    (folder / "flame_static_embedding.pkl").write_bytes(pickle.dumps(static))
    np.save(folder / "flame_dynamic_embedding.npy", np.array(dynamic, dtype=object), allow_pickle=True)


def flame_layer(batch: int) -> torch.nn.Module:
    """The FLAME layer of smplx on random arrays."""
    import smplx

    with tempfile.TemporaryDirectory() as folder:
        write_random_flame(Path(folder))
        layer: torch.nn.Module = smplx.FLAMELayer(
            folder, num_betas=SHAPE, num_expression_coeffs=EXPRESSION, batch_size=batch, use_face_contour=True
        )
    return layer


def smplx_call(batch: int, generator: torch.Generator) -> Callable[[], object]:
    """One forward of the peer with all blocks given."""
    from emoca_core.geometry.rotations import rotation_vector_to_matrix

    layer = flame_layer(batch)
    pose = rotation_vector_to_matrix(0.2 * torch.randn(batch, 5, 3, generator=generator))
    blocks = {
        "betas": torch.randn(batch, SHAPE, generator=generator),
        "expression": torch.randn(batch, EXPRESSION, generator=generator),
        "global_orient": pose[:, 0:1],
        "neck_pose": pose[:, 1:2],
        "jaw_pose": pose[:, 2:3],
        "leye_pose": pose[:, 3:4],
        "reye_pose": pose[:, 4:5],
    }
    return lambda: layer(**blocks)


def open_head_call(batch: int, generator: torch.Generator) -> Callable[[], object]:
    """One forward of the open head, rotations from axis-angle and 68 + 17 landmarks included."""
    head = OpenHead(OpenHead.Params(texture_size=16, mediapipe_landmarks=False))

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    parameters = FaceParameters(
        shape=normal(batch, SHAPE),
        expression=normal(batch, EXPRESSION),
        global_pose=0.2 * normal(batch, 3),
        neck_pose=0.2 * normal(batch, 3),
        jaw_pose=0.2 * normal(batch, 3),
        eye_pose=0.2 * normal(batch, 6),
    )
    return lambda: head(parameters)


def interleaved_medians(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each call, taken in turns so that other work on the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: 1e3 * float(np.median(values)) for name, values in times.items()}


def main() -> None:
    """Print milliseconds and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    for batch in arguments.batch:
        generator = torch.Generator().manual_seed(0)
        calls = {"open_head": open_head_call(batch, generator), "smplx FLAME": smplx_call(batch, generator)}
        with torch.no_grad():
            times = interleaved_medians(calls, arguments.rounds)
        ratio = times["open_head"] / times["smplx FLAME"]
        figures = ", ".join(f"{name} {milliseconds:.1f} ms" for name, milliseconds in times.items())
        print(f"batch {batch}: {figures}; ratio {ratio:.2f} (target {TARGET})")


if __name__ == "__main__":
    main()
