"""Whether this GPU draws the pictures that it should, and how fast it renders, trains and encodes: at most 5 minutes.

    python benchmarks/gpu_check.py [--out benchmarks/results/gpu]
    python benchmarks/gpu_check.py --device cpu --small      # rehearse every part without a GPU

Figures go to ``OUT/<card>.json``. A part whose packages are not here (timm for the networks of a training step,
MediaPipe for finding faces) is left out, with the reason. Without a GPU it says so and ends with 0.

exit code: 0 all parts that ran are right (or there is no GPU), 1 a picture differs, or a part failed.
"""

import argparse
import importlib.util
import json
import platform
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from timing import Task, milliseconds
from torch import Tensor

if TYPE_CHECKING:
    from emoca_core.interfaces import FaceCrop, Renderer

RESULTS = Path(__file__).parent / "results" / "gpu"
MOST_S = 240.0
"""No part begins later; each takes less than a minute."""
PART_S = 30.0
"""No round of a measurement begins later."""
KERNELS = {"cuda": "triton", "cpu": "numba"}
FIT_CLOSE, FIT_EQUAL = 1e-5, 1e-3
"""Largest mean difference of the interpolated values, and largest relative difference of the gradients: thin triangles
at the outline divide by areas near the resolution of float32 (tests/renderers/test_peers.py)."""
NVDIFFRAST_EQUAL = 0.97
"""Share of pixels: nvdiffrast snaps vertices to 1/16 pixel."""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """Where, and how much."""

    device: torch.device
    batch: int = 32
    rounds: int = 20
    image_size: int = 224
    images: int = 256

    def timed(self, tasks: Mapping[str, Task]) -> dict[str, float]:
        """Milliseconds of each, waiting for the GPU."""
        return milliseconds({name: self._settled(task) for name, task in tasks.items()}, self.rounds, seconds=PART_S)

    def _settled(self, task: Task) -> Task:
        def settled() -> None:
            task()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

        return settled


SMALL = {"batch": 2, "rounds": 1, "image_size": 64, "images": 3}


