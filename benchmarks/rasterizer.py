"""How fast the rasteriser is: ratios within one run, on a head of 5,000 vertices and 10,000 triangles at 224 px.

    python benchmarks/rasterizer.py [--batch 8] [--rounds 15] [--pytorch3d-batch 1]

Methods are timed in turn, so that a busy machine slows all of them alike; the median counts. PyTorch3D joins where it
can be imported; its CPU path takes seconds per image. Two threads are compared with one over the batch, with a parallel
operation of torch before every pass, as in a real training step. On a machine with other work that says little.
"""

import argparse
import importlib.util
import os

import numpy as np
import torch
from timing import Task, milliseconds
from torch import Tensor

from emoca_core.interfaces.renderer import Renderer
from emoca_plugins.renderers.zbuffer import ZBuffer

SIZE = (224, 224)
CHANNELS = 12
"""As DECA interpolates: texture coordinates, normals, positions, transformed normals."""

TWIN_TARGET, PYTORCH3D_FORWARD_TARGET, PYTORCH3D_BACKWARD_TARGET, THREADS_TARGET = 8.0, 2000.0, 1200.0, 1.6


def head(batch: int) -> tuple[Tensor, Tensor]:
    """A bumpy ellipsoid, denser in front as a face mesh is, turned by up to half a radian; NDC vertices and faces."""
    rings, sectors = 44, 116
    longitude = np.linspace(0, 2 * np.pi, sectors, endpoint=False)
    longitude = longitude + 0.45 * np.sin(longitude)
    la, lo = np.meshgrid(np.linspace(0.02, np.pi - 0.02, rings), longitude, indexing="ij")
    points = np.stack([np.sin(la) * np.sin(lo), np.cos(la), np.sin(la) * np.cos(lo)], -1).reshape(-1, 3)
    points *= (1 + 0.02 * np.sin(9 * points[:, :1]) * np.sin(7 * points[:, 1:2])) * [0.09, 0.13, 0.1]
    row, column = (index.ravel() for index in np.mgrid[: rings - 1, :sectors])
    a, b = row * sectors + column, row * sectors + (column + 1) % sectors
    faces = np.concatenate([np.stack([a, a + sectors, b], -1), np.stack([b, a + sectors, b + sectors], -1)])
    angles = torch.rand(batch, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    skew = torch.zeros(batch, 3, 3)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        skew[:, i, j], skew[:, j, i] = -angles[:, k], angles[:, k]
    turned = torch.from_numpy(points).float() @ torch.linalg.matrix_exp(skew).transpose(1, 2)
    return turned * torch.tensor([7.0, -7.0, -7.0]) + torch.tensor([0.0, 0.0, 10.0]), torch.from_numpy(faces)


def tasks(renderer: Renderer, batch: int, device: str | torch.device = "cpu") -> dict[str, Task]:
    """Visibility, visibility + interpolation, and the same with gradients to vertices and attributes."""
    vertices, faces = (tensor.to(device) for tensor in head(batch))
    attributes = torch.rand(batch, vertices.shape[1], CHANNELS, device=device)
    towards = torch.rand(batch, *SIZE, CHANNELS, device=device).permute(0, 3, 1, 2)

    def forward() -> None:
        with torch.no_grad():
            renderer.interpolate(renderer.rasterize(vertices, faces, SIZE), attributes)

    def backward() -> None:
        moved, changed = vertices.clone().requires_grad_(), attributes.clone().requires_grad_()
        renderer.interpolate(renderer.rasterize(moved, faces, SIZE), changed).backward(towards)

    return {
        "visibility": lambda: renderer.rasterize(vertices, faces, SIZE),
        "forward": forward,
        "forward + backward": backward,
    }


def compare(name: str, peer: Renderer, peer_batch: int, batch: int, rounds: int, targets: dict[str, float]) -> None:
    """Print the ratios of a peer's time per image to ours."""
    ours, theirs = tasks(ZBuffer(), batch), tasks(peer, peer_batch)
    for step, task in ours.items():
        times = milliseconds({"ours": task, "peer": theirs[step]}, rounds)
        mine, other = times["ours"] / batch, times["peer"] / peer_batch
        target = f", target {targets[step]:g}x" if step in targets else ""
        print(
            f"  {step:20s} zbuffer {mine:8.2f} ms/image   {name} {other:9.2f} ms/image   {other / mine:8.1f}x{target}"
        )


def scaling(batch: int, rounds: int) -> None:
    """Print what a second thread gains beside torch's own threads."""
    busy = torch.rand(1 << 22)
    for step in ("visibility", "forward", "forward + backward"):
        times = {}
        for _ in range(2):  # twice in turn: a burst of foreign load does not decide
            for threads in (1, 2):
                torch.set_num_threads(threads)
                task = tasks(ZBuffer(), batch)[step]
                median = milliseconds({step: task}, rounds, before=lambda: busy.mul_(1.0))[step]
                times[threads] = min(median, times.get(threads, median))
        print(
            f"  {step:20s} 1 thread {times[1] / batch:6.2f}, 2 threads {times[2] / batch:6.2f} ms/image   "
            f"{times[1] / times[2]:.2f}x, target {THREADS_TARGET}x"
        )


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--pytorch3d-batch", type=int, default=1)
    arguments = parser.parse_args()
    vertices, faces = head(1)
    print(f"{vertices.shape[1]} vertices, {len(faces)} triangles, {SIZE}, {CHANNELS} channels, batch {arguments.batch}")

    torch.set_num_threads(1)
    print("against plain torch, one thread:")
    twin = ZBuffer(ZBuffer.Params(kernel="torch"))
    both = {"forward": TWIN_TARGET, "forward + backward": TWIN_TARGET}
    compare("torch", twin, arguments.batch, arguments.batch, arguments.rounds, both)

    if importlib.util.find_spec("pytorch3d"):
        from emoca_plugins.renderers.pytorch3d import PyTorch3DRenderer

        print("against PyTorch3D, one thread:")
        targets = {"forward": PYTORCH3D_FORWARD_TARGET, "forward + backward": PYTORCH3D_BACKWARD_TARGET}
        compare("pytorch3d", PyTorch3DRenderer(), arguments.pytorch3d_batch, arguments.batch, 2, targets)
    else:
        print("PyTorch3D is not installed: skipped")

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores > 1:
        print(f"two threads, {cores} cores, load {os.getloadavg()[0]:.1f}:")
        scaling(arguments.batch, arguments.rounds)


if __name__ == "__main__":
    main()
