"""Time of our FLAME over `smplx.FLAME` on one random file of the real size, both in one run, and whether they agree.

    python benchmarks/flame_speed.py [--batch 32] [--rounds 15]

Needs `pip install smplx` (extra `bench`), not the licensed file: both read the same pickle of random arrays in FLAME's
shapes (5,023 vertices, 9,976 triangles, 300 + 100 components, 36 pose correctives). Both take axis-angle rotations and
return vertices and landmarks with a dynamic contour.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from open_head_speed import interleaved_medians, write_random_flame
from torch import Tensor

from emoca_core.interfaces import FaceParameters
from emoca_plugins.face_models.flame import Flame

SHAPE, EXPRESSION = 100, 50
TARGET = 0.5
Output = tuple[Tensor, Tensor]
"""Vertices, and landmarks with the 17 contour points last (smplx's order)."""


def our_call(folder: Path, blocks: dict[str, Tensor]) -> Callable[[], Output]:
    """One forward of our component, which also evaluates the 68 fixed landmarks."""
    static = np.load(folder / "flame_static_embedding.pkl", allow_pickle=True)  # written by this program
    dynamic = np.load(folder / "flame_dynamic_embedding.npy", allow_pickle=True)[()]
    embedding = {
        "static_lmk_faces_idx": static["lmk_face_idx"],
        "static_lmk_bary_coords": static["lmk_b_coords"],
        "dynamic_lmk_faces_idx": dynamic["lmk_face_idx"],
        "dynamic_lmk_bary_coords": dynamic["lmk_b_coords"],
        "full_lmk_faces_idx": np.arange(68)[None],
        "full_lmk_bary_coords": np.full((1, 68, 3), 1 / 3),
    }
    np.save(folder / "landmark_embedding.npy", np.array(embedding, dtype=object), allow_pickle=True)
    model = Flame(
        Flame.Params(
            model=folder / "FLAME_NEUTRAL.pkl",
            landmarks=folder / "landmark_embedding.npy",
            uv=False,
            shape_size=SHAPE,
            expression_size=EXPRESSION,
        )
    )

    def call() -> Output:
        geometry = model(FaceParameters(**blocks))
        points = geometry.landmarks["ibug68"]
        return geometry.vertices, torch.cat([points[:, 17:], points[:, :17]], 1)

    return call


def smplx_call(folder: Path, blocks: dict[str, Tensor]) -> Callable[[], Output]:
    """One forward of the peer with all blocks given."""
    import smplx

    batch = len(blocks["shape"])
    model = smplx.FLAME(
        folder, num_betas=SHAPE, num_expression_coeffs=EXPRESSION, batch_size=batch, use_face_contour=True
    )
    left, right = blocks["eye_pose"].chunk(2, dim=1)
    inputs = {
        "betas": blocks["shape"],
        "expression": blocks["expression"],
        "global_orient": blocks["global_pose"],
        "neck_pose": blocks["neck_pose"],
        "jaw_pose": blocks["jaw_pose"],
        "leye_pose": left,
        "reye_pose": right,
    }

    def call() -> Output:
        output = model(**inputs)
        return output.vertices, output.joints[:, -68:]

    return call


def with_backward(call: Callable[[], Output], blocks: dict[str, Tensor]) -> Callable[[], None]:
    """The call and the gradient of a loss on everything it returns."""

    def run() -> None:
        vertices, landmarks = call()
        loss = vertices.square().sum() + landmarks.square().sum()
        torch.autograd.grad(loss, list(blocks.values()))

    return run


def main() -> None:
    """Print milliseconds, ratios and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    sizes = {"shape": SHAPE, "expression": EXPRESSION, "global_pose": 3, "neck_pose": 3, "jaw_pose": 3, "eye_pose": 6}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_random_flame(folder)
        for batch in arguments.batch:
            generator = torch.Generator().manual_seed(0)
            blocks = {
                block: torch.randn(batch, size, generator=generator) * (0.2 if block.endswith("pose") else 1)
                for block, size in sizes.items()
            }
            report(f"batch {batch}, forward", our_call(folder, blocks), smplx_call(folder, blocks), arguments.rounds)
            leaves = {block: value.requires_grad_() for block, value in blocks.items()}
            ours, peer = our_call(folder, leaves), smplx_call(folder, leaves)
            title = f"batch {batch}, forward + backward"
            timed(title, with_backward(ours, leaves), with_backward(peer, leaves), arguments.rounds)


def report(title: str, ours: Callable[[], Output], peer: Callable[[], Output], rounds: int) -> None:
    """Time both without gradients, and say how far their results are apart."""
    with torch.no_grad():
        (vertices, points), (peer_vertices, peer_points) = ours(), peer()
        timed(title, ours, peer, rounds)
    # the contour is left out: smplx looks up its row with the opposite sign of the yaw; ours is DECA's
    inner = (points - peer_points)[:, :51]
    apart = max(float((vertices - peer_vertices).abs().max()), float(inner.abs().max()))
    print(f"  largest difference of vertices and inner landmarks: {apart:.1e} m")


def timed(title: str, ours: Callable[[], object], peer: Callable[[], object], rounds: int) -> None:
    """Print the medians of both and their ratio."""
    times = interleaved_medians({"flame": ours, "smplx.FLAME": peer}, rounds)
    figures = ", ".join(f"{name} {milliseconds:.1f} ms" for name, milliseconds in times.items())
    print(f"{title}: {figures}; ratio {times['flame'] / times['smplx.FLAME']:.2f} (target {TARGET})")


if __name__ == "__main__":
    main()