def main() -> int:
    """Run all parts, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--small", action="store_true", help="tiny sizes: whether it runs, not how fast")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the figures (default: %(default)s)")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: nothing is checked (--device cpu --small rehearses the parts)")
        return 0
    setup = Setup(torch.device(options.device), **(SMALL if options.small else {}))
    return report(run(setup, PARTS), setup, options.out)


def run(setup: Setup, parts: Mapping[str, Callable[[Setup], Figures]]) -> Figures:
    """The figures of all parts that can run here, and why the others cannot."""
    began, result = time.perf_counter(), {"parts": {}, "left_out": {}, "failed": {}}
    for name, part in parts.items():
        if time.perf_counter() - began > MOST_S:
            result["left_out"][name] = "no time is left"
            continue
        print(f"{name} ...", flush=True)
        try:
            result["parts"][name] = part(setup)
        except what_is_missing() as error:
            result["left_out"][name] = first_line(error)
        except Exception as error:  # the figures of the other parts are not lost with this one
            traceback.print_exc()
            result["failed"][name] = f"{type(error).__name__}: {first_line(error)}"
    return result | {"seconds": round(time.perf_counter() - began, 1)}


def what_is_missing() -> tuple[type[Exception], ...]:
    """The errors that name a package or a file that is not here; the project itself needs packages to tell."""
    try:
        from emoca_core.errors import EmocaError
    except ImportError:
        return (ImportError,)
    return ImportError, EmocaError


def report(result: Figures, setup: Setup, out: Path) -> int:
    """Print and write it; 1 where a picture is wrong, or a part failed."""
    card = torch.cuda.get_device_name(setup.device) if setup.device.type == "cuda" else "cpu"
    for name, figures in result["parts"].items():
        print(f"{name}: " + ", ".join(f"{key} {shown(value)}" for key, value in figures.items()))
    for fate in ("left_out", "failed"):
        for name, reason in result[fate].items():
            print(f"{name}: {fate.replace('_', ' ')}: {reason}")
    file = out / f"{re.sub(r'[^a-z0-9]+', '_', card.lower()).strip('_')}.json"
    out.mkdir(parents=True, exist_ok=True)
    known = {"card": card, "sizes": sizes(setup), "versions": versions(), **result}
    file.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    print(file)
    wrong = any(figures.get("right") is False for figures in result["parts"].values())
    return int(wrong or bool(result["failed"]))


def rasteriser(setup: Setup) -> Figures:
    """The kernel of this device against plain torch: the same pictures and gradients, and their time."""
    from rasterizer import tasks

    from emoca_plugins.renderers.zbuffer import ZBuffer

    ours, twin = ZBuffer(ZBuffer.Params(kernel=KERNELS[setup.device.type])), ZBuffer(ZBuffer.Params(kernel="torch"))
    difference = differences(draw(ours, setup), draw(twin, setup))
    right = difference["pixels"] == 0 and difference["image"] < FIT_CLOSE
    right &= max(difference["vertex gradient"], difference["value gradient"]) < FIT_EQUAL
    figures: Figures = {"kernel": KERNELS[setup.device.type], "right": bool(right), "differences": difference}
    for step, task in tasks(ours, setup.batch, setup.device).items():
        figures[f"{step}, ms"] = setup.timed({"ours": task, "torch": tasks(twin, setup.batch, setup.device)[step]})
    return figures


def nvdiffrast(setup: Setup) -> Figures:
    """The kernel of this device beside nvdiffrast: nearly the same pixels, and their time."""
    if setup.device.type != "cuda" or not importlib.util.find_spec("nvdiffrast"):
        raise ImportError("nvdiffrast is not installed" if setup.device.type == "cuda" else "nvdiffrast needs CUDA")
    from rasterizer import tasks

    from emoca_plugins.renderers.nvdiffrast import NvdiffrastRenderer
    from emoca_plugins.renderers.zbuffer import ZBuffer

    ours, theirs = ZBuffer(ZBuffer.Params(fill_rule="top_left")), NvdiffrastRenderer()
    difference = differences(draw(ours, setup), draw(theirs, setup))
    figures: Figures = {"right": 1 - difference["pixels"] >= NVDIFFRAST_EQUAL, "differences": difference}
    for step, task in tasks(ours, setup.batch, setup.device).items():
        peer = tasks(theirs, setup.batch, setup.device)[step]
        figures[f"{step}, ms"] = setup.timed({"ours": task, "nvdiffrast": peer})
    return figures


def training_step(setup: Setup) -> Figures:
    """One step of ``open_emoca_resnet50``, and the shares of its networks and of rendering."""
    from training_step import UNTRAINED, parts_of_a_step

    from emoca_core.train.face_batches import collate_face_batch
    from emoca_core.train.run_stage import prepare_stage

    sizes = {"data": {"image_size": setup.image_size}}
    ready = prepare_stage("coarse", "open_emoca_resnet50", "synthetic_faces", change=UNTRAINED, settings=sizes)
    task = ready.task.train()
    task.method.to(setup.device)
    task.objective.to(setup.device)
    batch = collate_face_batch(ready.training.__getitems__(range(setup.batch))).map(lambda t: t.to(setup.device))
    took = setup.timed(parts_of_a_step(task, batch))
    return {
        "batch": setup.batch,
        **{f"{name}, ms": value for name, value in took.items()},
        "share of rendering": took["rendering"] / took["whole"],
        "share of networks": (took["encoder"] + took["emotion"]) / took["whole"],
    }


def fit(setup: Setup) -> Figures:
    """The fit of ``open_fit`` on this device, to the known landmarks of synthetic faces: no detector is needed."""
    from emoca_core import load_method

    change = {"landmarker": None, "encoder": {"params": {"appearance": False}}}
    method = load_method("open_fit", device=str(setup.device), change=change)
    crop = synthetic_crop(setup)
    with torch.no_grad():
        took = setup.timed({"fit": lambda: method.encode(crop)})["fit"]
    return {"batch": setup.batch, "faces a second": 1e3 * setup.batch / took}


def encode(setup: Setup) -> Figures:
    """``emoca encode`` with ``open_fit`` over pictures of synthetic faces, by stage."""
    from encoding import rates, row_encoder, seconds_on_synthetic_faces

    took = seconds_on_synthetic_faces(row_encoder("open_fit", setup.device.type, setup.batch), setup.images)
    return {"images": setup.images, **took, "faces a second": rates(took)}


PARTS: Mapping[str, Callable[[Setup], Figures]] = {
    "rasteriser": rasteriser,
    "nvdiffrast": nvdiffrast,
    "training step": training_step,
    "fit": fit,
    "encode": encode,
}


def draw(renderer: "Renderer", setup: Setup) -> dict[str, Tensor]:
    """One forward and backward pass over the head of the rasteriser's benchmark."""
    from rasterizer import CHANNELS, head

    vertices, faces = (tensor.to(setup.device) for tensor in head(min(setup.batch, 4)))
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(*vertices.shape[:2], CHANNELS, generator=generator).to(setup.device).requires_grad_()
    vertices.requires_grad_()
    fragments = renderer.rasterize(vertices, faces, (setup.image_size, setup.image_size))
    image = renderer.interpolate(fragments, values)
    image.backward(torch.rand(image.shape, generator=generator).to(setup.device))
    assert vertices.grad is not None
    assert values.grad is not None
    covered = fragments.triangles >= 0
    assert 0.05 < covered.float().mean() < 0.95, "the head must be in the picture"
    gradients = {"vertex gradient": vertices.grad, "value gradient": values.grad}
    return {"triangles": fragments.triangles.long(), "image": image.detach(), **gradients}


def differences(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, float]:
    """Share of pixels that show other triangles, mean difference of the others, relative difference of gradients."""
    same = ours["triangles"] == theirs["triangles"]
    off = (ours["image"] - theirs["image"]).abs().amax(1)
    gradients = {
        name: float((ours[name] - theirs[name]).norm() / theirs[name].norm())
        for name in ("vertex gradient", "value gradient")
    }
    return {"pixels": 1 - float(same.float().mean()), "image": float(off[same].mean()), **gradients}


def synthetic_crop(setup: Setup) -> "FaceCrop":
    """A batch of synthetic faces with their landmarks, on the device."""
    from emoca_core.registry import get_registry
    from emoca_core.train.face_batches import collate_face_batch

    params = {"length": setup.batch, "image_size": setup.image_size, "seed": 7}
    faces = get_registry().build("dataset", "synthetic_faces", params)
    return collate_face_batch(faces.__getitems__(range(setup.batch))).crop.map(lambda t: t.to(setup.device))


def first_line(error: Exception) -> str:
    """What an error says, in a line."""
    return next(iter(str(error).splitlines()), "")


def sizes(setup: Setup) -> dict[str, int]:
    """What the figures are of."""
    return {name: getattr(setup, name) for name in SMALL}


def versions() -> dict[str, str]:
    """Of what computes."""
    known = {"python": platform.python_version(), "torch": torch.__version__, "cuda": str(torch.version.cuda)}
    if triton := sys.modules.get("triton"):
        known["triton"] = triton.__version__
    return known


def shown(value: object) -> str:
    """A figure, or several."""
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {shown(one)}" for key, one in value.items()) + ")"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
